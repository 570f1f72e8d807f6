"""The record of requests: reading it out of raw bytes, keeping it in SQLite, showing it in a line."""
