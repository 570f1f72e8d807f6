"""Which model a caller means, and how it is served."""
