"""Run `python -m rgt_cli` as `rgt`."""

from rgt_cli.cli import main

main()
