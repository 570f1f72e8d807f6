"""The HTTP face: who may come in, which model they mean, and the bytes on their way."""
