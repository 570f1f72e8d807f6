"""What may keep dmrc from working on this machine, and what to do."""
