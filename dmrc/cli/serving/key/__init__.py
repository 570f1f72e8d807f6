"""`dmrc key` and its subcommands, one file each."""
