"""The command line: one file per command. Commands load, call, print; errors end at one boundary in `main`."""
