"""README and the manual agree with the program: flags, defaults, exit codes, JSON fields and links."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path

import click
import pytest

import rgt_cli
from rgt_cli.api.arguments import ModelArguments
from rgt_cli.checkpoints.catalogue import catalogue
from rgt_cli.cli.configuration import NOT_FROM_FOLDERS
from rgt_cli.cli.help import TOPICS, summary_of
from rgt_cli.cli.main import cli
from rgt_cli.cli.summary import RunReport
from rgt_cli.cli.upscale import upscale
from rgt_cli.errors import ExitCode
from rgt_cli.jobs import Job, Outcome
from rgt_cli.media import CONTAINERS, FORMATS
from rgt_cli.media.video.codecs import CODECS
from tests.helpers.docs import (
    CONTRIBUTING,
    DOCUMENTS,
    PAGES,
    README,
    REFERENCE,
    ROOT,
    click_commands,
    code_blocks,
    code_spans,
    flags_of,
    options_of,
    rgt_calls,
    section,
    shell_commands,
    table_rows,
)
from tests.helpers.shell import Shell

MANUAL = REFERENCE.parent
CARD = ROOT / "weights" / "README.md"
PAPER = ROOT / "rgt_cli" / "measure" / "paper.toml"
CONTEXTS = dict(click_commands(cli, "rgt"))
"""Full name -> a context with the command."""
COMMON = {span for row in table_rows(section(REFERENCE.read_text(), "Common options"))
          for span in re.findall(r"`(--?[\w-]+)", row[0])}  # fmt: skip
"""The flags that every command has, by the manual."""


def reference_rows(command: str) -> dict[str, str]:
    """Return what the manual writes about each flag of a command, without the common ones."""
    rows = {}
    for names, text in table_rows(section(REFERENCE.read_text(), f"`{command}`")):
        for flag in re.findall(r"`(--?[\w-]+)", names):
            rows[flag] = text
    return rows


@pytest.mark.parametrize("command", [name for name in CONTEXTS if name != "rgt"])
def test_the_reference_lists_exactly_the_flags_of_a_command(command: str) -> None:
    assert flags_of(CONTEXTS[command]) == reference_rows(command).keys() | COMMON


@pytest.mark.parametrize("command", [name for name in CONTEXTS if name != "rgt"])
def test_the_reference_names_choices_and_defaults(command: str) -> None:
    rows = reference_rows(command)
    for option in options_of(CONTEXTS[command]):
        if (row := rows.get(option.opts[0])) is None:
            continue
        if isinstance(option.type, click.Choice):
            assert set(option.type.choices) <= set(re.findall(r"\w+", row)), option.opts
        if option.show_default and not option.is_flag and option.default is not None:
            default = option.default
            shown = f"{default:g}" if isinstance(default, float) else str(default)
            assert shown in row.split("Default: ")[1].replace("`", ""), option.opts


def test_the_reference_groups_the_options_of_upscale_as_its_help_does() -> None:
    text = section(REFERENCE.read_text(), "`rgt upscale`")
    for option in options_of(CONTEXTS["rgt upscale"]):
        if title := getattr(option, "section", None):
            rows = table_rows(text.split(f"\n{title}:\n\n")[1].split("\n\n")[0])
            assert any(f"`{option.opts[0]}" in row[0] for row in rows), option.opts


def test_the_common_options_belong_to_rgt_itself_too() -> None:
    assert flags_of(CONTEXTS["rgt"]) == COMMON | {"--version"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_use_only_flags_that_exist(document: Path) -> None:
    text = document.read_text()
    every_flag = set().union(upscale.opposites(), *(flags_of(context) for context in CONTEXTS.values()))
    for call in (call for line in shell_commands(text) for call in rgt_calls(line)):
        assert {flag for word in call for flag in flags_in(word)} <= flags_of(context_of(call)), call
    for span in code_spans(text):
        if span.startswith("rgt "):
            call = next(rgt_calls(span))
            assert {flag for word in call for flag in flags_in(word)} <= flags_of(context_of(call)), span
        elif span.startswith("-"):
            assert {flag for word in shlex.split(span) for flag in flags_in(word)} <= every_flag, span


def flags_in(word: str) -> set[str]:
    """Return the flag that a word of a command is, if it is one."""
    return {word.split("=")[0]} if re.fullmatch(r"--?[a-zA-Z0-9][\w-]*(=.*)?", word) else set()


def context_of(call: list[str]) -> click.Context:
    """Return the context of the command that is called."""
    name = "rgt"
    for word in call:
        if f"{name} {word}" not in CONTEXTS:
            break
        name += f" {word}"
    return CONTEXTS[name]


def test_every_exit_code_is_explained() -> None:
    rows = table_rows(section(REFERENCE.read_text(), "Exit codes"))
    assert [int(code) for code, _ in rows] == sorted(ExitCode)


def documented_fields(heading: str, table: int = 0) -> list[str]:
    """Return the fields that one table under a heading of the manual lists."""
    tables = re.findall(r"(?:^\|.*\n)+", section(REFERENCE.read_text(), heading), re.MULTILINE)
    return [row[0].strip("`") for row in table_rows(tables[table])]


def test_json_events_have_the_documented_fields(shell: Shell) -> None:
    finished = shell("touch photos/notes.txt photos/broken.png; "
                     "rgt upscale photos -s 2 --json --report run.json || test $? = 1")  # fmt: skip
    start, *files, end = map(json.loads, finished.stdout.splitlines())
    heading = "`rgt upscale --json`"
    assert list(start) == documented_fields(heading, 0)
    assert [file["event"] for file in files] == ["failed", "done"]
    for file in files:
        assert list(file) == documented_fields(heading, 1)
    assert list(end) == documented_fields(heading, 2)
    dry = shell("rgt upscale photos -s 2 --dry-run --json || test $? = 1")
    planned = [
        event for event in map(json.loads, dry.stdout.splitlines()) if event["event"] == "planned"
    ]
    assert list(planned[0]) == documented_fields(heading, 3)
    report = json.loads((finished.folder / "run.json").read_text())
    assert list(report) == [*documented_fields(heading, 2)[1:], "files", "skipped_files"]
    assert report["files"] == [{k: v for k, v in file.items() if k != "event"} for file in files]


def test_json_of_progress_has_the_documented_fields(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(Path("in.mkv"), Path("out.mkv"), CONTAINERS[1])
    report = RunReport(print_events=True)
    report.progress(job, 1, 1)
    report.progress(job, 1, 9)
    report.progress(job, 2, 9)  # within the same second
    (event,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert list(event) == documented_fields("`rgt upscale --json`", 4)


def test_json_of_models_has_the_documented_fields(shell: Shell) -> None:
    listed = json.loads(shell("rgt models --json").stdout)
    fields = documented_fields("`rgt models --json`")
    assert list(listed) == ["schema", "models"]
    for model in listed["models"]:
        assert list(model) == fields
    described = json.loads(shell("rgt models info tiny --json").stdout)
    assert list(described) == ["schema", *fields, "file"]
    assert list(described["file"]) == documented_fields("`rgt models info --json`")


def test_json_of_suggestions_has_the_documented_fields(shell: Shell) -> None:
    suggested = json.loads(shell("rgt models suggest photo.jpg --json").stdout)
    heading = "`rgt models suggest --json`"
    assert list(suggested) == ["schema", "inputs"]
    (photo,) = suggested["inputs"]
    assert list(photo) == documented_fields(heading)
    assert all(f"`{field}`" in text_of(heading) for model in photo["models"] for field in model)


def test_json_of_the_configuration_has_the_documented_fields(shell: Shell) -> None:
    shown = json.loads(shell("rgt config show --json").stdout)
    heading = "`rgt config show --json`"
    assert all(f"`{field}`" in text_of(heading) for field in (*shown, *shown["files"]))
    for value in shown["values"]:
        assert list(value) == documented_fields(heading)


def test_the_manual_names_what_a_folder_cannot_set() -> None:
    text = section((MANUAL / "configuration.md").read_text(), "Folders of other people")
    assert set(code_spans(text)) == NOT_FROM_FOLDERS


def test_json_of_evaluate_has_the_documented_fields(shell: Shell) -> None:
    scores = json.loads(shell("rgt evaluate --hr Set5/HR --json").stdout)
    heading = "`rgt evaluate --json`"
    assert list(scores) == documented_fields(heading)
    for key in ("means", "images"):
        sentence = re.search(
            rf"Each object in `{key}` has the fields (.*?)\.\n", text_of(heading), re.DOTALL
        )
        assert sentence
        named = re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", sentence[1], flags=re.DOTALL))
        for row in scores[key]:
            assert list(row) == named


def test_json_of_bench_has_the_documented_fields(shell: Shell) -> None:
    timed = json.loads(shell("rgt bench --tiles 16 --runs 1 --json").stdout)
    assert list(timed) == ["schema", "timings"]
    assert set(timed["timings"][0]) == set(documented_fields("`rgt bench --json`"))


def test_json_of_doctor_has_the_documented_fields(shell: Shell) -> None:
    examined = json.loads(shell("rgt doctor --json || test $? = 1").stdout)
    heading = "`rgt doctor --json`"
    assert list(examined) == documented_fields(heading)
    _, table = re.findall(r"(?:^\|.*\n)+", text_of(heading), re.MULTILINE)
    facts = {
        name: set(re.findall(r"`(\w+)`", text))
        for names, text in table_rows(table)
        for name in re.findall(r"`([\w: ]+)`", names)
    }
    for check in examined["checks"]:
        assert list(check) == ["group", "name", "state", "text", "command", "facts"]
        for field in check["facts"] if check["name"] != "libraries" else ():
            name = check["name"].replace("fp32", "bf16")
            assert field in facts[re.sub(r"^(cuda:\d|xpu:\d|mps)", "cpu", name)], check["name"]
    assert {"ok", "note", "fail"} <= set(code_spans(text_of(heading)))


def test_the_table_of_models_lists_the_catalogue() -> None:
    rows = table_rows(section((MANUAL / "models.md").read_text(), "Which model to choose"))
    listed = {name.strip("`"): (scales, variant, author) for name, scales, variant, _, author in rows}
    entries = list(catalogue().values())
    assert listed.keys() == {entry.short for entry in entries}
    for short, facts in listed.items():
        same = [entry for entry in entries if entry.short == short]
        scales = ", ".join(str(entry.scale) for entry in same)
        assert facts == (scales, same[0].variant, same[0].author)


def test_the_scores_of_published_models_are_those_of_the_paper() -> None:
    paper = tomllib.loads(PAPER.read_text())
    index = paper["datasets"].index("Set5")
    table = table_rows(section((MANUAL / "models.md").read_text(), "Quality of the bundled models"))
    rows = {row[0]: row[1:] for row in table}
    for name, variant in (("rgt-s", "RGT-S"), ("rgt", "RGT")):
        scores = [f"{paper[scale][variant]['psnr'][index]:.2f}" for scale in ("x2", "x3", "x4")]
        assert scores == rows[f"`{name}`, as published"]


def test_scores_and_times_of_bundled_models_are_those_of_the_model_card() -> None:
    card = {
        row[0].strip("`"): row
        for row in table_rows(section(CARD.read_text(), "Scores"))
        if len(row) == 10
    }
    manual = table_rows(section((MANUAL / "models.md").read_text(), "Quality of the bundled models"))
    scores = {row[0].strip("`"): row[1:] for row in manual}
    readme = {row[0]: row[1:] for row in table_rows(section(README.read_text(), "Choosing a model"))}
    for name in ("tiny", "tiny-photo"):
        rows = [card.get(f"rgt-{name}-x{scale}") for scale in (2, 3, 4)]
        assert scores[name] == [row[1] if row else "" for row in rows]
        x4 = card[f"rgt-{name}-x4"]
        assert readme[f"`{name}`"][1:] == [f"{float(x4[9]):.0f}", f"{x4[1]} dB"]
    assert scores["bicubic"] == [card[f"rgt-tiny-x{scale}"][2] for scale in (2, 3, 4)]
    for name in ("rgt-s", "rgt"):
        assert readme[f"`{name}`"][2] == f"{scores[f'{name}`, as published'][2]} dB"


def test_the_table_of_image_formats_is_complete() -> None:
    rows = table_rows(section((MANUAL / "images.md").read_text(), "Formats"))
    several = {(True, False): "animation", (False, True): "pages", (False, False): ""}
    for row, each in zip(rows, FORMATS, strict=True):
        assert row[:5] == [
            f"`{each.name}`",
            ", ".join(f"`{suffix}`" for suffix in each.suffixes),
            "yes" * each.is_deep,
            "yes" * ("RGBA" in each.modes),
            several[each.is_animated, each.has_pages],
        ]
        assert ("--lossless" in row[5]) == (each.has_quality and each.has_lossless)
        assert ("extra" in row[5]) == (each.plugin is not None)


def test_the_table_of_codecs_is_complete() -> None:
    rows = table_rows(section((MANUAL / "videos.md").read_text(), "Containers and codecs"))
    listed = {name.strip("`"): quality for name, quality, _ in rows}
    assert listed == {
        name: "lossless" if codec.is_lossless else f"`--crf {codec.default:g}`"
        for name, codec in CODECS.items()
        if name != "gif"
    }


def test_the_page_on_python_lists_arguments_attributes_and_errors() -> None:
    page = (MANUAL / "python.md").read_text()
    attributes = re.findall(r"`([a-z_]+)[`.]", "".join(row[0] for row in table_rows(page)))
    assert set(attributes) == {field.name for field in fields(Outcome)}
    named = {row[0].strip("`") for row in table_rows(section(page, "Errors"))}
    assert {*named, "RGTError"} == {name for name in rgt_cli.__all__ if name.endswith("Error")}
    arguments = set(code_spans(section(page, "Arguments")))
    assert ModelArguments.__annotations__.keys() <= arguments


def text_of(heading: str) -> str:
    """Return the text under a heading of the reference."""
    return section(REFERENCE.read_text(), heading)


@pytest.mark.parametrize("document", [*DOCUMENTS, CONTRIBUTING], ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        path, _, anchor = target.partition("#")
        if "://" not in path:
            assert (document.parent / path).exists() if path else anchor, target


def test_the_list_of_topics_is_complete() -> None:
    assert sorted(TOPICS) == [page.stem for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_pages_suit_a_terminal(page: Path) -> None:
    text = page.read_text()
    assert re.match(r"# [A-Z]\w+\n\n[A-Z].*\.\n\n", text), "a title and a sentence come first"
    assert summary_of(text).endswith(".")
    for block in (*code_blocks(text, "sh"), *code_blocks(text, "python")):
        assert max(map(len, block.splitlines())) <= 78
