"""The engine `recorded`: what was answered before, from cassettes."""
