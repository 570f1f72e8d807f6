"""`dmrc faults`: requests that fail on purpose."""
