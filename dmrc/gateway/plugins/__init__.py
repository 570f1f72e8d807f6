"""Built-in plugins with routes, and what plugins are told."""
