"""The routes that manage models and show what happens: admin, Docker Model Runner's, Ollama's."""
