"""The engine `llama-cpp-python`: all that is its own."""
