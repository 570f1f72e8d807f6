"""Cassettes: what services asked and were answered, one file for each, to answer them again without a model."""
