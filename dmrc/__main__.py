"""`python -m dmrc` is `dmrc`."""

from dmrc.cli.main import main

main()
