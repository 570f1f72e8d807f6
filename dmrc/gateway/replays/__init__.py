"""Recording and replay in the daemon: which project has which run, and what its requests get of it."""
