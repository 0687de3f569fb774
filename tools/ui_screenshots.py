"""Pictures of the page for docs/ui.md: every view, light and dark, made from a real browser.

    python tools/ui_screenshots.py docs/images

Needs the extras of the tests and a Chromium on PATH.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kvengine
from kvengine.engine import Engine
from kvengine.ui.serve import Site

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
SIZE = {"width": 1000, "height": 620}
NARROW = {"width": 400, "height": 720}
Show = Callable[[Any, Engine], None]
SHOWN: dict[str, Show] = {}
"""What is shown, by name, in order: each goes on from the one before."""

ORDER = (
    b'{"id":"o-10017","status":"paid","total":{"amount":"118.40","currency":"EUR"},'
    b'"lines":[{"sku":"tea-assam","count":2},{"sku":"kettle","count":1}],"gift":false}'
)


def main() -> None:
    """Make all pictures in the directory named on the command line."""
    target = Path(sys.argv[1]).resolve()
    target.mkdir(parents=True, exist_ok=True)
    # A relative path, so that no picture shows where it was made.
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        with kvengine.open("state", durability="os") as db:
            fill(db)
            with Site("state", write=True) as site:
                site.start()
                for scheme in ("light", "dark"):
                    with browsing(site, scheme, SIZE) as page:
                        for name, show in SHOWN.items():
                            show(page, db)
                            shoot(page, target / f"ui-{name}-{scheme}.png")
                with browsing(site, "light", NARROW) as page:
                    show_object(page, db)
                    shoot(page, target / "ui-narrow-light.png")


def view(show: Show) -> Show:
    """Mark a function that brings a view onto the page."""
    SHOWN[show.__name__.removeprefix("show_")] = show
    return show


def fill(db: Engine) -> None:
    """A small shop: kept objects, workflows that expire, and enough of them to fill levels."""
    for number in range(12_000):
        with db.batch() as batch:
            key = f"o-{10_000 + number}"
            batch.set(
                "Order",
                key,
                "history",
                b"[%s]" % b",".join([b'"created"', *[b'"paid"'] * (number % 7)]),
            )
            batch.set("Order", key, "order", ORDER)
            batch.set("Order", key, "status", b'"paid"')
        if number % 3500 == 3499:
            db.flush()
        if number == 7200:
            db.compact()
    for number in range(340):
        key = f"checkout-{number:04}"
        db.set("Checkout", key, "step", b'"payment"')
        db.set("Checkout", key, "attempts", b"%d" % (number % 4))
        db.expire("Checkout", key, ttl=900 + 60 * number)
    for name in ("alice", "bob", "carol", "dave"):
        db.set("Greeter", name, "name", f'"{name.title()}"'.encode())
        db.set("Greeter", name, "count", b"3")
    db.set("Order", "o-10017", "receipt", bytes(range(64)))
    db.set("Order", "o-10017", "token", b"9f2c-77aa", ttl=5400)
    db.set("Order", "o-10017", "scan", bytes(200_000))


@contextlib.contextmanager
def browsing(site: Site, scheme: str, size: dict[str, int]) -> Iterator[Any]:
    """A page of the site, signed in."""
    from playwright.sync_api import sync_playwright

    binary = next(filter(None, map(shutil.which, CHROMIUM)))
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=arguments)
        page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce")
        page.goto(site.launch_url())
        page.wait_for_selector("main h1")
        yield page
        browser.close()


def shoot(page: Any, path: Path) -> None:
    page.wait_for_timeout(150)
    path.write_bytes(palette_png(page.screenshot(animations="disabled")))
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


def palette_png(data: bytes) -> bytes:
    """The same picture with at most 256 colours: a third of the bytes. Of RGB or RGBA, 8 bits."""
    width, height, pixels = _pixels(data)
    counted = Counter(pixels)
    # Grounds as they are; then one for those that look alike, so that no hue is lost to shades.
    common = [colour for colour, _ in counted.most_common()]
    alike = {tuple(part >> 4 for part in colour): colour for colour in reversed(common)}
    chosen = list(dict.fromkeys([*common[:48], *reversed(alike.values())]))[:256]
    index = {colour: at for at, colour in enumerate(chosen)}
    for colour in counted.keys() - index.keys():
        near = min(
            chosen, key=lambda one: sum((a - b) ** 2 for a, b in zip(one, colour, strict=True))
        )
        index[colour] = index[near]
    rows = (pixels[at : at + width] for at in range(0, len(pixels), width))
    raw = b"".join(b"\0" + bytes(index[colour] for colour in row) for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", b"".join(map(bytes, chosen))))
    parts += ((b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _pixels(data: bytes) -> tuple[int, int, list[tuple[int, int, int]]]:
    """Width, height and colours of a PNG."""
    at, packed, head = 8, b"", b""
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        head = body if kind == b"IHDR" else head
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    width, height, _, colour_type = struct.unpack_from(">IIBB", head)
    size = 4 if colour_type == 6 else 3
    raw, step, above = zlib.decompress(packed), width * size, bytes(width * size)
    found: list[tuple[int, int, int]] = []
    for row in range(height):
        begin = row * (step + 1)
        line = _unfiltered(raw[begin], raw[begin + 1 : begin + 1 + step], above, size)
        found += zip(line[0::size], line[1::size], line[2::size], strict=True)
        above = line
    return width, height, found


def _unfiltered(how: int, line: bytes, above: bytes, size: int) -> bytes:
    """A row of a PNG without its filter."""
    made = bytearray(line)
    for at in range(len(made)) if how else ():
        left = made[at - size] if at >= size else 0
        up = above[at]
        corner = above[at - size] if at >= size else 0
        guess = (0, left, up, (left + up) // 2, _paeth(left, up, corner))[how]
        made[at] = (made[at] + guess) & 255
    return bytes(made)


def _paeth(left: int, up: int, corner: int) -> int:
    return min((left, up, corner), key=lambda one: abs(left + up - corner - one))


@view
def show_services(page: Any, _: Engine) -> None:
    go(page, "#/services", ".list .row-link")


@view
def show_objects(page: Any, _: Engine) -> None:
    go(page, "#/objects/Order?prefix=o-1001", ".list .row-link")
    page.keyboard.press("j")
    page.keyboard.press("j")


@view
def show_object(page: Any, _: Engine) -> None:
    go(page, "#/object/Order/o-10017/order", ".panel .value")


@view
def show_edit(page: Any, _: Engine) -> None:
    page.locator(".panel").get_by_role("button", name="Edit").click()
    page.locator("textarea").fill(page.locator("textarea").input_value().replace("paid", "shipped"))


@view
def show_conflict(page: Any, db: Engine) -> None:
    db.set("Order", "o-10017", "order", ORDER.replace(b'"kettle","count":1', b'"kettle","count":2'))
    page.get_by_role("button", name="Save").click()
    page.wait_for_selector("dialog .pane")


@view
def show_clear(page: Any, db: Engine) -> None:
    page.keyboard.press("Escape")
    if page.locator("textarea").count():
        page.locator(".editor").get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Drop my changes").click()
    db.set("Order", "o-10017", "order", ORDER)
    go(page, "#/objects/Checkout", ".list .row-link")
    page.get_by_role("button", name="Clear service").click()
    page.get_by_label("Type").fill("Check")


@view
def show_storage(page: Any, _: Engine) -> None:
    page.keyboard.press("Escape")
    go(page, "#/storage", ".segment")
    page.locator(".segment").last.click()


def go(page: Any, hash_: str, until: str) -> None:
    page.evaluate("hash => { location.hash = hash }", hash_)
    page.wait_for_selector(until)


if __name__ == "__main__":
    main()
