"""The whole command on a GPU: a folder, a video, hardware encoding, and two processes at once."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from PIL import Image

from tests.benchmarks.gpu.models import photo, usual_network
from tests.benchmarks.gpu.steps import Goal, Run, Section
from tests.helpers.checkpoints import save_network
from tests.helpers.process import command
from tests.helpers.videos import ffmpeg

SECTION = Section("command", "The whole command", seconds=130)


@dataclass
class GPUSampler:
    """The share of the time in which the GPU ran a kernel, by the driver."""

    samples: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.samples:
            return "not known: needs nvidia-smi"
        return f"{statistics.mean(self.samples):.0f} % of {len(self.samples)} samples"


@contextmanager
def sampled_gpu(run: Run) -> Iterator[GPUSampler]:
    """Sample the utilization of the GPU ten times a second until the block ends."""
    sampler = GPUSampler()
    if not run.is_cuda or shutil.which("nvidia-smi") is None:
        yield sampler
        return
    index = run.device.partition(":")[2] or "0"
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    process = subprocess.Popen(
        [*query, f"--id={index}", "--loop-ms=100"], stdout=subprocess.PIPE, text=True
    )
    try:
        yield sampler
    finally:
        process.terminate()
        lines = process.communicate()[0].splitlines()
        sampler.samples += [float(line) for line in lines if line.strip().isdecimal()]


def upscale(folder: Path, run: Run, *arguments: object) -> dict[str, Any]:
    """Run `rgt upscale` in a folder and return its report.

    Raises:
        RuntimeError: It failed; the message is its last line.
    """
    report = folder / "run.json"
    line = command("upscale", *arguments, "--device", run.device, "--overwrite", "--report", report)
    finished = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    click.echo(finished.stderr)
    if finished.returncode:
        raise RuntimeError((finished.stderr.strip().splitlines() or ["it failed"])[-1])
    facts: dict[str, Any] = json.loads(report.read_text())
    return facts


def report_run(run: Run, name: str, facts: dict[str, Any], count: int, gpu: GPUSampler) -> None:
    """Report the speed of a run, and where it waits."""
    busy = facts["device_busy"]
    note = f"{facts['seconds']:.1f} s; computing {busy:.0%} of the time; GPU busy {gpu}"
    if busy < 0.9:
        note += "; the device waits for reading and encoding"
    elif gpu.samples and statistics.mean(gpu.samples) < 80:
        note += "; the device waits for the calls of its kernels"
    run.value(name, count / facts["seconds"], "a second", note)


def write_photos(folder: Path, count: int, width: int, height: int) -> Path:
    """Write photos, all of them different, as JPEG files into a new folder."""
    folder.mkdir()
    image = Image.fromarray(photo(width + count, height))
    for index in range(count):
        part = image.crop((index, 0, index + width, height))
        part.save(folder / f"{index:03}.jpg", quality=95)
    return folder


def write_video(path: Path, width: int, height: int, frames: int) -> Path:
    """Write a video of 25 frames per second with sound, which moves over a photo."""
    still = path.with_suffix(".png")
    Image.fromarray(photo(width + frames, height)).save(still)
    duration = str(frames / 25)
    ffmpeg(
        "-loop", "1", "-framerate", "25", "-t", duration, "-i", still, "-f", "lavfi", "-i",
        f"sine=duration={duration}", "-vf", f"crop={width}:{height}:n:0", "-c:v", "libx264", "-preset",
        "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", path,
    )  # fmt: skip
    return path


@contextmanager
def new_folder() -> Iterator[Path]:
    """Yield a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@SECTION.step(seconds=60)
def folder_of_photos(run: Run) -> None:
    """Upscale 60 photos with the bundled model, and with an RGT-S."""
    count, width, height = run.pick((60, 640, 480), (2, 48, 32))
    with new_folder() as folder:
        write_photos(folder / "photos", count, width, height)
        name, network = usual_network(run)
        save_network(network, folder / f"{name}.safetensors")
        for model in ("tiny", f"{name}.safetensors"):
            with sampled_gpu(run) as gpu:
                facts = upscale(folder, run, "photos", "-o", "out", "-m", model)
            report_run(run, f"{count} photos of {width} x {height}, {model}", facts, count, gpu)


@SECTION.step(seconds=60)
def video(run: Run) -> None:
    """Upscale a video of 10 seconds, 480p, by 2."""
    width, height, frames = run.pick((854, 480, 250), (32, 24, 5))
    with new_folder() as folder:
        write_video(folder / "clip.mp4", width, height, frames)
        with sampled_gpu(run) as gpu:
            facts = upscale(folder, run, "clip.mp4", "-s", "2", "-m", "tiny", "-o", "out.mp4")
        assert facts["files"][0]["frames"] == frames
        report_run(run, f"frames of {width} x {height} x2, x264", facts, frames, gpu)


@SECTION.step(seconds=40, cuda_only=True)
def nvenc(run: Run) -> None:
    """Encode such a video on the GPU, where the driver and ffmpeg can."""
    width, height, frames = run.pick((854, 480, 100), (320, 240, 25))
    with new_folder() as folder:
        write_video(folder / "clip.mp4", width, height, frames)
        for codec in ("h264_nvenc", "hevc_nvenc"):
            options = ("-s", "2", "-m", "tiny", "-o", "out.mp4", "--codec", codec)
            try:
                with sampled_gpu(run) as gpu:
                    facts = upscale(folder, run, "clip.mp4", *options)
            except RuntimeError as error:
                run.value(codec, "does not work here", "", str(error))
                continue
            report_run(run, f"frames of {width} x {height} x2, {codec}", facts, frames, gpu)


@SECTION.step(seconds=30)
def automatic_model(run: Run) -> None:
    """Let the command choose the model and the batch size for a clean image and a compressed one."""
    with new_folder() as folder:
        image = Image.fromarray(photo(*run.pick((640, 480), (64, 48))))
        (folder / "mixed").mkdir()
        image.save(folder / "mixed" / "clean.png")
        image.save(folder / "mixed" / "compressed.jpg", quality=50)
        facts = upscale(folder, run, "mixed", "-o", "out", "-m", "auto")
        for file in facts["files"]:
            run.value(Path(file["source"]).name, file["model"], "", "; ".join(file["warnings"]))


@SECTION.step(
    Goal(key="both", text="two processes on one GPU: those that failed", most=0),
    seconds=60,
)
def second_process(run: Run) -> None:
    """Run the command twice at the same time, and compare with one run of all the photos."""
    count, width, height = run.pick((40, 640, 480), (2, 48, 32))
    with new_folder() as folder:
        for name in ("first", "second"):
            write_photos(folder / name, count // 2, width, height)
        started = time.monotonic()
        upscale(folder, run, "first", "second", "-o", "out", "-m", "tiny")
        alone = time.monotonic() - started
        started = time.monotonic()
        processes = [
            subprocess.Popen(
                command("-q", "upscale", name, "-o", f"{name}-out", "-m", "tiny",
                        "--device", run.device),
                cwd=folder,
            )
            for name in ("first", "second")
        ]  # fmt: skip
        codes = [process.wait() for process in processes]
        together = time.monotonic() - started
        note = f"one process takes {alone:.1f} s for all of them"
        run.value(f"2 x {count // 2} photos at the same time", together, "s", note)
        run.goal("both", sum(code != 0 for code in codes))
