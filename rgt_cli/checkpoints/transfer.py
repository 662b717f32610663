"""Get the bytes of a checkpoint from the Hugging Face Hub or from an address, by the Hub's own client.

Cache, resume, proxies, tokens, HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE and the time-outs
HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT (10 s without data) are the client's and behave as
its users expect. Nothing here trusts what it gets: that is the work of `store`.
"""

import errno
import os
import re
import time
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    get_token,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import HfFileMetadata, http_get
from huggingface_hub.utils import logging
from tqdm import tqdm

from rgt_cli.checkpoints.cache import Progress
from rgt_cli.checkpoints.catalogue import SUFFIXES, Location

LARGEST = 2 << 30
"""Bytes; no RGT comes near, so more is refused before it fills a disk."""
ATTEMPTS = 3
"""How often a busy or failing server is asked, all in all."""
LONGEST_WAIT = 30.0
"""Seconds; a server that asks for a longer wait is left alone."""


class TransferError(Exception):
    """Why a place did not deliver, in a few words without any secret."""


def fetch_from_hub(place: Location, again: bool, progress: Progress) -> tuple[Path, str | None]:
    """Return a file of a repository on the Hub, from the Hub's cache or freshly fetched, and its commit.

    Args:
        again: fetch even if it is cached.

    Raises:
        TransferError: it cannot be had.
    """
    logging.set_verbosity_error()  # its retries are told by the error, if it comes to one
    repo, file = place.hub or "", place.file
    try:
        if file is None:
            file = _only_checkpoint(repo)
        if not again:
            cached = try_to_load_from_cache(repo, file, revision=place.revision)
            if isinstance(cached, str):
                return Path(cached), _commit_of(Path(cached))
        metadata = _ask(hf_hub_url(repo, file, revision=place.revision), token=None)
        _check_size(metadata.size, place)
        with warnings.catch_warnings(action="ignore"):  # of little space: the error says it, if it comes
            path = hf_hub_download(
                repo,
                file,
                revision=place.revision,
                force_download=again,
                tqdm_class=_bar(f"{repo}:{file}", progress),
            )
    except TransferError:
        raise
    except Exception as error:  # the client raises its own errors, the system's and its transport's
        raise TransferError(_reason(error)) from error
    return Path(path), metadata.commit_hash


def fetch_from_url(place: Location, target: Path, progress: Progress) -> None:
    """Write what an address serves to `target`, whole or not at all. No token is sent.

    Raises:
        TransferError: it cannot be had.
    """
    logging.set_verbosity_error()
    url, part = place.url or "", target.with_name(f"{target.name}.part")
    try:
        try:
            size = _ask(url, token=False).size
        except HfHubHTTPError as error:
            if error.response is None or error.response.status_code not in (403, 405, 501):
                raise
            size = None  # some servers answer GET alone
        _check_size(size, place)
        with part.open("wb") as file:
            http_get(url, file, headers={}, expected_size=size, tqdm_class=_bar(str(place), progress))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except TransferError:
        raise
    except Exception as error:
        raise TransferError(_reason(error)) from error
    finally:
        part.unlink(missing_ok=True)


def _only_checkpoint(repo: str) -> str:
    """The one checkpoint that a repository holds, safetensors before pickles."""
    names = HfApi().list_repo_files(repo)
    for suffix in SUFFIXES:
        found = [name for name in names if name.lower().endswith(suffix)]
        if len(found) == 1:
            return found[0]
        if found:
            raise TransferError(
                f"holds {len(found)} checkpoints; write {repo}:FILE ({', '.join(found[:4])})"
            )
    raise TransferError("holds no checkpoint")


def _ask(url: str, token: bool | None) -> HfFileMetadata:
    """Ask for size and commit; unlike the client's own retries this gives up within a minute."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return get_hf_file_metadata(url, token=token, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            wait = _retry_after(error) if status == 429 else 1.0
            if (status != 429 and status < 500) or attempt == ATTEMPTS or wait > LONGEST_WAIT:
                raise
            time.sleep(wait)
    raise AssertionError("unreachable")


def _retry_after(error: HfHubHTTPError) -> float:
    text = error.response.headers.get("Retry-After", "") if error.response is not None else ""
    return float(text) if text.isdecimal() else 1.0


def _check_size(size: int | None, place: Location) -> None:
    if size is not None and place.bytes is not None and size != place.bytes:
        raise TransferError(f"offers {size} bytes instead of {place.bytes}")
    if size is not None and size > LARGEST:
        raise TransferError(f"offers {size} bytes, more than any RGT has")


def _commit_of(cached: Path) -> str | None:
    """The commit of a file in the Hub's cache, `.../snapshots/COMMIT/file`."""
    parts = cached.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else None


def _bar(title: str, progress: Progress) -> type[tqdm]:
    """The client reports through tqdm; this one passes its numbers on and draws nothing."""

    class Bar(tqdm):
        def __init__(self, *, total: int | None = None, initial: int = 0, **ignored: Any) -> None:
            super().__init__(total=total, initial=initial, disable=True)
            self.seen, self.goal = initial, total

        def update(self, n: float | None = 1) -> None:
            self.seen += int(n or 0)
            progress(title, self.seen, self.goal)

    return Bar


def _reason(error: Exception) -> str:
    """Say in a few words why the client failed. Tokens never stand in these words."""
    host = urlsplit(constants.ENDPOINT).netloc
    if isinstance(error, OfflineModeIsEnabled) or "HF_HUB_OFFLINE" in str(error):
        return "is not in the cache, and offline mode is on (HF_HUB_OFFLINE)"
    if isinstance(error, GatedRepoError):
        return "is gated: accept its conditions on the Hub and set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return "no such repository, or it is private and HF_TOKEN is missing or not accepted"
    if isinstance(error, (RemoteEntryNotFoundError, RevisionNotFoundError)):
        return "no such file in that repository"
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return _status_reason(error)
    if "Timeout" in type(error).__name__ or isinstance(error, TimeoutError):
        return f"the server sent nothing for {constants.HF_HUB_DOWNLOAD_TIMEOUT} s"
    if "Connect" in type(error).__name__ or "Proxy" in type(error).__name__:
        return f"cannot connect ({host} for the Hub)"
    if isinstance(error, LocalEntryNotFoundError):
        return "is not in the cache, and the server cannot be reached"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left in {constants.HF_HOME}; free some or set HF_HOME"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"the cache {constants.HF_HOME} cannot be written; set HF_HOME to another folder"
    if "Consistency check" in str(error):
        return "the connection ended before all bytes had come"
    return _without_secrets(f"{type(error).__name__}: {error}".splitlines()[0])


def _without_secrets(text: str) -> str:
    """Leave out the user's token, and whatever signs an address."""
    text = text.replace(get_token() or "\0", "***")
    return re.sub(r"(https?://)(?:[^\s/@]*@)?([^\s?]+)\?\S*", r"\1\2", text)


def _status_reason(error: HfHubHTTPError) -> str:
    status = error.response.status_code if error.response is not None else 0
    if status == 401:
        return "the server wants a token, or does not accept this one (401); set HF_TOKEN"
    if status == 403:
        return "access is forbidden (403)"
    if status == 404:
        return "not found (404)"
    if status == 429:
        return f"too many requests (429); try again in {_retry_after(error):.0f} s"
    return f"the server failed ({status})"
