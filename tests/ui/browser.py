"""A real browser for the tests of the page: Chromium from the system, driven by playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "no browser on PATH for the tests of the page: apt-get install chromium"


def binary() -> str:
    """Where a browser is; the test is skipped, and says what to install, where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(MISSING)
    return found


@contextmanager
def launched() -> Iterator[Any]:
    """A browser."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    path = binary()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@dataclass
class Watch:
    """What a page did that it should not have done."""

    url: str
    troubles: list[str] = field(default_factory=list)

    def watch(self, page: Any) -> None:
        page.on("dialog", self._dialog)
        page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        page.on("request", self._request)
        page.on("console", self._console)
        page.on("popup", lambda popup: self.troubles.append(f"popup: {popup.url}"))

    def _dialog(self, dialog: Any) -> None:
        self.troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith(self.url + "/"):
            self.troubles.append(f"request: {request.url}")

    def _console(self, message: Any) -> None:
        # A refused request is logged by the browser as an error; all else there is trouble.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.troubles.append(f"console: {message.text}")
