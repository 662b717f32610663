"""IETF language tags in Matroska and WebM. mkvmerge writes and reads them independently."""

import json
import random
import subprocess
import zlib
from pathlib import Path

import av
import pytest

from rgt_cli.errors import OutputError
from rgt_cli.jobs.options import OutputOptions
from rgt_cli.media.video.languages import language_tags, reserve_tag, write_tags
from tests.helpers.process import NEEDS_MKVMERGE
from tests.helpers.videos import SMALL, SUBTITLES, X264, ffmpeg, stream_tags, upscale

TRACKS = bytes.fromhex("1654ae6b")
SEEK_HEAD = bytes.fromhex("114d9b74")


def merged(path: Path, languages: list[str], *arguments: str) -> Path:
    """Write a file by mkvmerge with a video, two audio streams and subtitles in these languages."""
    plain, subtitles = path.with_name(f"plain{path.suffix}"), path.with_name("a.vtt")
    subtitles.write_text("WEBVTT\n\n" + SUBTITLES.replace(",", "."))
    is_webm = path.suffix == ".webm"
    text = () if is_webm else ("-map", "2", "-c:s", "srt")  # mkvmerge supports none in WebM
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=duration=1", "-i", subtitles, "-map", "0",
        "-map", "1", "-map", "1", *(("-c:v", "libvpx") if is_webm else X264), "-c:a", "libopus", *text,
        "-t", "0.4", plain,
    )  # fmt: skip
    options = [
        part
        for track, language in enumerate(languages)
        for part in ("--language", f"{track}:{language}")
    ]
    command = ["mkvmerge", "--quiet", "-o", str(path), *arguments, *options, str(plain)]
    subprocess.run(command, check=True)
    return path


def languages_in(path: Path) -> list[tuple[str, str | None]]:
    """Return the languages of all tracks that mkvmerge finds: in three letters, and the tag."""
    command = ["mkvmerge", "-J", str(path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert found["warnings"] == found["errors"] == []
    return [
        (track["properties"]["language"], track["properties"].get("language_ietf"))
        for track in found["tracks"]
    ]


@NEEDS_MKVMERGE
@pytest.mark.parametrize(
    ("suffix", "languages", "arguments", "output"),
    [
        ("mkv", ["en-US", "pt-BR", "und", "zh-Hant"], (), OutputOptions()),
        ("mkv", ["und", "por", "sr-Cyrl-RS", "de"], (), OutputOptions(strip=True)),
        ("mkv", ["und", "por", "eng", "chi"], ("--disable-language-ietf",), OutputOptions()),
        ("webm", ["en-US", "pt-BR", "und"], ("--webm",), OutputOptions()),
    ],
)
def test_languages_are_those_of_the_input(
    tmp_path: Path, suffix: str, languages: list[str], arguments: tuple[str, ...], output: OutputOptions
) -> None:
    source = merged(tmp_path / f"in.{suffix}", languages, *arguments)
    target = tmp_path / f"out.{suffix}"
    assert upscale(source, target, output=output).warnings == ()
    assert languages_in(target) == languages_in(source)
    assert [tags.get("language") for tags in stream_tags(target)] == [
        tags.get("language") for tags in stream_tags(source)
    ]
    if suffix == "mkv":
        check_checksum(target.read_bytes())


def check_checksum(content: bytes) -> None:
    """Check the checksum of all tracks."""
    at = content.rindex(TRACKS) + len(TRACKS)
    start = content.index(b"\xbf\x84", at)
    end = start + (int.from_bytes(content[at:start]) & (1 << 7 * (start - at)) - 1)
    assert content[start + 2 : start + 6] == zlib.crc32(content[start + 6 : end]).to_bytes(4, "little")


@NEEDS_MKVMERGE
def test_tracks_at_the_end_of_the_file(tmp_path: Path) -> None:
    """An index at the start tells where they are."""
    source = merged(tmp_path / "in.mkv", ["en", "pt-BR", "fr-CA", "und"])
    command = [
        "mkvpropedit",
        "--quiet",
        str(source),
        "--edit",
        "track:a1",
        "--set",
        f"name={'x' * 20000}",
    ]
    subprocess.run(command, check=True)
    content = source.read_bytes()
    assert content.rindex(TRACKS) > len(content) - 25000
    with av.open(str(source)) as container:
        assert language_tags(source, container) == {0: "en", 1: "pt-BR", 2: "fr-CA", 3: "und"}


@NEEDS_MKVMERGE
def test_mp4_names_the_language_of_the_tag_by_three_letters(tmp_path: Path) -> None:
    source = merged(tmp_path / "in.mkv", ["de-AT", "pt-BR", "und", "zh-Hant"])
    upscale(source, tmp_path / "out.mp4")
    found = [tags.get("language") for tags in stream_tags(tmp_path / "out.mp4")]
    assert found == ["deu", "por", "und", "zho"]


def tagged(path: Path, *arguments: str) -> Path:
    """Write a file with a video in Portuguese of Brazil and sound in French, without mkvmerge."""
    ffmpeg(
        "-f", "lavfi", "-i", SMALL, "-f", "lavfi", "-i", "sine=duration=1", "-c:v", "libvpx", "-c:a",
        "libopus", "-t", "0.4", "-metadata:s:0", f"language={reserve_tag('por', 'pt-BR')}",
        "-metadata:s:1", "language=fra", *arguments, path,
    )  # fmt: skip
    write_tags(path, ["pt-BR"])
    return path


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
@pytest.mark.parametrize("is_live", [False, True])
def test_files_whose_size_is_unknown(tmp_path: Path, suffix: str, is_live: bool) -> None:
    """Such are live streams, and what is written to a pipe."""
    path = tagged(tmp_path / f"in.{suffix}", *(("-live", "1") if is_live else ()))
    assert (b"\x18\x53\x80\x67\x01" + b"\xff" * 7 in path.read_bytes()) == is_live
    with av.open(str(path)) as container:
        assert language_tags(path, container) == {0: "pt-BR"}
        assert [s.metadata["language"] for s in container.streams] == ["por", "fra"]


def test_damaged_files(tmp_path: Path) -> None:
    good, path = tagged(tmp_path / "in.mkv"), tmp_path / "damaged.mkv"
    content, random_ = good.read_bytes(), random.Random(7)
    end = content.index(TRACKS) + 400
    with av.open(str(good)) as container:
        for length in range(0, end, 3):
            path.write_bytes(content[:length])
            assert language_tags(path, container) in ({}, {0: "pt-BR"})
        for _ in range(200):
            damaged = bytearray(content)
            for _ in range(random_.randint(1, 5)):
                damaged[random_.randrange(end)] = random_.randrange(256)
            path.write_bytes(damaged)
            assert language_tags(path, container).keys() <= {0, 1}


def test_indexes_that_refer_to_each_other(tmp_path: Path) -> None:
    good, path = tagged(tmp_path / "in.mkv"), tmp_path / "endless.mkv"
    places = b"".join(
        bytes.fromhex("4dbb8b53ab84114d9b7453ac81") + bytes([at]) for at in range(0, 200, 14)
    )
    header = bytes.fromhex("1a45dfa380") + bytes.fromhex("18538067 01ffffffffffffff")
    path.write_bytes(header + (SEEK_HEAD + b"\x40" + bytes([len(places)]) + places) * 1000)
    with av.open(str(good)) as container:
        assert language_tags(path, container) == {}


def test_no_tag_is_written_without_room(tmp_path: Path) -> None:
    path = tagged(tmp_path / "in.mkv")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="no room for the languages de-AT"):
        write_tags(path, ["de-AT"])
    assert path.read_bytes() == before
