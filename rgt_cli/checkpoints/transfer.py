"""Transfer a checkpoint from the Hugging Face Hub or from a URL, with the Hub's own client.

The client provides the cache, resumed downloads, proxies, tokens, HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE
and the timeouts HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT (10 s without data), which behave as its
users expect. Nothing here trusts the bytes: `download` verifies them.
"""

from __future__ import annotations

import errno
import logging
import re
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    get_session,
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
from huggingface_hub.hf_api import RepoFile
from tqdm import tqdm

from rgt_cli.checkpoints.archive import MAX_BYTES
from rgt_cli.checkpoints.cache import DownloadProgress
from rgt_cli.checkpoints.catalogue import SUFFIXES, Location
from rgt_cli.errors import OutputError
from rgt_cli.files import atomic_write

if TYPE_CHECKING:
    SilentBar = tqdm[Any]
else:
    SilentBar = tqdm

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""Requests to a busy or failing server before giving up."""
MAX_WAIT = 30.0
"""Seconds. A server that asks for a longer wait is not asked again."""


class TransferError(Exception):
    """A location did not deliver a usable file. The text is a short reason without any secret."""


def fetch_from_hub(
    location: Location, again: bool, progress: DownloadProgress
) -> tuple[Path, str | None]:
    """Return a file on the Hub, as its path in the Hub's cache, and its commit.

    Args:
        location: A location with a `hub`.
        again: Download the file even if it is cached.
        progress: A callback for the bytes received.

    Raises:
        TransferError: The file cannot be downloaded.
    """
    _silence_client()
    repo, file = location.hub or "", location.file
    try:
        if file is None:
            file = _find_checkpoint(location)
        if not again:
            cached = try_to_load_from_cache(repo, file, revision=location.revision)
            if isinstance(cached, str):
                logger.info("%s: found in the cache of the Hub: %s", location, cached)
                return Path(cached), _commit_of(Path(cached))
        metadata = _request_metadata(hf_hub_url(repo, file, revision=location.revision), token=None)
        _check_size(metadata.size, location)
        with warnings.catch_warnings(action="ignore"):  # an error follows if the disk really is full
            path = hf_hub_download(
                repo,
                file,
                revision=location.revision,
                force_download=again,
                tqdm_class=_bar(f"{repo}:{file}", progress),
            )
    except TransferError:
        raise
    except Exception as error:  # its own errors, those of the system, and those of its HTTP library
        raise TransferError(_reason(error, location)) from error
    return Path(path), metadata.commit_hash


def fetch_from_url(location: Location, target: Path, progress: DownloadProgress) -> None:
    """Write the file at a URL to `target`, atomically. No token is sent.

    Args:
        location: A location with a `url`.
        target: The path of the file to write.
        progress: A callback for the bytes received.

    Raises:
        TransferError: The file cannot be downloaded.
    """
    _silence_client()
    url = location.url or ""
    try:
        size = _size_at(url)
        _check_size(size, location)
        with atomic_write(target) as file:
            bar = _bar(str(location), progress)
            http_get(url, file, headers={}, expected_size=size, tqdm_class=bar)
    except TransferError:
        raise
    except OutputError as error:  # around any OSError of the block, those of the client included
        raise TransferError(_reason(error.__cause__ or error, location)) from error
    except Exception as error:
        raise TransferError(_reason(error, location)) from error


def failure_of_hub(timeout: float) -> str:
    """Return why the Hub does not answer, without a token; empty if it does.

    Args:
        timeout: Seconds to wait for it.
    """
    _silence_client()
    location = Location(hub="")
    try:
        response = get_session().head(constants.ENDPOINT, timeout=timeout, follow_redirects=False)
    except Exception as error:
        return _reason(error, location)
    return f"the server failed ({response.status_code})" if response.status_code >= 500 else ""


def _silence_client() -> None:
    """Silence the warnings of the client. If its retries fail, an error reports the reason."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def _size_at(url: str) -> int | None:
    """Return the size of the file at a URL. None if the server does not report it."""
    try:
        return _request_metadata(url, token=False).size
    except HfHubHTTPError as error:
        if error.response is None or error.response.status_code not in (403, 405, 501):
            raise
        return None  # some servers support GET only


def _find_checkpoint(location: Location) -> str:
    """Return the path of the checkpoint in a repository.

    It is the one with the expected hash. If no hash is expected, it is the only safetensors file, or
    else the only pickle.
    """
    repo = location.hub or ""
    tree = HfApi().list_repo_tree(repo, recursive=True, revision=location.revision)
    files = [entry for entry in tree if isinstance(entry, RepoFile)]
    if location.sha256:
        for file in files:
            if file.lfs and file.lfs.sha256 == location.sha256:
                return file.path
        raise TransferError("no file in this repository has the expected hash")
    names = [file.path for file in files]
    for suffix in SUFFIXES:
        found = [name for name in names if name.lower().endswith(suffix)]
        if len(found) == 1:
            return found[0]
        if found:
            examples = ", ".join(found[:4])
            raise TransferError(f"has {len(found)} checkpoints; select one as {repo}:FILE ({examples})")
    raise TransferError("no checkpoint in this repository")


def _request_metadata(url: str, token: bool | None) -> HfFileMetadata:
    """Request size and commit of a file. Unlike the client's own retries, give up within a minute."""
    attempt = 1
    while True:
        try:
            return get_hf_file_metadata(url, token=token, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        except HfHubHTTPError as error:
            status = _status_of(error)
            wait = _retry_after(error) if status == 429 else 1.0
            if (status != 429 and status < 500) or attempt == ATTEMPTS or wait > MAX_WAIT:
                raise
            logger.info("the server answered with status %d; trying again in %.0f s", status, wait)
            time.sleep(wait)
            attempt += 1


def _status_of(error: HfHubHTTPError) -> int:
    return error.response.status_code if error.response is not None else 0


def _retry_after(error: HfHubHTTPError) -> float:
    """Return the seconds that a busy server asks to wait."""
    text = error.response.headers.get("Retry-After", "") if error.response is not None else ""
    return float(text) if text.isdecimal() else 1.0


def _check_size(size: int | None, location: Location) -> None:
    """Refuse a file whose size is wrong or absurd, before it is downloaded."""
    if size is not None and location.bytes is not None and size != location.bytes:
        raise TransferError(f"the server offers {size} bytes instead of {location.bytes}")
    if size is not None and size > MAX_BYTES:
        raise TransferError(f"the server offers {size} bytes, which is too large for an RGT")


def _commit_of(cached: Path) -> str | None:
    """Return the commit of a file in the Hub's cache, `.../snapshots/COMMIT/file`."""
    parts = cached.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else None


def _bar(title: str, progress: DownloadProgress) -> type[SilentBar]:
    """Return a class for the client to report to. It forwards the numbers and draws nothing."""

    class Bar(SilentBar):
        def __init__(self, *, total: int | None = None, initial: int = 0, **ignored: Any) -> None:
            super().__init__(total=total, initial=initial, disable=True)
            self.received, self.expected = initial, total

        def update(self, n: float | None = 1) -> None:
            self.received += int(n or 0)
            progress(title, self.received, self.expected)

    return Bar


def _reason(error: BaseException, location: Location) -> str:
    """Return a short reason why the client failed, without a token."""
    if isinstance(error, OfflineModeIsEnabled) or "HF_HUB_OFFLINE" in str(error):
        return "not in the cache, and offline mode is on (HF_HUB_OFFLINE)"
    if isinstance(error, GatedRepoError):
        return "access is gated: accept the conditions on the Hub and set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return "no such repository, or it is private and HF_TOKEN is missing or not accepted"
    if isinstance(error, (RemoteEntryNotFoundError, RevisionNotFoundError)):
        return "no such file in this repository"
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return _status_reason(error)
    if "Timeout" in type(error).__name__ or isinstance(error, TimeoutError):
        return f"the server sent no data for {constants.HF_HUB_DOWNLOAD_TIMEOUT} s"
    if "Connect" in type(error).__name__ or "Proxy" in type(error).__name__:
        return f"cannot connect to {urlsplit(location.url or constants.ENDPOINT).hostname}"
    if isinstance(error, LocalEntryNotFoundError):
        return "not in the cache, and the server cannot be reached"
    if "Consistency check" in str(error):
        return "the connection closed before the download was complete"
    return _system_reason(error)


def _status_reason(error: HfHubHTTPError) -> str:
    status = _status_of(error)
    reasons = {
        401: "the server requires a token, or does not accept this one (401); set HF_TOKEN",
        403: "access is forbidden (403)",
        404: "not found (404)",
        429: f"too many requests (429); try again in {_retry_after(error):.0f} s",
    }
    return reasons.get(status, f"the server failed ({status})")


def _system_reason(error: BaseException) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left in {constants.HF_HOME}; free some, or set HF_HOME to another folder"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"the cache {constants.HF_HOME} cannot be written; set HF_HOME to another folder"
    return _without_secrets(f"{type(error).__name__}: {error}".splitlines()[0])


def _without_secrets(text: str) -> str:
    """Remove the user's token, and user, password and query of an address."""
    text = text.replace(get_token() or "\0", "***")
    return re.sub(r"(https?://)(?:[^\s/@]*@)?([^\s?]+)\?\S*", r"\1\2", text)
