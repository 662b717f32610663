"""Decide which streams of a video are copied besides its frames."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import av
from av.container import InputContainer
from av.stream import Discard, Stream

from rgt_cli.errors import UsageError
from rgt_cli.media.formats import Container
from rgt_cli.media.video import ffmpeg
from rgt_cli.media.video.metadata import MetadataPolicy, image_has_place, is_telemetry
from rgt_cli.media.video.probe import Video, is_cover

logger = logging.getLogger(__name__)

_TELEMETRY_SECONDS = 10
"""How far subtitles are searched for telemetry, which starts with the video and changes every second."""
_FONT_TYPES = ("font/", "application/x-truetype-font", "application/x-font", "application/font",
               "application/vnd.ms-opentype")  # fmt: skip
"""How the MIME types of fonts begin, which subtitles need."""
_TEXT_ENCODERS = {"matroska": ("srt",), "webm": ("webvtt",), "mp4": ("mov_text",), "mov": ("mov_text",)}
"""The encoders of subtitles that are text, by muxer."""
_LOSSLESS_ENCODERS = ("alac", "flac")
"""The encoders of sound without a loss, in the order in which they are tried after PCM."""
_AUDIO_ENCODERS = {
    "webm": ("libopus", "libvorbis"),
    "matroska": ("flac",),
    "mp4": ("aac",),
    "mov": ("aac",),
}
"""The other encoders of sound, by muxer."""
_BITS_PER_CHANNEL = 96_000
"""Bits per second of a channel of sound that is converted to a lossy codec."""


@dataclass(frozen=True, kw_only=True)
class StreamCopy:
    """A stream of the input that goes into the output."""

    index: int
    """Its index among all streams of the input."""
    description: str
    """The stream as messages call it."""
    kind: str
    """Its type: audio, subtitle, attachment, data or video."""
    channels: int = 0
    """Number of channels of sound."""
    encoder: str = "copy"
    """The encoder of ffmpeg that converts it; "copy" leaves it as it is."""
    is_cover: bool = False
    """Whether it is cover art."""
    is_attached: bool = False
    """Whether it becomes an attached file."""

    def options(self, number: int) -> list[str]:
        """Return the options of its encoder; `number` is its index among all streams of the output."""
        if (
            self.kind != "audio"
            or self.encoder in (*_LOSSLESS_ENCODERS, "copy")
            or "pcm" in self.encoder
        ):
            return []
        return [f"-b:{number}", str(_BITS_PER_CHANNEL * max(1, self.channels))]


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """Which streams of a video are copied besides its frames, and with which metadata."""

    policy: MetadataPolicy
    streams: tuple[StreamCopy, ...] = ()
    """The streams."""
    unsupported: tuple[str, ...] = ()
    """Descriptions of the streams that the container does not support."""
    withheld: tuple[str, ...] = ()
    """Descriptions of the streams that are left out because they may contain a location."""

    @property
    def copied(self) -> tuple[int, ...]:
        """The indices of the streams."""
        return tuple(stream.index for stream in self.streams)

    @property
    def attached(self) -> tuple[StreamCopy, ...]:
        """The streams that become attached files."""
        return tuple(stream for stream in self.streams if stream.is_attached)

    @property
    def converted(self) -> tuple[str, ...]:
        """Descriptions of the streams that are converted."""
        changed = [stream for stream in self.streams if stream.encoder != "copy"]
        return tuple(
            f"{stream.description} to {stream.encoder.removeprefix('lib')}" for stream in changed
        )


Accepts = Callable[[Sequence[StreamCopy]], bool]
"""Tells whether a container accepts streams."""


def plan_streams(
    video: Video,
    container: Container,
    policy: MetadataPolicy,
    accepts: Accepts,
    maps: Sequence[str] = (),
) -> StreamPlan:
    """Decide which streams of a video are copied to a container, and which are converted.

    Args:
        video: The video.
        container: The format of the output.
        policy: Which metadata goes into the output.
        accepts: Tells whether the container accepts streams.
        maps: Which streams are wanted, as the option -map of ffmpeg selects them; nothing selects all.

    Raises:
        UsageError: A selection is not one that ffmpeg understands, or there is no such stream.
    """
    wanted, withheld = list[StreamCopy](), list[str]()
    selected = _selected(video, maps) if maps else set(video.others)
    with open_source(video) as source:
        private = set(_private_streams(video, source, policy))
        for index in sorted(selected & set(video.others)):
            stream = source.streams[index]
            if index in private:
                logger.info("%s: %s is left out (%s)", video.path, _describe(stream), policy.value)
                withheld.append(_describe(stream))
            elif not _is_rebuilt(stream, source):
                wanted.append(_copy_of(stream, container))
        may_be_written = [copy for copy in wanted if _has_place(copy, container)]
        copied = may_be_written
        if may_be_written and not accepts(may_be_written):
            found = [_supported(video, copy, source, container, accepts) for copy in may_be_written]
            copied = [copy for copy in found if copy is not None]
    indices = {copy.index for copy in copied}
    unsupported = [copy.description for copy in wanted if copy.index not in indices]
    return StreamPlan(
        policy=policy,
        streams=tuple(copied),
        unsupported=tuple(unsupported),
        withheld=tuple(withheld) if policy is MetadataPolicy.STRIP_GPS else (),
    )


def open_source(video: Video) -> InputContainer:
    """Open the file of a video."""
    return ffmpeg.open_source(video.path)


def read_cover(video: Video, index: int) -> bytes:
    """Return the image file of a stream of cover art, or nothing if it is damaged."""
    with open_source(video) as source, suppress(av.FFmpegError):
        for packet in source.demux(source.streams[index]):
            if packet.size:
                return bytes(packet)
    return b""


def _selected(video: Video, maps: Sequence[str]) -> set[int]:
    """Return the indices of the streams that ffmpeg selects.

    Raises:
        UsageError: The notation is wrong, or no stream matches.
    """
    selection = [part for one in maps for part in ("-map", one)]
    source = ffmpeg.source_arguments(video.path)
    arguments = [*source, *selection, "-copy_unknown", "-c", "copy", "-t", "0", "-f", "null", "-"]
    code, _, stderr = ffmpeg.run(arguments)
    found = {int(index) for index in re.findall(r"Stream #0:(\d+) -> #0:\d+", stderr)}
    if code and not found:
        _, _, errors = ffmpeg.run(["-v", "error", *arguments])
        is_missing = "matches no streams" in errors
        reason = "no such stream" if is_missing else ffmpeg.in_words(errors.splitlines(), code)
        raise UsageError(f"--map {' '.join(maps)}: {video.path}: {reason}")
    return found


def _copy_of(stream: Stream, container: Container) -> StreamCopy:
    return StreamCopy(
        index=stream.index,
        description=_describe(stream),
        kind=str(stream.type),
        is_cover=is_cover(stream),
        is_attached=is_cover(stream) and container.muxer == "matroska",
    )


def _has_place(copy: StreamCopy, container: Container) -> bool:
    """Return whether a container has a place for a stream. Some muxers drop it without an error."""
    return container.muxer != "gif" and not (copy.is_cover and container.muxer == "mov")


def _supported(
    video: Video, copy: StreamCopy, source: InputContainer, container: Container, accepts: Accepts
) -> StreamCopy | None:
    """Return a stream as the container accepts it: as it is, or converted; None if it does not."""
    encoders = _encoders(source.streams[copy.index], container)
    if copy.kind == "audio" and encoders:
        copy = replace(copy, channels=_channels(video, copy.index))
    for encoder in ("copy", *encoders):
        if accepts([changed := replace(copy, encoder=encoder)]):
            return changed
    return None


def _channels(video: Video, index: int) -> int:
    """Return the number of channels of a stream of sound."""
    # PyAV frees the layout of some cameras twice, so that the process would end.
    _, _, stderr = ffmpeg.run(ffmpeg.source_arguments(video.path))
    line = re.search(rf"Stream #0:{index}\b.*Audio:.* Hz, ([^,\n]+)", stderr)
    if line and (count := re.match(r"(\d+) channels", line[1])):
        return int(count[1])
    with suppress(ValueError):
        return av.AudioLayout(line[1]).nb_channels if line else 0
    return 0


def _encoders(stream: Stream, container: Container) -> tuple[str, ...]:
    """Return the encoders that may convert a stream, the best first."""
    if not stream.codec_context:
        return ()
    codec = stream.codec_context.name
    if stream.type == "subtitle" and stream.codec_context.codec.text_sub:
        return _TEXT_ENCODERS.get(container.muxer, ())
    if isinstance(stream, av.AudioStream):
        lossy, decoder = _AUDIO_ENCODERS.get(container.muxer, ()), stream.codec_context.codec
        if codec.startswith("pcm"):
            return (_pcm_encoder(stream), *_LOSSLESS_ENCODERS, *lossy)
        return (*_LOSSLESS_ENCODERS, *lossy) if decoder.lossless and not decoder.lossy else lossy
    return ()


def _pcm_encoder(stream: av.AudioStream) -> str:
    """Return the usual kind of PCM that holds every sample of another kind."""
    name, packed = stream.codec_context.name, stream.codec_context.format.packed.name
    if packed in ("u8", "s16"):
        return "pcm_s16le"
    if packed in ("flt", "dbl"):
        return "pcm_f32le"
    return "pcm_s32le" if "32" in name else "pcm_s24le"


def _describe(stream: Stream) -> str:
    context = getattr(stream, "codec_context", None)
    codec = context.name if context else stream.metadata.get("mimetype") or getattr(stream, "name", "")
    return f"{stream.type} {stream.index} ({codec or 'unknown codec'})"


def _is_rebuilt(stream: Stream, source: InputContainer) -> bool:
    """Return whether a stream is a timecode or chapter track of MOV, which its muxer writes itself."""
    if stream.type != "data":
        return False
    is_chapters = not getattr(stream, "name", None) and bool(source.chapters())
    return "timecode" in stream.metadata or stream.discard == Discard.all or is_chapters


def _private_streams(video: Video, source: InputContainer, policy: MetadataPolicy) -> Iterator[int]:
    """Yield the indices of the streams that a policy omits."""
    if policy is MetadataPolicy.KEEP:
        return
    yield from _telemetry_streams(video)
    for index in video.others:
        stream = source.streams[index]
        if (
            (stream.type == "data" and not _is_rebuilt(stream, source))
            or (stream.type == "attachment" and not _is_font(stream))
            or (
                is_cover(stream)
                and (policy is MetadataPolicy.STRIP or image_has_place(read_cover(video, index)))
            )
        ):
            yield index


def _is_font(stream: Stream) -> bool:
    return stream.metadata.get("mimetype", "").lower().startswith(_FONT_TYPES)


def _telemetry_streams(video: Video) -> set[int]:
    """Return the indices of the subtitles that contain coordinates, as drones write them."""
    found = set[int]()
    with open_source(video) as source, suppress(av.FFmpegError):
        if not source.streams.subtitles:
            return found
        for packet in source.demux():
            ticks = packet.pts if packet.dts is None else packet.dts
            if ticks is None or packet.time_base is None:
                continue
            if ticks * packet.time_base > video.start * video.time_base + _TELEMETRY_SECONDS:
                break
            if packet.stream.type == "subtitle" and is_telemetry(bytes(packet)):
                found.add(packet.stream.index)
    return found
