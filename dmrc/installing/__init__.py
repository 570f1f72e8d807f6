"""Builds of llama.cpp brought onto this machine: unpacked, proved, put in their place, chosen and removed."""
