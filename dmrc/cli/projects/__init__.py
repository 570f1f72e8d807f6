"""Commands about a compose project."""
