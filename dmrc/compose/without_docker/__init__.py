"""Reads a compose project where there is no Docker Compose: the common part of it, with the rest refused by name."""
