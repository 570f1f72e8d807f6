"""`dmrc requests` and its subcommands, one file each."""
