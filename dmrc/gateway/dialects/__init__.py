"""One module for each HTTP API that people call models by: what it says in words of llama.cpp's server, and back."""
