"""`dmrc cassette` and its subcommands, one file each."""
