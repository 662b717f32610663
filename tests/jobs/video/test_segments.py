"""`SegmentStore`: a crash at any moment loses at most the segment that was being encoded."""

import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rgt_cli.errors import OutputError, UsageError
from rgt_cli.files import FileStamp
from rgt_cli.jobs.job import Job
from rgt_cli.jobs.video.segments import (
    PassSettings,
    SegmentSettings,
    SegmentStore,
    find_segment_folders,
)
from rgt_cli.media import format_named
from rgt_cli.media.video.probe import Span
from rgt_cli.size import Dimensions, Size
from tests.helpers.jobs import make_context
from tests.helpers.networks import nearest_upscaler
from tests.helpers.process import names_in

SETTINGS = SegmentSettings(
    source=FileStamp(100, 123456789),
    passes=(
        PassSettings(model="rgt", dtype="torch.float32", tile="auto", overlap=None, self_ensemble=False),
    ),
    alpha_by_network=True,
    size=Dimensions(128, 96),
    arguments=("-c:v", "libx264"),
    span=Span(None, 2000),
    deinterlacing="none",
    segment_seconds=10.0,
)


def add(store: SegmentStore, *times: int) -> None:
    """Add a segment with frames at these times."""
    path = store.new_path()
    path.write_text(f"segment at {times[0]}")
    store.add(path, list(times))


def store_with_two(target: Path) -> Path:
    """Leave two segments, as an interrupted run does; return their folder."""
    with SegmentStore.open(target, SETTINGS) as store:
        add(store, 0, 40, 80)
        add(store, 120, 160)
        return store.folder


def times_of(store: SegmentStore) -> list[tuple[int, ...]]:
    return [segment.times for segment in store.segments]


def test_segments_are_found_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = tmp_path / "out.mkv"
    folder = store_with_two(target)
    assert folder.name.startswith(".rgt-")
    assert folder.name.endswith(".segments")
    with caplog.at_level(logging.INFO), SegmentStore.open(target, SETTINGS) as store:
        assert times_of(store) == [(0, 40, 80), (120, 160)]
        assert [segment.path.read_text() for segment in store.segments] == [
            "segment at 0",
            "segment at 120",
        ]
        assert (store.frames, store.last_time) == (5, 160)
        add(store, 200)
    assert "2 finished segments" in caplog.text
    with SegmentStore.open(target, SETTINGS) as store:
        assert times_of(store) == [(0, 40, 80), (120, 160), (200,)]
        store.remove()
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"source": FileStamp(100, 5)}, "the input"), ({"size": Dimensions(96, 128)}, "the size"),
     ({"arguments": ("-c:v", "ffv1")}, "codec"), ({"span": Span(40, 2000)}, "--start"),
     ({"deinterlacing": "frames"}, "fields"), ({"segment_seconds": 5.0}, "--segment-seconds"),
     ({"passes": ()}, "model"), ({"alpha_by_network": False}, "--alpha")],
)  # fmt: skip
def test_segments_of_other_settings_are_removed(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    target, messages = tmp_path / "out.mkv", list[str]()
    folder = store_with_two(target)
    other = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    context = replace(make_context(nearest_upscaler(Size(scale=2))), warn=messages.append)
    with SegmentStore.open(target, other) as store:
        assert store.segments == []
        assert names_in(folder) == {"segments.jsonl"}
        store.report(Job(tmp_path / "in.mkv", target, format_named("mkv")), 10, context)
        add(store, 0)
    (message,) = messages
    assert re.search(f"5 finished frames .* discarded, because .*{reason}", message)
    with SegmentStore.open(target, other) as store:
        assert times_of(store) == [(0,)]


@pytest.mark.parametrize(("end", "used"), [(None, 2), (100, 1), (3000, 2), (160, 1), (161, 2)])
def test_segments_before_another_end_are_used(tmp_path: Path, end: int | None, used: int) -> None:
    """The last one may have ended early, at the end that was requested then."""
    target = tmp_path / "out.mkv"
    store_with_two(target)
    with SegmentStore.open(target, SETTINGS) as store:
        add(store, 200)
    with SegmentStore.open(target, replace(SETTINGS, span=Span(None, end))) as store:
        assert times_of(store) == [(0, 40, 80), (120, 160)][:used]
        assert store.discarded == 6 - store.frames


def test_each_prefix_of_the_log_is_usable(tmp_path: Path) -> None:
    """A crash may cut the log anywhere."""
    target = tmp_path / "out.mkv"
    log = store_with_two(target) / "segments.jsonl"
    whole = log.read_bytes()
    lines = whole.splitlines(keepends=True)
    contents = {path.name: path.read_bytes() for path in log.parent.glob("*.mkv")}
    for length in range(len(whole) + 1):
        for name, content in contents.items():
            (log.parent / name).write_bytes(content)
        log.write_bytes(whole[:length])
        complete = sum(length >= sum(map(len, lines[: count + 1])) for count in range(3)) - 1
        with SegmentStore.open(target, SETTINGS) as store:
            assert times_of(store) == [(0, 40, 80), (120, 160)][: max(0, complete)]
            add(store, 999)  # so that the folder remains
            assert store.segments[-1].times == (999,)
        assert len(log.read_bytes().splitlines()) == max(0, complete) + 2


@pytest.mark.parametrize("damage", ["missing", "short", "other fields", "not JSON", "out of order"])
def test_segments_after_a_damaged_one_are_computed_again(tmp_path: Path, damage: str) -> None:
    target = tmp_path / "out.mkv"
    with SegmentStore.open(target, SETTINGS) as store:
        for start in (0, 100, 200):
            add(store, start)
        folder = store.folder
    second, log = folder / "000001.mkv", folder / "segments.jsonl"
    lines = log.read_text().splitlines()
    match damage:
        case "missing":
            second.unlink()
        case "short":
            second.write_bytes(second.read_bytes()[:-1])
        case "other fields":
            lines[2] = json.dumps({"name": "000001.mkv"})
        case "not JSON":
            lines[2] = "}" + lines[2]
        case "out of order":
            lines[2] = lines[3]
    log.write_text("\n".join(lines) + "\n")
    with SegmentStore.open(target, SETTINGS) as store:
        assert times_of(store) == [(0,)]
        assert names_in(folder) == {"000000.mkv", "segments.jsonl"}


def test_files_of_a_killed_run_are_removed_and_never_used_again(tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    folder = store_with_two(target)
    (folder / "000002.0123abcd.part").write_text("half a segment")
    (folder / "000002.mkv").write_text("moved, but not in the log yet")
    with SegmentStore.open(target, SETTINGS) as store:
        assert names_in(folder) == {"000000.mkv", "000001.mkv", "segments.jsonl"}
        assert store.new_path() != store.new_path()


def test_nothing_remains_without_a_segment(tmp_path: Path) -> None:
    with SegmentStore.open(tmp_path / "out.mkv", SETTINGS) as store:
        store.new_path().write_text("half a segment")
    with pytest.raises(RuntimeError), SegmentStore.open(tmp_path / "out.mkv", SETTINGS):
        raise RuntimeError
    assert names_in(tmp_path) == set()


def test_outputs_of_one_folder_are_independent(tmp_path: Path) -> None:
    with (
        SegmentStore.open(tmp_path / "a.mkv", SETTINGS) as one,
        SegmentStore.open(tmp_path / "b.mkv", SETTINGS) as other,
    ):
        add(one, 0)
        add(other, 1)
        assert one.folder != other.folder


def test_a_second_run_on_one_output_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    with SegmentStore.open(target, SETTINGS) as store:
        add(store, 0)
        current = store.new_path()
        current.write_text("being encoded")
        with pytest.raises(UsageError, match=r"out\.mkv"), SegmentStore.open(target, SETTINGS):
            pass
        assert current.exists()
        assert store.segments[0].path.exists()


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    target = tmp_path / "file" / "out.mkv"
    with pytest.raises(OutputError, match="cannot be written"), SegmentStore.open(target, SETTINGS):
        pass


def test_folders_that_no_process_owns_are_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    left = store_with_two(tmp_path / "sub" / "left.mkv")
    with SegmentStore.open(tmp_path / "owned.mkv", SETTINGS) as owned:
        add(owned, 0)
        (found,) = find_segment_folders(tmp_path)
    assert (found.path, found.target) == (left, tmp_path / "sub" / "left.mkv")
    assert found.size == sum(path.stat().st_size for path in left.iterdir())
    assert {folder.target for folder in find_segment_folders(tmp_path)} == {
        tmp_path / "sub" / "left.mkv", tmp_path / "owned.mkv",
    }  # fmt: skip


@pytest.mark.parametrize("header", ["", "{}", '{"target": "../elsewhere.mkv"}', '{"target": 5}', "}"])
def test_folders_that_do_not_reveal_their_video(tmp_path: Path, header: str) -> None:
    folder = store_with_two(tmp_path / "out.mkv")
    (folder / "segments.jsonl").write_text(f"{header}\n")
    (found,) = find_segment_folders(tmp_path)
    assert (found.path, found.target) == (folder, None)
