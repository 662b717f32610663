"""README is short, and contains the blocks that the continuous integration runs."""

from __future__ import annotations

import pytest

from tests.helpers.docs import PAGES, README, code_blocks, section, shell_commands

TEXT = README.read_text()


def test_it_fits_on_a_few_screens() -> None:
    assert len(TEXT.splitlines()) <= 100


@pytest.mark.parametrize("heading", ["Install", "Development"])
def test_ci_finds_the_blocks_that_it_runs(heading: str) -> None:
    (block,) = code_blocks(section(TEXT, heading), "sh")
    assert all(line.startswith((".venv/bin/", "python3 -m venv")) for line in block.splitlines())


def test_the_quick_start_has_six_commands() -> None:
    assert len(shell_commands(section(TEXT, "Quick start"))) == 6


def test_it_links_to_every_page_of_the_manual() -> None:
    for page in PAGES:
        assert f"](rgt_cli/docs/{page.name})" in section(TEXT, "Documentation")
