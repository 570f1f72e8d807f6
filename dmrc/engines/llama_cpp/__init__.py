"""The engine `llama.cpp`: all that is its own."""
