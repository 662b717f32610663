"""`python -m rgt_cli` is `rgt`."""

from rgt_cli.cli import main

main()
