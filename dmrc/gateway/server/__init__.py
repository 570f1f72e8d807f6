"""Sockets and HTTP: who may come in, and what is bounded before a request is read."""
