"""Faults that are made on purpose, as `x-dmrc: {faults: …}` and `dmrc faults` plan them."""
