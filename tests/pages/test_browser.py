"""Pages in a real browser: what a mouse, keys and fingers do; nothing is loaded from elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import partial
from operator import eq
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from rgt_cli.media import Picture, encode_png
from rgt_cli.pages.comparison import Comparison, Scene, View, write_page
from rgt_cli.pages.report import write_report
from rgt_cli.pages.thumbnails import Pair, ShownImage
from rgt_cli.size import Dimensions
from tests.helpers.browser import NEEDS_CHROMIUM, Browser, open_browser

pytestmark = NEEDS_CHROMIUM
READY = "document.readyState === 'complete' && document.querySelector('output').textContent"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of a process."""
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def view(name: str, image: np.ndarray, **facts: float) -> View:
    """Return a view of an image."""
    size = Dimensions(image.shape[1], image.shape[0])
    psnr, ssim = facts.get("psnr"), facts.get("ssim")
    return View(
        name=name, png=encode_png(Picture(image)), size=size, shows_pixels=name == "small",
        is_secondary=name == "small", seconds=facts.get("seconds"), psnr=psnr, ssim=ssim,
    )  # fmt: skip


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two scenes with four views each: a small image, and large ones of one color."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (200, 300, 3), np.uint8)
    large = small.repeat(4, 0).repeat(4, 1)
    red, green = (np.full_like(large, (color * 200)) for color in np.eye(3, dtype=np.uint8)[:2])
    views = (
        view("small", small), view("photo", large, psnr=20.5, ssim=0.5),
        view("red", red, seconds=1.25, psnr=30.5, ssim=0.75), view("green", green, seconds=130),
    )  # fmt: skip
    scenes = tuple(
        Scene(title=title, size=Dimensions(1200, 800), views=views, left=2, right=3)
        for title in ("0:00:01", "0:01:30")
    )
    path = tmp_path_factory.mktemp("page") / "a page.html"
    write_page(Comparison(title="photo.png", subtitle="", scenes=scenes), path, standalone=False)
    return path


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Browser]:
    """The browser with the page of a comparison."""
    browser.open(page, ready=READY)
    yield browser
    assert_offline(browser, page)


def assert_offline(browser: Browser, page: Path) -> None:
    """Assert that a page has loaded files of its folder only, and that no error was reported."""
    assert browser.errors() == []
    requests = browser.requests()
    assert requests
    assert all(url.startswith(page.parent.as_uri()) for url in requests), requests


class Place(NamedTuple):
    """What a pane shows."""

    left: float
    """CSS pixels from the left edge of the pane to that of its image."""
    top: float
    scale: float
    """CSS pixels for each pixel of the image."""


def places(browser: Browser, selector: str) -> list[Place]:
    """Return what the panes that match show, if they are drawn."""
    code = f"[...document.querySelectorAll('{selector} img')].map((image) => image.style.transform)"
    found = [re.findall(r"-?[\d.]+(?:e-\d+)?", transform) for transform in browser.js(code)]
    return [Place(*map(float, numbers)) for numbers in found if numbers]


def split(browser: Browser) -> int:
    """Return the value of the slider, which must be where it is seen."""
    value, seen = browser.js("""(() => {
        const [stage, divider] = [".stage", ".divider"].map((name) => document.querySelector(name));
        const [outer, inner] = [stage.getBoundingClientRect(), divider.getBoundingClientRect()];
        const seen = (inner.left + inner.width / 2 - outer.left) / outer.width;
        return [Number(divider.getAttribute("aria-valuenow")), 100 * seen];
    })()""")
    assert value == pytest.approx(seen, abs=0.51)
    return int(value)


def color_at(browser: Browser, share: float) -> str:
    """Return the color that the stage shows at a share of its width."""
    with Image.open(io.BytesIO(browser.find(".stage").screenshot_as_png)) as opened:
        image = opened.convert("RGB")
        red, green, blue = image.getpixel((int(share * (image.width - 1)), image.height * 3 // 7))  # type: ignore[misc]
    assert blue < 50
    return "red" if red > green else "green"


def test_the_mouse_moves_the_slider(opened: Browser) -> None:
    assert split(opened) == 50
    stage, divider = opened.find(".stage"), opened.find(".divider")
    width = stage.rect["width"]
    opened.act.drag_and_drop_by_offset(divider, round(width / 4), 40).perform()
    assert opened.eventually(lambda: split(opened), lambda value: value == 75)
    assert [color_at(opened, share) for share in (0.3, 0.72, 0.78)] == ["red", "red", "green"]
    opened.act.move_to_element_with_offset(stage, -round(width / 4), 30).click().perform()
    assert opened.eventually(lambda: split(opened), lambda value: value == 25)
    opened.act.click_and_hold().move_by_offset(round(width / 10), 0).release().perform()
    assert opened.eventually(lambda: split(opened), lambda value: value == 35)
    assert places(opened, ".stage")[0] == places(opened, ".stage")[1]


def test_keys_move_the_slider(opened: Browser) -> None:
    opened.js("document.querySelector('.divider').focus()")
    for key, expected in (
        (Keys.ARROW_RIGHT, 51), (Keys.ARROW_UP, 52), (Keys.ARROW_LEFT, 51), (Keys.PAGE_UP, 61),
        (Keys.END, 100), (Keys.PAGE_DOWN, 90), (Keys.HOME, 0), (Keys.ARROW_DOWN, 0),
    ):  # fmt: skip
        opened.press(key)
        opened.eventually(partial(split, opened), partial(eq, expected))
    text = opened.find(".divider").get_attribute("aria-valuetext")
    assert text == "0 % red, 100 % green"
    opened.act.key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).perform()
    assert opened.eventually(lambda: split(opened), lambda value: value == 10)


def test_fingers_move_the_slider_zoom_and_pan(opened: Browser) -> None:
    stage = opened.find(".stage").rect
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    opened.touch([(x, y)], [(x + 20, y)], [(x + stage["width"] / 4, y)])
    opened.eventually(lambda: split(opened), lambda value: value == 75)
    opened.touch([(x - 100, y)], [(x - 120, y)], [(x - stage["width"] / 4, y)])  # beside the divider
    opened.eventually(lambda: split(opened), lambda value: value == 25)
    before = places(opened, ".stage")[0]
    opened.touch([(x - 50, y), (x + 50, y)], [(x - 100, y), (x + 100, y)], [(x - 200, y), (x + 200, y)])
    ours = opened.eventually(
        lambda: places(opened, ".stage"), lambda now: now[0].scale > 3.9 * before.scale
    )
    assert ours[0] == ours[1]
    opened.touch([(x + 90, y)], [(x + 60, y + 10)], [(x + 30, y + 20)])
    moved = opened.eventually(lambda: places(opened, ".stage"), lambda now: now != ours)
    assert moved[0].left - ours[0].left == pytest.approx(-60, abs=1)
    assert moved[0].top - ours[0].top == pytest.approx(20, abs=1)
    assert moved[0] == moved[1]
    assert split(opened) == 25


def test_zoom_and_pan_stay_in_step(opened: Browser) -> None:
    stage = opened.find(".stage")
    fit = places(opened, ".stage")[0]
    assert 1200 * fit.scale <= stage.rect["width"]
    opened.press("8")
    opened.eventually(lambda: places(opened, ".stage")[0].scale, lambda scale: scale == 8)
    opened.press("+")
    opened.act.drag_and_drop_by_offset(stage, -200, -100).perform()  # the middle, beside the handle
    opened.js("document.querySelector('.stage').focus()")
    opened.press(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    opened.js("document.querySelector('[data-zoom=\"4\"]').click()")
    one, other = opened.eventually(lambda: places(opened, ".stage"), lambda now: now[0].scale == 4)
    assert one == other
    middle = (stage.rect["width"] / 2 - one.left) / 4, (stage.rect["height"] / 2 - one.top) / 4
    assert opened.find("output").text == "400 %"
    opened.press("g")
    tiles = opened.eventually(lambda: places(opened, ".grid"), lambda now: len(now) == 3)
    assert len(set(tiles)) == 1
    box = opened.find(".tile .pane").rect
    shown = (box["width"] / 2 - tiles[0].left) / 4, (box["height"] / 2 - tiles[0].top) / 4
    assert shown == pytest.approx(middle, abs=0.5)
    opened.act.drag_and_drop_by_offset(opened.all(".tile .pane")[1], 60, 30).perform()
    moved = opened.eventually(lambda: places(opened, ".grid"), lambda now: now[0] != tiles[0])
    assert len(set(moved)) == 1
    assert moved[0].left - tiles[0].left == pytest.approx(60, abs=1)
    opened.js("document.querySelector('.grid').focus()")
    opened.press(Keys.ARROW_RIGHT, "0")
    fitting = opened.eventually(lambda: places(opened, ".grid"), lambda now: now[0].scale < 1)
    assert len(set(fitting)) == 1


def test_the_wheel_zooms_where_the_mouse_is(opened: Browser) -> None:
    stage = opened.find(".stage").rect
    before = places(opened, ".stage")[0]
    x, y = round(stage["x"] + stage["width"] / 2 + 150), round(stage["y"] + stage["height"] / 2 - 60)
    for delta in (-400, -400):
        opened.emulate("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=delta)
    after = opened.eventually(
        lambda: places(opened, ".stage")[0], lambda now: now.scale > 4 * before.scale
    )
    inside = x - stage["x"], y - stage["y"]

    def under(place: Place) -> tuple[float, float]:
        return (inside[0] - place.left) / place.scale, (inside[1] - place.top) / place.scale

    assert under(after) == pytest.approx(under(before), abs=2)
    assert opened.js("scrollY") == 0


def test_keys_and_lists_choose_images_and_frames(opened: Browser) -> None:
    def names() -> list[str]:
        return [each.get_attribute("alt") or "" for each in opened.all(".stage img")]

    assert names() == ["red", "green"]
    opened.press("s")
    assert names() == ["green", "red"]
    opened.press("]", "]")
    assert names() == ["green", "small"]
    shown = "getComputedStyle(document.querySelector('.pane.right img')).imageRendering"
    opened.wait(f"{shown} === 'pixelated'")
    assert "1:05" not in opened.find(".caption.left").text
    assert "2:10" in opened.find(".caption.left").text
    opened.press("[")
    assert names() == ["green", "green"]
    opened.find("select.left").send_keys("photo")
    assert names() == ["photo", "green"]
    assert "20.50 dB" in opened.find(".caption.left").text
    rows = [row.text for row in opened.all(".facts tbody tr")]
    assert rows == ["photo 20.50 0.5000", "red 1.25 s 30.50 0.7500", "green 2:10"]
    assert [best.text for best in opened.all(".facts strong")] == ["30.50", "0.7500"]
    opened.find("body").click()
    opened.press("n")
    assert opened.find(".scenes select").get_attribute("value") == "1"
    assert "0:01:30" in opened.find(".facts caption").text
    opened.press("p", "?")
    assert opened.js("document.querySelector('dialog').open")
    opened.press("g")
    assert not opened.find(".grid").is_displayed(), "keys belong to the dialog"
    opened.find("dialog button").click()
    opened.press("g")
    assert [each.text for each in opened.all(".tile b")] == ["photo", "red", "green"]
    opened.find(".chosen button").click()
    assert [each.text for each in opened.all(".tile b")] == ["small", "photo", "red", "green"]


def test_colors_follow_the_system_until_the_button_is_used(opened: Browser) -> None:
    def is_dark() -> bool:
        color = opened.find("body").value_of_css_property("background-color")
        return int(re.findall(r"\d+", color)[0]) < 128

    for scheme in ("light", "dark"):
        opened.emulate(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        opened.eventually(is_dark, partial(eq, scheme == "dark"))
    opened.find("#theme").click()
    opened.eventually(is_dark, partial(eq, False))
    opened.driver.refresh()
    opened.wait(READY)
    opened.eventually(is_dark, partial(eq, False))
    opened.js("localStorage.clear()")


def test_a_standalone_page_is_a_single_file(browser: Browser, page: Path, tmp_path: Path) -> None:
    image = np.full((20, 30, 3), (200, 0, 0), np.uint8)
    views = view("one", image), view("other", image)
    scene = Scene(title="", size=Dimensions(30, 20), views=views, left=0, right=1)
    path = tmp_path / "one.html"
    write_page(Comparison(title="", subtitle="", scenes=(scene,)), path, standalone=True)
    browser.open(path, ready=READY)
    browser.wait("[...document.querySelectorAll('.stage img')].every((image) => image.naturalWidth)")
    assert color_at(browser, 0.48) == "red"
    assert browser.find("[data-zoom=fit]").get_attribute("aria-pressed") == "true"
    browser.press("1")
    browser.eventually(lambda: places(browser, ".stage")[0].scale, partial(eq, 1))
    assert [url for url in browser.requests() if not url.startswith("data:")] == [path.as_uri()]
    assert browser.errors() == []


def test_controls_have_names_and_a_narrow_screen_is_enough(opened: Browser) -> None:
    opened.emulate(
        "Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=2, mobile=True
    )
    opened.wait("innerWidth === 400")
    assert opened.js("document.documentElement.scrollWidth") == 400
    tree = opened.emulate("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "combobox", "slider", "image", "img", "status", "region"}
    named = [(n["role"]["value"], n["name"]["value"]) for n in tree
             if not n["ignored"] and n["role"]["value"] in roles]  # fmt: skip
    assert ("slider", "Divider between left and right") in named
    assert {role for role, name in named if not name} == set()
    opened.press("1")
    scale = opened.eventually(lambda: places(opened, ".stage")[0].scale, lambda now: now == 0.5)
    assert scale == 0.5, "a pixel of the screen for each pixel of the image"


FILES = 10_000


def outcome(number: int) -> dict[str, Any]:
    """Return the outcome of a file as a report lists it: some failed or have warnings."""
    has_failed, source = number % 1000 == 7, f"in/photo {number}.png"
    return {
        "source": source, "target": f"out/photo {number}_x2.png", "frames": 1,
        "source_size": (30, 20), "target_size": None if has_failed else (60, 40 + number % 3),
        "seconds": 0.0 if has_failed else 1 + (number * 37) % FILES / 100, "model": "rgt-tiny-x2",
        "worker": f"host {number % 2}", "error": f"{source}: <b>damaged</b>" if has_failed else None,
        "warnings": [f"{source}: the EXIF is damaged"] if number % 100 == 50 else [],
    }  # fmt: skip


@pytest.fixture(scope="session")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run over thousands of files, with images of each that did not fail."""
    folder = tmp_path_factory.mktemp("report")
    for name, side in (("before.png", 1), ("after.png", 2)):
        Image.new("RGB", (30 * side, 20 * side), "teal").save(folder / name)
    images = Pair(ShownImage("before.png", "before.png"), ShownImage("after.png", "after.png"))
    files = [outcome(number) for number in range(FILES)]
    report = {
        "done": FILES - 10, "failed": 10, "skipped": 1, "ignored": {}, "seconds": 3725.4,
        "device_busy": 0.9, "files": files,
        "skipped_files": [
            {"source": f"{folder}/before.png", "target": f"{folder}/after.png", "reason": "up to date"}
        ],
    }  # fmt: skip
    path = folder / "run.html"
    pairs = {at: images for at, facts in enumerate(files) if not facts["error"]}
    write_report(path, report, pairs)
    return path


@pytest.fixture
def report(browser: Browser, report_page: Path) -> Iterator[Browser]:
    """The browser with the page of a report."""
    browser.open(report_page, ready="document.querySelectorAll('.row').length > 0")
    yield browser
    assert_offline(browser, report_page)


def visible_names(browser: Browser) -> list[str]:
    """Return the names of the files whose rows are in the window, from top to bottom."""
    code = """[...document.querySelectorAll('.row')].filter((row) => {
        const box = row.getBoundingClientRect(); return box.bottom > 0 && box.top < innerHeight;
    }).map((row) => row.querySelector('.file a').textContent)"""
    names: list[str] = browser.js(code)
    return names


def test_a_report_lays_out_only_the_rows_in_the_window(report: Browser) -> None:
    def rows() -> int:
        return int(report.js("document.querySelectorAll('.row').length"))

    assert 5 < rows() < 40
    assert report.find(".table").get_attribute("aria-rowcount") == "10002"
    assert visible_names(report)[:2] == ["in/photo 7.png", "in/photo 1007.png"], "failures come first"
    assert "<b>damaged</b>" in report.find(".row .notes").text
    for share in (0.25, 0.5, 1):
        report.js(f"scrollTo(0, {share} * document.documentElement.scrollHeight)")
        report.eventually(lambda: len(visible_names(report)), lambda count: count >= 5)
        assert rows() < 60
    assert visible_names(report)[-1].endswith("/before.png")
    assert report.find(".row:last-child").get_attribute("aria-rowindex") == "10002"
    boxes = report.js("[...document.querySelectorAll('.row')].map((r) => r.getBoundingClientRect().top)")
    assert set(np.diff(boxes)) == {92}


def test_a_report_sorts_and_filters(report: Browser) -> None:
    report.find(".head .seconds button").click()
    slowest = sorted((outcome(n) for n in range(FILES)), key=lambda facts: -facts["seconds"])
    assert visible_names(report)[:3] == [facts["source"] for facts in slowest[:3]]
    assert report.find(".head .seconds").get_attribute("aria-sort") == "descending"
    report.find(".head .file button").click()
    assert visible_names(report)[1:4] == [f"in/photo {number}.png" for number in range(3)]
    report.press(Keys.SPACE)  # the button has kept the focus
    assert visible_names(report)[0] == "in/photo 9999.png"
    report.find("select.status").send_keys("With")
    assert report.find(".count").text == "100 of 10,001"
    assert visible_names(report)[0] == "in/photo 9950.png"
    report.find(".find").send_keys("photo EXIF 995")
    assert visible_names(report) == ["in/photo 9950.png"]
    report.find(".find").send_keys("nowhere")
    assert report.find(".empty").is_displayed()
    totals = dict(zip(*(
        [each.text for each in report.all(f".totals {tag}")] for tag in ("dt", "dd")), strict=True
    ))  # fmt: skip
    assert totals["Upscaled"] == "9,990"
    assert totals["Duration"] == "1:02:05"


def test_a_report_links_to_a_slider(report: Browser) -> None:
    report.js("scrollTo(0, 3000)")
    report.eventually(lambda: visible_names(report), lambda names: "in/photo 2250.png" in names)
    link = next(each for each in report.all(".row .file a") if each.text == "in/photo 2250.png")
    link.click()
    tiles = report.eventually(lambda: places(report, ".stage"), lambda now: len(now) == 2)
    assert tiles[0] == tiles[1]
    assert not report.find(".report").is_displayed()
    assert [each.get_attribute("alt") for each in report.all(".stage img")] == ["before", "after"]
    assert "the EXIF is damaged" in report.find(".detail dl").text
    report.press("]", "4")
    report.eventually(lambda: places(report, ".stage")[0].scale, lambda scale: scale == 4)
    report.driver.back()
    assert report.eventually(lambda: report.js("scrollY"), lambda top: top == 3000)
    assert "in/photo 2250.png" in visible_names(report)
    report.js("location.hash = '#file-8'")
    report.eventually(lambda: report.find(".detail").text, lambda text: "<b>damaged</b>" in text)
    assert not report.find(".viewer").is_displayed()
    report.js("location.hash = '#file-10001'")  # skipped, of a size that only its file reveals
    report.eventually(lambda: report.find(".stage").is_displayed(), bool)
    assert "60 x 42" not in report.find(".caption.right").text
    assert "60 x 40" in report.find(".caption.right").text


def test_a_report_fits_a_narrow_screen(report: Browser) -> None:
    report.emulate(
        "Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=2, mobile=True
    )
    report.wait("innerWidth === 400")
    assert report.js("document.documentElement.scrollWidth") == 400
    report.touch([(200, 700)], [(200, 500)], [(200, 100)])
    report.eventually(lambda: report.js("scrollY"), lambda top: top > 300)
    report.eventually(lambda: len(visible_names(report)), lambda count: count >= 5)
