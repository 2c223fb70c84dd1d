"""A headless Chromium that is watched: what it asks for, and what it complains of."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

PATIENCE_MS = 20_000
"""How long to wait for what must come: machines that test are busy."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the machine's own Chromium, or skip where there is none."""
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched(NamedTuple):
    """A page, the addresses it asked for, and what it complained of."""

    page: Page
    asked: list[str]
    complaints: list[str]


@contextmanager
def watched(browser: Browser, width: int = 1440, height: int = 900) -> Iterator[Watched]:
    """Give an empty page; afterwards it must have asked for files alone and complained of nothing.

    Movement is instant, as for readers who ask for less of it.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height}, reduced_motion="reduce"
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    seen = Watched(page, [], [])
    page.on("request", lambda request: seen.asked.append(request.url))
    page.on("console", lambda message: seen.complaints.append(message.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    yield seen
    context.close()
    outside = [url for url in seen.asked if not url.startswith(("file:", "data:", "blob:"))]
    assert outside == []
    assert seen.complaints == []


def pixels(page: Page, selector: str = "#slide") -> np.ndarray:
    """Return what is seen of an element, (H, W, 3) uint8."""
    shot = page.locator(selector).screenshot()
    with Image.open(io.BytesIO(shot)) as picture:
        return np.asarray(picture.convert("RGB"))
