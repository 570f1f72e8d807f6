"""The way of one inference request, from its first byte to its exchange."""
