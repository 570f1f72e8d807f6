"""Recorded requests that are sent again: which can be, and how the answers of now differ from those of then."""
