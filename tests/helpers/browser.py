"""A real Chromium without a window, driven as a person would: with a mouse, keys and fingers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

Value = TypeVar("Value")
_DRIVER, _PROGRAM = shutil.which("chromedriver"), shutil.which("chromium")
NEEDS_CHROMIUM = pytest.mark.skipif(
    _DRIVER is None or _PROGRAM is None, reason="chromium and chromedriver are not installed"
)
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class Browser:
    """An open browser with one page."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, path: Path, size: tuple[int, int] = (1280, 900), *, ready: str) -> None:
        """Open a file as a person does, and wait until a condition in JavaScript holds."""
        self.emulate("Emulation.clearDeviceMetricsOverride")
        self.emulate("Emulation.setEmulatedMedia", features=[])
        self.driver.set_window_size(*size)
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(path.absolute().as_uri())
        self.wait(ready)

    def emulate(self, command: str, **values: Any) -> Any:
        """Send a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, values)

    def js(self, code: str, *arguments: Any) -> Any:
        """Return the value of an expression in the page."""
        return self.driver.execute_script(f"return ({code});", *arguments)

    def wait(self, code: str, *arguments: Any) -> Any:
        """Wait until an expression in the page is true, and return its value."""
        return WebDriverWait(self.driver, 20, 0.02).until(lambda _: self.js(code, *arguments))

    def eventually(self, read: Callable[[], Value], expected: Callable[[Value], object]) -> Value:
        """Wait until a value is as expected, and return it."""
        WebDriverWait(self.driver, 10, 0.02).until(lambda _: expected(read()))
        return read()

    def find(self, selector: str) -> WebElement:
        """Return the first element that matches."""
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[WebElement]:
        """Return all elements that match."""
        return self.driver.find_elements("css selector", selector)

    @property
    def act(self) -> ActionChains:
        """What moves the mouse and presses keys."""
        return ActionChains(self.driver, duration=20)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.act.send_keys(key).perform()

    def touch(self, *moves: list[tuple[float, float]]) -> None:
        """Put fingers on the page, move all of them, and lift them.

        Args:
            moves: The places of all fingers, in pixels of the page: at first, and after each move.
        """
        for number, fingers in enumerate(moves):
            kind = "touchMove" if number else "touchStart"
            points = [{"x": x, "y": y, "id": at} for at, (x, y) in enumerate(fingers)]
            self.emulate("Input.dispatchTouchEvent", type=kind, touchPoints=points)
        self.emulate("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def requests(self) -> list[str]:
        """Return the address of everything that was requested since the page was opened."""
        messages = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def errors(self) -> list[str]:
        """Return what the console of the browser reports."""
        return [entry["message"] for entry in self._log("browser")]

    def _log(self, name: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log(name)
        return entries


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Start a browser with an empty profile in a folder, and end it."""
    options = ChromeOptions()
    options.binary_location = str(_PROGRAM)
    for flag in (*_FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, Service(str(_DRIVER)))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
