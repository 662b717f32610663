"""The estimate of the bytes of a video, against the video itself."""

from pathlib import Path

import numpy as np
import pytest

from rgt_cli.jobs.job import Job
from rgt_cli.jobs.options import JobOptions, VideoOptions
from rgt_cli.jobs.video.estimate import TrialFrames, estimate_bytes, try_frames
from rgt_cli.jobs.video.plan import plan_video
from rgt_cli.jobs.video.upscale import upscale_video
from rgt_cli.media import format_of
from tests.helpers import DATA
from tests.helpers.jobs import make_context
from tests.helpers.networks import nearest_upscaler
from tests.helpers.videos import X264, ffmpeg

PAN = (f"movie={DATA / 'cat.png'},loop=60:1,zoompan=z='1+on/200':x='on':y='on/2':d=1:s=64x48:fps=20"
       ",trim=duration=3")  # fmt: skip
"""60 frames of a moving photo."""
NOISE = "testsrc2=size=64x48:rate=20:duration=3,noise=alls=20:allf=t"
STILL = "color=red:size=64x48:rate=20:duration=3"


@pytest.mark.parametrize(
    ("source", "codec", "suffix"),
    [(PAN, "x264", "mkv"), (PAN, "x265", "mp4"), (PAN, "av1", "mkv"), (PAN, "vp9", "webm"),
     (PAN, "prores", "mov"), (PAN, "ffv1", "mkv"), (PAN, None, "gif"), (PAN, None, "png"),
     (NOISE, "x264", "mp4"), (NOISE, "ffv1", "mkv"), (STILL, "x264", "mkv")],
)  # fmt: skip
def test_within_a_factor_of_two(tmp_path: Path, source: str, codec: str | None, suffix: str) -> None:
    path, out = tmp_path / "in.mkv", tmp_path / "out"
    ffmpeg("-f", "lavfi", "-i", source, "-f", "lavfi", "-i", "sine=duration=3", "-c:a", "aac", *X264,
           "-crf", "18", path)  # fmt: skip
    target = out / ("%d.png" if suffix == "png" else f"out.{suffix}")
    job = Job(path, target, format_of(target))
    context = make_context(nearest_upscaler(), JobOptions(video=VideoOptions(codec=codec)))
    plan = plan_video(job, context)
    estimated = estimate_bytes(plan, context, try_frames(plan, context))
    upscale_video(job, context)
    made = sum(file.stat().st_size for file in out.iterdir() if not file.name.startswith("."))
    assert 0.5 < estimated / made < 2


def test_the_effect_of_the_network_counts(tmp_path: Path) -> None:
    path, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    ffmpeg("-f", "lavfi", "-i", PAN, "-crf", "18", *X264, path)
    job, context = Job(path, target, format_of(target)), make_context(nearest_upscaler())
    plan = plan_video(job, context)
    trial = try_frames(plan, context)
    flat = [type(frame)(frame.time, np.zeros_like(frame.pixels), None) for frame in trial.results]
    smooth = TrialFrames(seconds=trial.seconds, sources=trial.sources, results=flat)
    assert estimate_bytes(plan, context, smooth) < 0.7 * estimate_bytes(plan, context, trial)
