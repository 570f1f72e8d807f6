"""The HTTP client of the engines: of a runner on its unix socket, and of an upstream by TCP."""
