"""Projects that are up: their keys, and their end."""
