"""Check the Hugging Face Hub and Ray."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import constants, get_token

from rgt_cli.checkpoints.catalogue import redact_url
from rgt_cli.doctor.check import Check, State, set_variable
from rgt_cli.errors import UsageError

PATIENCE = 4.0
"""Seconds to wait for the Hub."""
_DEFAULT_HUB = "https://huggingface.co"


class HubRequest:
    """A request to the Hub that runs in the background, since a name server may take long to answer."""

    def __init__(self) -> None:
        # It is imported here, since two threads must not import at the same time.
        from rgt_cli.checkpoints.transfer import failure_of_hub

        self._started = time.monotonic()
        self._answers = queue.Queue[tuple[str, float]]()

        def ask() -> None:
            self._answers.put((failure_of_hub(PATIENCE), time.monotonic() - self._started))

        if not constants.HF_HUB_OFFLINE:
            threading.Thread(target=ask, daemon=True).start()

    def check(self) -> Iterator[Check]:
        """Check the Hub and the token for it."""
        is_mirror = constants.ENDPOINT != _DEFAULT_HUB
        place = f"the mirror {redact_url(constants.ENDPOINT)}" if is_mirror else constants.ENDPOINT
        yield self._reachable(place, is_mirror)
        has_token = get_token() is not None
        text = "set" if has_token else "none, which only private and gated repositories need"
        yield Check(name="token", text=text, facts={"has_token": has_token})

    def _reachable(self, place: str, is_mirror: bool) -> Check:
        facts: dict[str, object] = {"is_mirror": is_mirror, "is_offline": constants.HF_HUB_OFFLINE}
        if constants.HF_HUB_OFFLINE:
            text = "offline mode is on (HF_HUB_OFFLINE): only cached models are used"
            return Check(name="hub", text=text, state=State.NOTE, facts=facts | {"is_reachable": False})
        left = max(0.0, self._started + 2 * PATIENCE - time.monotonic())
        try:
            failure, seconds = self._answers.get(timeout=left)
        except queue.Empty:
            failure, seconds = f"no answer in {2 * PATIENCE:.0f} s", 0
        facts["is_reachable"] = not failure
        kind = "a mirror" if is_mirror else "the Hub"
        if not failure:
            text, public = (f"{name} answers in {seconds:.2f} s" for name in (place, kind))
            return Check(name="hub", text=text, facts=facts, public=public)
        return Check(
            name="hub",
            text=f"{place} cannot be used: {failure}; bundled and cached models work without it",
            state=State.FAIL,
            command=set_variable("HF_ENDPOINT", None)
            if is_mirror
            else set_variable("HF_HUB_OFFLINE", "1"),
            facts=facts,
            public=f"{kind} cannot be used",
        )


def check_ray() -> Iterator[Check]:
    """Check Ray, which computes on several devices and machines."""
    from rgt_cli.jobs.workers.devices import Devices
    from rgt_cli.jobs.workers.session import import_ray

    try:
        import_ray(Devices(address="auto"))
    except UsageError:
        yield Check(
            name="ray",
            text="not installed, only several devices need it",
            state=State.NOTE,
            command='pip install "rgt-cli[cluster]"',
            facts={"version": None, "authentication": None, "has_token": False},
        )
        return
    mode, has_token = os.environ.get("RAY_AUTH_MODE"), _has_ray_token()
    words = [
        version("ray"),
        f"RAY_AUTH_MODE is {mode}" if mode else "RAY_AUTH_MODE is not set",
        "with a token" if has_token else "without a token",
    ]
    yield Check(
        name="ray",
        text=", ".join(words),
        facts={"version": version("ray"), "authentication": mode, "has_token": has_token},
    )


def _has_ray_token() -> bool:
    """Return whether there is a token in one of the places that the documentation of Ray lists."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    place = os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
    with suppress(RuntimeError):  # the user may have no home
        return Path(place).expanduser().is_file()
    return False
