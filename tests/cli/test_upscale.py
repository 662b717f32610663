"""`rgt upscale` as a person runs it: a real process, real files, real exit codes."""

from __future__ import annotations

import io
import os
import pickle
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from tests.helpers import DATA
from tests.helpers.checkpoints import Evil
from tests.helpers.process import (
    UNPRIVILEGED,
    RunRGT,
    command,
    names_in,
    start_rgt,
)
from tests.helpers.report import read_events, read_report
from tests.helpers.sandbox import small_disk


def assert_one_line_of_error(result: subprocess.CompletedProcess[str], code: int) -> None:
    assert result.returncode == code, result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith("using the model")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("rgt: error: ")
    assert result.stdout == ""


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_first_command(rgt: RunRGT, small_png: Path, scale: int) -> None:
    result = rgt("upscale", "in.png", "-s", scale, cwd=small_png.parent, new=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert f"rgt-tiny-x{scale}" in result.stderr
    with Image.open(small_png.with_name(f"in_x{scale}.png")) as large, Image.open(small_png) as small:
        assert large.size == (40 * scale, 30 * scale)
        reduced = np.asarray(large.resize(small.size, Image.Resampling.BOX), float)
        assert np.abs(reduced - np.asarray(small)).mean() < 4


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (33, 17)])
def test_extreme_shapes(rgt: RunRGT, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (200, 100, 50)).save(tmp_path / "in.png")
    assert rgt("upscale", tmp_path / "in.png", "-s", 2).returncode == 0
    with Image.open(tmp_path / "in_x2.png") as large:
        assert large.size == (2 * size[0], 2 * size[1])
        assert np.abs(np.asarray(large, int) - [200, 100, 50]).max() < 40


def test_quiet_and_verbose(rgt: RunRGT, small_png: Path) -> None:
    for arguments in (("upscale", small_png, "-q"), ("-q", "upscale", small_png, "--overwrite")):
        result = rgt(*arguments)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    for verbose in (("-v", "upscale", small_png), ("upscale", small_png, "-v")):
        result = rgt(*verbose, "--overwrite", "--device", "cpu")
        assert result.returncode == 0, result.stderr
        for word in ("cpu", "fp32", "40 x 30"):
            assert word in result.stderr


def printed_on_a_terminal(arguments: list[str], columns: int) -> str:
    """Return what a command prints on a terminal, without the escape sequences."""
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {"TERM": "xterm-256color", "COLUMNS": str(columns)}
        os.execve(arguments[0], arguments, os.environ | environment)
    printed = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the other end of the terminal is closed
            break
        if not part:
            break
        printed += part
    assert os.waitpid(pid, 0)[1] == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.decode())


def test_bar_on_a_terminal(small_png: Path) -> None:
    """On a terminal, a bar counts the tiles."""
    text = printed_on_a_terminal(
        command("upscale", small_png, "-s", "2", "--tile", "16", "--overlap", "4"), columns=120
    )
    assert "━" in text
    assert re.search(r"[1-9]/9 .*tiles/s", text), text


def test_bar_on_a_narrow_terminal(small_png: Path) -> None:
    """Long names are shortened, and the remaining time stays."""
    source = small_png.rename(small_png.with_name("a-very-long-name-" * 8 + ".png"))
    text = printed_on_a_terminal(
        command("upscale", source, "-s", "2", "--tile", "16", "--overlap", "4"), columns=60
    )
    bars = [line for line in re.split(r"[\r\n]+", text) if "━" in line]
    assert any("9 tiles" in bar for bar in bars)
    for bar in bars:
        assert len(bar.rstrip()) <= 60
        assert re.search(r"(-:--:--|\d:\d\d:\d\d)\s*$", bar), bar


def test_formats_and_metadata(rgt: RunRGT, tmp_path: Path, photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Maker"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(photo[:24, :40]).save(tmp_path / "a.jpg", exif=exif, icc_profile=icc)
    result = rgt("upscale", tmp_path / "a.jpg", "-s", "2", "--format", "webp", "--quality", "80")
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "a_x2.webp") as large:
        assert large.size == (48, 80)
        assert large.info["icc_profile"] == icc
        assert 0x0112 not in large.getexif()
    result = rgt("upscale", tmp_path / "a.jpg", "-s", "2", "--format", "bmp")
    assert result.returncode == 0
    assert "EXIF" in result.stderr, "a warning"


def test_a_checkpoint_file_and_factors_between(
    rgt: RunRGT, small_png: Path, micro_checkpoint: Path
) -> None:
    result = rgt("upscale", small_png, "-m", micro_checkpoint)
    assert result.returncode == 0, result.stderr
    assert small_png.with_name("in_x2.png").exists()
    result = rgt("upscale", small_png, "-m", "rgt-tiny-x4", "-s", "3")
    assert "downscaling" in result.stderr
    with Image.open(small_png.with_name("in_x3.png")) as large:
        assert large.size == (120, 90)
    result = rgt(
        "upscale", small_png, "-m", micro_checkpoint, "-s", "5", "-o", "big.png", cwd=small_png.parent
    )
    assert "x2, x2 and x2" in result.stderr
    with Image.open(small_png.with_name("big.png")) as large:
        assert large.size == (200, 150)


def test_one_file_is_reported_like_many(rgt: RunRGT, small_png: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("not an image")
    report = tmp_path / "run.json"
    result = rgt("upscale", small_png, "--json", "--report", report)
    assert result.returncode == 0, result.stderr
    events = read_events(result.stdout)
    assert [event["event"] for event in events] == ["start", "done", "end"]
    assert events[1]["target_size"] == [160, 120]
    assert read_report(report)["files"] == [
        {key: value for key, value in events[1].items() if key != "event"}
    ]

    result = rgt("upscale", tmp_path / "bad.png", "--json", "--report", report)
    assert result.returncode == 1, result.stderr
    assert [event["event"] for event in read_events(result.stdout)] == ["start", "failed", "end"]
    facts = read_report(report)
    assert (facts["planned"], facts["done"], facts["failed"]) == (1, 0, 1)
    assert "bad.png" in facts["files"][0]["error"]
    assert [line for line in result.stderr.splitlines() if "error" in line] == [
        f"rgt: error: {facts['files'][0]['error']}"
    ]


def test_existing_outputs_of_one_file(rgt: RunRGT, small_png: Path, tmp_path: Path) -> None:
    output, report = tmp_path / "in_x4.png", tmp_path / "run.json"
    output.write_text("precious")
    assert_one_line_of_error(rgt("upscale", small_png), 2)
    assert output.read_text() == "precious"
    assert rgt("upscale", small_png, "--skip-existing", "--report", report).returncode == 0
    assert read_report(report)["skipped"] == 1
    assert output.read_text() == "precious"
    assert rgt("upscale", small_png, "--update").returncode == 0
    assert output.read_text() == "precious", "it is newer"
    os.utime(output, (1, 1))
    assert rgt("upscale", small_png, "--update").returncode == 0
    with Image.open(output) as large:
        assert large.size == (160, 120)


def test_options_that_exclude_each_other(rgt: RunRGT, small_png: Path) -> None:
    for options in (
        ("--skip-existing", "--overwrite"),
        ("--update", "--overwrite", "--skip-existing"),
        ("-s", "2", "--width", "90"),
        ("--fit", "90x90", "--height", "90"),
    ):
        result = rgt("upscale", small_png, *options)
        assert_one_line_of_error(result, 2)
        assert "cannot be used together" in result.stderr


def test_a_second_run_on_one_image_is_refused(rgt: RunRGT, tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    Image.new("RGB", (1500, 1500), (50, 60, 70)).save(source)
    arguments = ("upscale", source, "--tile", "64", "-m", "tiny", "-v")
    process = start_rgt(*arguments)
    assert process.stderr
    while "tile" not in (line := process.stderr.readline()):  # until it is computing
        assert line
    second = rgt(*arguments)
    process.kill()
    process.wait()
    assert second.returncode == 2, second.stderr
    assert "another rgt" in second.stderr
    assert names_in(tmp_path) == {"in.png"}


def test_errors(rgt: RunRGT, small_png: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "cut.png").write_bytes((DATA / "cat.png").read_bytes()[:9000])
    (tmp_path / "corrupt.safetensors").write_bytes(b"\x10" * 999)
    torch.save({"params": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "old.png").write_text("precious")
    before = names_in(tmp_path)
    for code, arguments in [
        (3, ("missing.png",)),
        (1, ("text.png",)),
        (1, ("cut.png",)),
        (2, ("in.png", "-o", "old.png")),
        (2, ("in.png", "-o", "in.png", "--overwrite")),
        (2, ("in.png", "--device", "tpu")),
        (4, ("in.png", "-m", "corrupt.safetensors")),
        (4, ("in.png", "-m", "evil.pth")),
        (4, ("in.png", "-m", "raw.pth")),
        (4, ("in.png", "-m", "nonesuch")),
        (6, ("in.png", "-o", "none/out.png")),
        (6, ("in.png", "--report", "none/run.json")),
        (2, ("in.png", "--watch")),
    ]:
        assert_one_line_of_error(rgt("upscale", *arguments, cwd=tmp_path), code)
    for arguments in (
        ("-s", "65"),
        ("--width", "0"),
        ("--tile", "3"),
        ("--tile", "big"),
        ("--tile", "32", "--overlap", "32"),
        ("--bad",),
    ):
        assert_one_line_of_error(rgt("upscale", small_png, *arguments), 2)
    assert names_in(tmp_path) == before
    assert (tmp_path / "old.png").read_text() == "precious"


def test_a_typo_gets_a_suggestion(rgt: RunRGT, small_png: Path) -> None:
    for arguments, suggestion in (
        (("upscal", small_png), "upscale"),
        (("upscale", small_png, "--sclae", "2"), "--scale"),
        (("upscale", small_png, "-m", "photos"), "photo"),
        (("upscale", small_png, small_png.with_name("out.png")), "-o"),
        ((small_png,), "rgt upscale"),
        (("upscale", small_png, "--force"), "--overwrite"),
    ):
        result = rgt(*arguments)
        assert result.returncode in (2, 3, 4)
        assert suggestion in result.stderr


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--width", "0", "0 is out of range: use at least 1"),
        ("--quality", "101", "101 is out of range: use 1 to 100"),
        ("--threads", "two", "'two' is not a whole number"),
        ("--crf", "low", "'low' is not a number"),
        ("--segment-seconds", "0", "'0' is out of range: use at least 0.1"),
        ("--precision", "fp8", "'fp8' is not supported: use auto, fp32, fp16 or bf16"),
        ("--fit", "100", "'100' is not a width and height: use, for example, 1920x1080"),
    ],
)
def test_values_are_refused_with_the_ones_that_are_accepted(
    rgt: RunRGT, small_png: Path, option: str, value: str, message: str
) -> None:
    result = rgt("upscale", small_png, option, value)
    assert (result.returncode, result.stderr) == (2, f"rgt: error: {option}: {message}\n")


def test_an_output_that_its_format_cannot_hold(rgt: RunRGT, tmp_path: Path) -> None:
    frame = Image.new("RGBA", (20, 20), (9, 8, 7, 100))
    frame.save(tmp_path / "clear.png")
    frame.save(tmp_path / "moving.webp", save_all=True, append_images=[Image.new("RGBA", (20, 20))])
    before = names_in(tmp_path)
    for name in ("clear.png", "moving.webp"):
        assert_one_line_of_error(rgt("upscale", tmp_path / name, "--format", "jpeg"), 2)
    assert names_in(tmp_path) == before


def test_sizes(rgt: RunRGT, small_png: Path, tmp_path: Path) -> None:
    result = rgt("upscale", small_png, "--fit", "100x100", "-o", tmp_path / "fit.png")
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "fit.png") as large:
        assert large.size == (100, 75)
    result = rgt("upscale", small_png, "--width", "60")
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "in_w60.png") as large:
        assert large.size == (60, 45)
    for wrong in (
        ("--fit", "90"), ("-s", "0"), ("--dpi", "lots"), ("--bits", "12"), ("--background", "wheat-ish"),
        ("--max-pixels", "many"),
    ):  # fmt: skip
        assert rgt("upscale", small_png, *wrong).returncode == 2, wrong
    result = rgt("upscale", small_png, "--max-pixels", "1K")
    assert result.returncode == 1
    assert "--max-pixels" in result.stderr


def test_stdin_and_stdout(rgt: RunRGT, small_png: Path, tmp_path: Path) -> None:
    def pipe(
        *arguments: str, data: bytes = small_png.read_bytes()
    ) -> subprocess.CompletedProcess[bytes]:
        return rgt("upscale", "-s", "2", *arguments, input=data, text=False, cwd=tmp_path)  # type: ignore[return-value]

    result = pipe("-")
    assert result.returncode == 0, result.stderr
    with Image.open(io.BytesIO(result.stdout)) as large:
        assert (large.size, large.format) == ((80, 60), "PNG")
    with Image.open(io.BytesIO(pipe("-", "-o", "-", "--format", "webp").stdout)) as large:
        assert large.format == "WEBP"
    with Image.open(io.BytesIO(pipe("in.png", "-o", "-").stdout)) as large:
        assert large.size == (80, 60)
    assert pipe("-", "-o", "named.jpg").stdout == b""
    assert names_in(tmp_path) == {"in.png", "named.jpg"}
    for data in (b"", b"not an image"):
        result = pipe("-", data=data)
        assert (result.returncode, result.stdout) == (1, b"")
        assert b"error: stdin" in result.stderr


def test_stdout_receives_one_image(rgt: RunRGT, small_png: Path, tmp_path: Path) -> None:
    for inputs in ([small_png, small_png], [tmp_path]):
        result = rgt("upscale", *inputs, "-o", "-", cwd=tmp_path)
        assert result.returncode == 2
        assert "-o -: stdout receives only one image: name a folder" in result.stderr
        assert not (tmp_path / "-").exists()


def test_events_beside_an_image_on_stdout(rgt: RunRGT, small_png: Path) -> None:
    process = command("upscale", small_png, "-s", "2", "-o", "-", "--json", "-q")
    result = subprocess.run(process, capture_output=True, check=True)
    with Image.open(io.BytesIO(result.stdout)) as large:
        assert large.size == (80, 60)
    assert [event["event"] for event in read_events(result.stderr.decode())] == ["start", "done", "end"]


def test_outputs_that_are_not_ordinary_files(rgt: RunRGT, small_png: Path, tmp_path: Path) -> None:
    link, real, pipe = tmp_path / "link.png", tmp_path / "real.png", tmp_path / "pipe.png"
    real.write_text("old")
    link.symlink_to(real)
    assert rgt("upscale", small_png, "-s", "2", "-o", link).returncode == 2
    assert rgt("upscale", small_png, "-s", "2", "-o", link, "--overwrite").returncode == 0
    assert link.is_symlink()
    os.mkfifo(pipe)
    process = start_rgt("upscale", small_png, "-s", "2", "-o", pipe, "--overwrite")
    received = pipe.read_bytes()
    assert process.wait() == 0
    assert pipe.is_fifo()
    assert received == real.read_bytes()
    named = ("--name", "pipe.png", "-o", tmp_path, "--overwrite")
    assert rgt("upscale", small_png, *named).returncode == 2, "only an output that is named itself"
    assert pipe.is_fifo()
    device = subprocess.run(
        command("upscale", small_png, "-s", "2", "-o", "/dev/stdout", "--format", "png"),
        capture_output=True,
    )
    assert device.stdout == received


def test_folder_without_permission(rgt: RunRGT, small_png: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    result = rgt("upscale", small_png, "-o", folder / "out.png", before=UNPRIVILEGED)
    assert_one_line_of_error(result, 6)
    assert names_in(folder) == set()


def test_full_disk(rgt: RunRGT, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 64 << 10):
        result = rgt("upscale", DATA / "cat.png", "-s", "2", "-o", disk / "out.png", "--tile", "96")
        assert result.returncode == 6, result.stderr
        assert "Traceback" not in result.stderr
        assert "space" in result.stderr.splitlines()[-1]
        assert names_in(disk) == set()


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_interrupted(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    source = tmp_path / "in.png"
    Image.new("RGB", (1500, 1500), (50, 60, 70)).save(source)
    # A test run in the background of a shell ignores Ctrl-C, and so would its children.
    process = start_rgt(
        "upscale", source, "--tile", "64", preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL)
    )
    assert process.stderr is not None
    while "tiles" not in (line := process.stderr.readline()):  # until it is computing
        assert line
    deadline = time.monotonic() + 60
    while process.poll() is None:  # a person presses it again and again
        process.send_signal(sent)
        time.sleep(0.01)
        assert time.monotonic() < deadline
    assert process.returncode == code
    assert "Traceback" not in process.stderr.read()
    assert names_in(tmp_path) == {"in.png"}


def test_help_starts_without_torch(rgt: RunRGT) -> None:
    code = (
        "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); "
        "from rgt_cli.cli import main; main(sys.argv[1:])"
    )
    for arguments in (["--help"], ["upscale", "--help"], ["models"], ["help"]):
        process = [sys.executable, "-c", code, *arguments]
        result = subprocess.run(process, capture_output=True, text=True, check=True)
        assert result.stdout.splitlines()[-1] == "False", arguments
    assert rgt("--version").stdout.startswith("rgt, version ")


def test_every_command_begins_with_examples(rgt: RunRGT) -> None:
    for name in ("upscale", "evaluate", "bench", "models", "help"):
        text = rgt(name, "--help").stdout
        assert 0 < text.index("Examples:") < text.index("--help"), name
        assert f"rgt {name}" in text.split("Examples:")[1]


def test_memory_and_threads(rgt: RunRGT, small_png: Path, tmp_path: Path) -> None:
    whole, limited = tmp_path / "whole.png", tmp_path / "limited.png"
    for target, options in ((whole, ()), (limited, ("--memory", "3G", "--threads", "1"))):
        result = rgt("upscale", small_png, "-s", "2", "-o", target, *options)
        assert result.returncode == 0, result.stderr
    with Image.open(whole) as one, Image.open(limited) as two:
        difference = np.asarray(one).astype(int) - np.asarray(two).astype(int)
    assert np.abs(difference).max() <= 1  # another order of summing on one thread
    for wrong in ("lots", "0", "-3G", "6 X"):
        result = rgt("upscale", small_png, "-s", "2", "--memory", wrong)
        assert result.returncode == 2
        assert "amount of memory" in result.stderr
    result = rgt("upscale", small_png, "-s", "2", "--memory", "1M")
    assert result.returncode == 0, "the smallest tile is always tried"
    (tmp_path / "in_x2.png").unlink()
    result = rgt("upscale", small_png, "-s", "2", "--memory", "1M", "--tile", "40")
    assert_one_line_of_error(result, 5)
    assert names_in(tmp_path) == {"in.png", "whole.png", "limited.png"}
