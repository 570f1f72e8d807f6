"""The engine `container`: a server out of an image, run by Docker."""
