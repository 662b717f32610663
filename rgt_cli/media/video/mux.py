"""Write the output of a video with ffmpeg: its new frames, and everything else of its input."""

from __future__ import annotations

import math
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition, Stream

from rgt_cli.errors import OutputError
from rgt_cli.files import cannot_write, put_in_place
from rgt_cli.media.formats import Container
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.join import JoinedVideo, Segment
from rgt_cli.media.video.languages import language_tags, reserve_tag, write_tags
from rgt_cli.media.video.metadata import (
    advance_timecode,
    filter_tags,
    metadata_section,
    stream_tags,
    three_letters,
)
from rgt_cli.media.video.offsets import last_duration, shift_of
from rgt_cli.media.video.probe import Span, Video, is_cover
from rgt_cli.media.video.streams import StreamCopy, StreamPlan, open_source, read_cover
from rgt_cli.size import Dimensions

COPY = ("-c:v:0", "copy")
"""The arguments that write the joined video as it is."""
_MOVIE_SCALE = 48_000
"""The least number of ticks per second of the file in MP4 and MOV."""
_MAX_SCALE = 10**7
"""The most ticks per second of its videos."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """How the output of a video is written, besides its frames."""

    container: Container
    """The format."""
    size: Dimensions
    """Size of the frames."""
    arguments: tuple[str, ...] = COPY
    """Arguments of ffmpeg that turn the segments into the video stream of the output."""
    ends_early: bool = False
    """Whether the frames end earlier than the input claims, because it is damaged."""
    limit: float | None = None
    """The most seconds that are written; None writes everything."""


def assemble(
    video: Video,
    segments: Sequence[Segment],
    target: Path,
    output: Output,
    streams: StreamPlan,
    span: Span = Span(),  # noqa: B008 - immutable
) -> None:
    """Write the output: the frames of all segments, at the times of the input, and its other streams.

    The file is built in the folder of the segments. The earliest moment of the input, or of its span,
    becomes zero.

    Args:
        video: The input.
        segments: All segments, in order.
        target: The output; it is replaced once the new one is complete.
        output: The format of the output.
        streams: The streams of the input that are copied.
        span: The part of the input that is copied.

    Raises:
        OutputError: The output cannot be written, or a segment is not complete.
    """
    partial = segments[0].path.parent / f"output.{secrets.token_hex(4)}.part"
    try:
        if not target.parent.is_dir():
            raise cannot_write(target, FileNotFoundError("there is no such folder"))
        with open_source(video) as source, tempfile.TemporaryDirectory(prefix="rgt-") as scratch:
            times = [time for segment in segments for time in segment.times]
            shift = shift_of(video, span)
            last = last_duration(video, times[-1], span, None if output.ends_early else source)
            shown = [time - shift for time in times]
            joined = JoinedVideo(video, segments, output.container, shown, last)
            muxer = _Muxer(video, source, output, streams, Path(scratch))
            _run(muxer.arguments(joined, span, shift * video.time_base, partial), joined, target)
            if muxer.reserved:
                write_tags(partial, muxer.reserved)
        put_in_place(partial, target)
    except av.FFmpegError as error:
        raise cannot_write(target, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _run(arguments: Sequence[str], joined: JoinedVideo, target: Path) -> None:
    """Run ffmpeg, and write the joined video to its standard input."""
    process = ffmpeg.Process(arguments, reads=True)
    failure: Exception | None = None
    try:
        joined.write(process.pipe)
    except (OSError, ValueError) as error:  # the errors of PyAV are of these kinds, too
        failure = error
    finally:
        code, stderr_lines = process.end(kill=failure is None and process.pipe.closed)
    if isinstance(failure, BrokenPipeError) or failure is None:  # then ffmpeg explains why it ended
        if code:
            reason = ffmpeg.in_words(stderr_lines, code)
            raise OutputError(f"{target}: cannot be written: {reason}")
    else:
        raise cannot_write(target, failure) from failure


class _Muxer:
    """Builds the arguments of the ffmpeg that writes an output."""

    def __init__(
        self, video: Video, source: InputContainer, output: Output, streams: StreamPlan, scratch: Path
    ) -> None:
        self._video, self._source, self._output = video, source, output
        self._plan, self._scratch = streams, scratch
        self._muxer = output.container.muxer
        self._policy = streams.policy
        self._mapped = [copy for copy in streams.streams if not copy.is_attached]
        self._languages = language_tags(video.path, source)
        self.reserved: list[str] = []
        """The IETF language tags for which the output has room, in the order of its streams."""

    def arguments(self, joined: JoinedVideo, span: Span, zero: Fraction, partial: Path) -> list[str]:
        """Return the arguments.

        Args:
            joined: The video, which ffmpeg reads from its standard input.
            span: The part of the input that is copied.
            zero: The time in the input, in seconds, that becomes zero.
            partial: The file that is written.
        """
        length = None if span.end is None else span.end * self._video.time_base - zero
        if self._output.limit is not None:
            length = Fraction(self._output.limit)
        tags = self._write_metadata(joined, zero, length)
        arguments = ["-copyts", "-f", joined.muxer, "-i", "pipe:0"]
        arguments += ["-itsoffset", f"{float(-zero):.6f}", *ffmpeg.source_arguments(self._video.path)]
        arguments += ["-f", "ffmetadata", "-i", ffmpeg.url(tags), "-map", "0:v:0"]
        for copy in self._mapped:
            arguments += ["-map", f"1:{copy.index}"]
        arguments += [
            "-copy_unknown",
            "-c",
            "copy",
            *self._output.arguments,
            "-bsf:v:0",
            joined.timing(),
        ]
        for number, copy in enumerate(self._mapped, 1):
            arguments += self._stream_arguments(number, copy, span, length)
        arguments += ["-map_metadata", "2", "-map_chapters", "2" if self._muxer != "gif" else "-1"]
        for number in range(len(self._mapped) + 1):
            arguments += [f"-map_metadata:s:{number}", f"2:s:{number}"]
        arguments += self._disposition(0, self._source.streams[self._video.index])
        for number, copy in enumerate(self._plan.attached, 1 + len(self._mapped)):
            arguments += self._attach(number, copy)
        if length is not None:
            arguments += ["-t", f"{float(length):.6f}"]
        return [*arguments, *self._container_arguments(joined), "-f", self._muxer, ffmpeg.url(partial)]

    def _stream_arguments(
        self, number: int, copy: StreamCopy, span: Span, length: Fraction | None
    ) -> list[str]:
        """Return the arguments of a stream that is copied or converted."""
        stream = self._source.streams[copy.index]
        arguments = (
            [] if copy.encoder == "copy" else [f"-c:{number}", copy.encoder, *copy.options(number)]
        )
        if stream.type == "attachment":
            return arguments
        arguments += self._disposition(number, stream)
        if is_cover(stream):
            return [*arguments, f"-bsf:{number}", "setts=ts=0"]
        filters = []
        if span.start is not None:
            filters.append(r"noise=drop=lt(pts\,0)")
        if stream.type == "subtitle" and (span.start is not None or length is not None):
            # What is on the screen at the start or at the end is shown within the span.
            end = "" if length is None else f"{length.numerator}/{length.denominator}/TB"
            shown = "max(PTS\\,0)"
            until = f"min(PTS+DURATION\\,{end})" if end else "PTS+DURATION"
            filters = [r"noise=drop=lte(pts+d\,0)", f"setts=ts={shown}:duration={until}-{shown}"]
        if filters:
            arguments += [f"-bsf:{number}", ",".join(filters)]
        if span.start is not None and copy.kind == "audio" and copy.encoder != "copy":
            arguments += [f"-filter:{number}", "atrim=start=0"]  # or -t counts from before zero
        return arguments

    def _disposition(self, number: int, stream: Stream) -> list[str]:
        flags = [flag.name for flag in Disposition if flag.name and flag in stream.disposition]
        return [f"-disposition:{number}", "+".join(flags) or "0"]

    def _attach(self, number: int, copy: StreamCopy) -> list[str]:
        """Return the arguments that attach cover art as a file; as a stream, it would become a video."""
        stream = self._source.streams[copy.index]
        suffix = "png" if stream.name == "png" else "jpg"
        path = self._scratch / f"cover{number}.{suffix}"
        path.write_bytes(read_cover(self._video, copy.index))
        name = stream.metadata.get("filename", f"cover.{suffix}")
        kind = stream.metadata.get("mimetype", f"image/{suffix.replace('jpg', 'jpeg')}")
        tags = [f"-metadata:s:{number}", f"filename={name}", f"-metadata:s:{number}", f"mimetype={kind}"]
        return ["-attach", ffmpeg.url(path), *tags]

    def _container_arguments(self, joined: JoinedVideo) -> list[str]:
        """Return the options of the muxer. The same input always gives the same bytes."""
        arguments = ["-fflags", "+bitexact"]
        if joined.is_iso:
            # All videos of a file share a scale, which represents the times of each of them exactly.
            scale = math.lcm(joined.tick.denominator, *self._other_scales())
            scale = scale if scale < _MAX_SCALE else joined.tick.denominator
            movie_scale = scale * math.ceil(
                _MOVIE_SCALE / scale
            )  # in which delays of streams are stored
            flags = "+faststart"
            # MP4 and MOV drop the tags of phones unless they are asked to write them.
            if any(key.startswith("com.") for key in filter_tags(self._source.metadata, self._policy)):
                flags += "+use_metadata_tags"
            arguments += ["-movflags", flags, "-video_track_timescale", str(scale)]
            arguments += ["-movie_timescale", str(movie_scale)]
            if joined.codec == "hevc":
                arguments += ["-tag:v:0", "hvc1"]
        elif self._muxer == "gif":
            arguments += ["-final_delay", str(round(joined.last_duration * 100))]
        elif self._video.sample_aspect != 1 and joined.muxer == "matroska":
            # The pipe cannot specify it. ffmpeg chooses the closest ratio of numbers up to 255. Its
            # muxer omits a ratio that changes the width by less than half a pixel.
            shape = self._video.sample_aspect * self._output.size.width / self._output.size.height
            arguments += ["-aspect:v:0", f"{shape.numerator}:{shape.denominator}"]
        return arguments

    def _language(self, language: str, tag: str) -> str:
        """Return the language of a stream, which Matroska stores in both forms."""
        if self._muxer not in ("matroska", "webm"):
            return three_letters(tag) or language
        self.reserved.append(tag)
        return reserve_tag(language, tag)

    def _other_scales(self) -> list[int]:
        """Return the ticks per second of the other videos that are copied."""
        streams = [self._source.streams[copy.index] for copy in self._mapped if copy.kind == "video"]
        return [stream.time_base.denominator for stream in streams if stream.time_base]

    def _write_metadata(self, joined: JoinedVideo, zero: Fraction, length: Fraction | None) -> Path:
        """Write the tags of the file, of all streams and of the chapters for ffmpeg; return the path."""
        policy = self._policy
        passed = zero - self._video.start * self._video.time_base
        sections = [metadata_section("", filter_tags(self._source.metadata, policy))]
        for index in (self._video.index, *(copy.index for copy in self._mapped)):
            tags = dict(self._source.streams[index].metadata)
            if index in self._languages:
                tags["language"] = self._language(tags.get("language", "und"), self._languages[index])
            tags = stream_tags(tags, policy, self._muxer)
            if index == self._video.index:
                tags |= joined.tags
            for key in [key for key in tags if key.lower() == "timecode"]:
                tags[key] = advance_timecode(tags[key], max(passed, Fraction(0)), self._video.rate)
            sections.append(metadata_section("STREAM", tags))
        for chapter in self._source.chapters():
            base = Fraction(chapter["time_base"] or 1)
            start, end = (chapter[key] * base - zero for key in ("start", "end"))
            if end < 0 or (length is not None and start >= length):
                continue
            times = {
                "TIMEBASE": f"{base.numerator}/{base.denominator}",
                "START": str(int(max(start, Fraction(0)) / base)),
                "END": str(int((end if length is None else min(end, length)) / base)),
            }
            tags = filter_tags(chapter["metadata"], policy)
            sections.append(metadata_section("CHAPTER", times | tags))
        path = self._scratch / "tags.txt"
        path.write_bytes("".join(sections).encode(errors="surrogateescape"))
        return path
