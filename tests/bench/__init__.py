"""The numbers of dmrc, each a ratio or a pair of one run: `make bench`."""
