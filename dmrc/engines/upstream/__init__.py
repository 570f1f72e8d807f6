"""The engine `upstream`: all that is its own."""
