"""Engines: kinds of server that run a model, each runner a child process."""
