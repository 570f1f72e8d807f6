"""Docker and Compose: which files make a project, what they say, and running the real thing."""
