"""`dmrc engine` and its subcommands, one file each."""
