"""GGUF files: what their header says."""

from dmrc.gguf.facts import GgufFacts, format_parameters, format_size

__all__ = ["GgufFacts", "format_parameters", "format_size"]
