"""Kubernetes manifests of a compose project: its engines, the gateway before them, and the services that ask it."""
