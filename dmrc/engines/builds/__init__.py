"""Builds of llama.cpp's server on this machine: those that dmrc finds, those that it installed, and which is in use."""
