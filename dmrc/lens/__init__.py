"""How much of each prompt came from the cache of its engine, how much was computed again, and why."""
