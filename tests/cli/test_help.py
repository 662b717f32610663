"""`rgt help`: the list of topics, a topic in a pipe and on a terminal, and the help of a command."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys

import pytest

from rgt_cli.cli.help import TOPICS, read_page, summary_of
from tests.helpers.process import RunRGT, command


def on_terminal(*arguments: str, **environment: str) -> str:
    """Return what `rgt` prints on a terminal of 80 columns."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        command(*arguments),
        stdin=child,
        stdout=child,
        stderr=child,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80"} | environment,
    ) as process:
        os.close(child)
        output = b""
        try:
            while part := os.read(parent, 1 << 16):
                output += part
        except OSError as error:
            if error.errno != errno.EIO:  # how Linux reports that the other end is closed
                raise
        finally:
            os.close(parent)
    assert process.returncode == 0, output
    return output.decode().replace("\r\n", "\n")


def test_the_topics_are_listed_with_their_summaries(rgt: RunRGT) -> None:
    result = rgt("help")
    assert result.returncode == 0
    words = result.stdout.split()
    for topic in TOPICS:
        assert topic in words
        assert summary_of(read_page(topic)) in " ".join(words)


def test_without_a_command_the_help_is_printed_as_it_is(rgt: RunRGT) -> None:
    result = rgt()
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == rgt("--help").stdout


def test_a_pipe_receives_the_markdown_text(rgt: RunRGT) -> None:
    result = rgt("help", "videos")
    assert result.returncode == 0
    assert result.stdout == read_page("videos")


def test_a_terminal_shows_a_page_through_its_pager() -> None:
    shown = on_terminal("help", "videos", PAGER="sed s/^/PAGED:/")
    assert "PAGED:" in shown
    for markup in ("```", "](", "**", "## "):
        assert markup not in shown
    assert "rgt upscale clip.mkv -s 2 --preview 3" in shown
    assert "What is preserved" in shown


@pytest.mark.parametrize(
    ("topic", "suggestion"), [("vidoes", "videos"), ("upscal", "upscale"), ("qqq", "reference")]
)
def test_an_unknown_topic_is_a_usage_error(rgt: RunRGT, topic: str, suggestion: str) -> None:
    result = rgt("help", topic)
    assert result.returncode == 2
    assert topic in result.stderr
    assert suggestion in result.stderr.partition(":")[2]
    assert not result.stdout


def test_the_name_of_a_command_shows_its_options(rgt: RunRGT) -> None:
    assert rgt("help", "bench").stdout == rgt("bench", "--help").stdout


def test_the_manual_does_not_import_torch() -> None:
    code = (
        "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); "
        "from rgt_cli.cli import main; main(['help', 'models'])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False"
