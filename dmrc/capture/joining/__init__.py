"""Which conversation an exchange belongs to, told by what it repeats of former ones."""
