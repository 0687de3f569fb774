"""The files of the page: no way from data to markup, nothing from elsewhere, colours to be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from kvengine.ui.security import POLICY
from kvengine.ui.serve import Site
from tests.ui.browser import launched
from tests.ui.site import Client

STATIC = Path(str(resources.files("kvengine.ui"))) / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
STYLES = sorted(STATIC.glob("*.css"))

MARKUP = (
    r"innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|setHTML|DOMParser"
    r"|document\.write|srcdoc|\beval\b|new Function|javascript:|setTimeout\(['\"`]|\.on\w+ ="
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_data_reaches_the_page_as_text_alone(path: Path) -> None:
    """There is no call in the page that makes markup or code of a string."""
    assert re.findall(MARKUP, path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "text",
    ["a.innerHTML = x", "eval(x)", "new Function(x)", "setTimeout('x')", "node.onclick = x"],
)
def test_a_call_that_makes_markup_would_be_seen(text: str) -> None:
    assert re.search(MARKUP, text)


@pytest.mark.parametrize("path", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    """No address but that of this page, and the name of SVG."""
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]|url\(|@import", text) == []


def test_the_page_holds_no_script_and_no_style() -> None:
    """The policy allows none inline; what is named is there."""
    text = (STATIC / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text)
    named = re.findall(r'(?:src|href)="/static/([^"]+)"', text)
    assert named and all((STATIC / name).is_file() for name in named)


def test_every_script_is_used() -> None:
    text = "\n".join(path.read_text("utf-8") for path in [*SCRIPTS, STATIC / "index.html"])
    unused = [path.name for path in SCRIPTS if f"/{path.name}" not in text]
    assert unused == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_stay_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 300


def test_the_policy_allows_the_page_itself_and_nothing_else(client: Client) -> None:
    parts = dict(part.strip().split(" ", 1) for part in POLICY.split(";"))
    assert parts["default-src"] == parts["base-uri"] == parts["form-action"] == "'none'"
    assert parts["frame-ancestors"] == "'none'"
    assert parts["script-src"] == parts["style-src"] == parts["connect-src"] == "'self'"
    for path in ("/", "/static/app.js", "/api/pulse", "/nothing"):
        assert client.get(path).headers["content-security-policy"] == POLICY


def test_data_is_not_kept_by_the_browser(client: Client) -> None:
    for path in ("/api/pulse", "/api/session", "/api/services", "/nothing"):
        assert client.get(path).headers["cache-control"] == "no-store"


# Colours


def colours() -> dict[str, tuple[str, str]]:
    """Each colour's name, light and dark."""
    text = (STATIC / "base.css").read_text("utf-8")
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", text)
    return {name: (light, dark) for name, light, dark in found}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""
    lesser, greater = sorted((luminance(one), luminance(other)))
    return (greater + 0.05) / (lesser + 0.05)


def rules() -> Iterator[tuple[str, str]]:
    for path in STYLES:
        text = re.sub(r"/\*.*?\*/", "", path.read_text("utf-8"), flags=re.S)
        for selector, body in re.findall(r"([^{}]+)\{([^{}]*)\}", text):
            yield selector.strip(), body


def pairs() -> set[tuple[str, str, float]]:
    """Text on ground, with the contrast that it needs: all that meet on the page."""
    grounds = ("page", "surface", "sunken")
    found = {(text, ground, 4.5) for text in ("text", "muted", "accent") for ground in grounds}
    found |= {("text", "accent-soft", 4.5), ("muted", "accent-soft", 4.5)}
    found |= {(text, "surface", 4.5) for text in ("danger", "warn", "good", "violet")}
    found |= {(text, "page", 4.5) for text in ("danger", "warn", "good", "violet")}
    found |= {("warn", ground, 4.5) for ground in ("sunken", "accent-soft")}
    # Edges of what can be used, and blocks of the picture.
    found |= {("edge", ground, 3.0) for ground in grounds}
    found |= {(block, "sunken", 3.0) for block in ("accent", "warn", "violet")}
    found |= {(edge, "surface", 3.0) for edge in ("accent", "danger", "good", "muted")}
    for _, body in rules():
        text = re.search(r"(?:^|[;\s])color: var\(--([\w-]+)\)", body)
        ground = re.search(r"background(?:-color)?: var\(--([\w-]+)\)", body)
        if text and ground:
            found.add((text[1], ground[1], 4.5))
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_that_meet_can_be_told_apart(scheme: str) -> None:
    """WCAG AA: 4.5 for text, 3 for edges and shapes, in both schemes."""
    known = colours()
    at = ["light", "dark"].index(scheme)
    poor = {
        (text, ground): round(found, 2)
        for text, ground, wanted in pairs()
        if (found := contrast(known[text][at], known[ground][at])) < wanted
    }
    assert poor == {}


def test_contrast_is_what_it_is_known_to_be() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_all_colours_stand_in_one_place() -> None:
    """Elsewhere they are named, but for shadows: so the test above sees every pair."""
    for selector, body in rules():
        if selector.startswith(":root"):
            continue
        plain = re.sub(r"(box-shadow|--[\w-]+):[^;]*;|dialog::backdrop", "", body)
        assert not re.search(r"#[0-9a-f]{3,8}\b|rgb|hsl", plain) or "backdrop" in selector, selector


# JSON as text, in the browser that runs it

VALID = [
    "0", "-0", "1.50", "1e400", "9007199254740993", "-1.0E-2", '""', '"\\u00e9\\n\\""', "true",
    "null", "[]", "{}", "[[],{}]", '{"a":1,"a":2}', ' [ 1 , 2 ]\n', '{"a":{"b":[true,null,"x"]}}',
    '"\u2028"', '["\U0001f600"]', "[" * 3000 + "]" * 3000,
]  # fmt: skip
INVALID = [
    "", " ", "01", "1.", ".5", "+1", "1e", "- 1", "--1", "NaN", "Infinity", "nul", "nulll", "True",
    "'a'", '"', '"\n"', '"\\x"', '"\\u12"', "[", "]", "[1", "[1,]", "[,1]", "[1 2]", "{", "}",
    '{"a"}', '{"a":}', '{"a":1,}', "{a:1}", "{1:2}", '{"a" 1}', "[1]]", "1 2", "{}{}", "[}", "{]",
    '{"a":1]', "\u00a01", "1\0", "/**/1", "0x10", "1_000",
]  # fmt: skip

CHECK = """async ([valid, invalid]) => {
  const json = await import('/static/json_text.js');
  const reason = (text) => {
    try {
      json.pretty(text);
      return '';
    } catch (error) {
      return error.message;
    }
  };
  const { packed, pretty } = json;
  const both = (each) => [packed(each), pretty(each), packed(pretty(each))];
  return [valid.map(both), invalid.map(reason)];
}"""


@pytest.fixture(scope="module")
def page(site: Site) -> Iterator[Any]:
    with launched() as browser:
        page = browser.new_page()
        page.goto(site.url)
        yield page
        browser.close()


def tokens(text: str) -> Any:
    """What JSON says, each number as it is written, each member as often as it comes."""
    return json.loads(text, parse_int=str, parse_float=str, object_pairs_hook=list)


def test_json_is_laid_out_and_packed_without_changing_what_it_says(page: Any) -> None:
    """Numbers keep their digits, members come as often as they did."""
    shown, reasons = page.evaluate(CHECK, [VALID, INVALID])
    for text, (packed, pretty, again) in zip(VALID, shown, strict=True):
        assert packed == again
        if not text.startswith("[[["):
            assert tokens(packed) == tokens(pretty) == tokens(text)
    for text, reason in zip(INVALID, reasons, strict=True):
        assert reason.startswith("Line ") and reason.endswith("."), text


DIFF = """async ([before, after]) => {
  const { diff } = await import('/static/diff.js');
  return diff(before, after).map((each) => [each.mark, each.text]);
}"""


@pytest.mark.parametrize(
    ("before", "after"),
    [("a\nb\nc", "a\nc"), ("a", "b"), ("", "x\ny"), ("1\n2\n3\n4", "2\n3\n9\n4\n5"), ("x", "x")],
)
def test_a_comparison_gives_both_texts_back(page: Any, before: str, after: str) -> None:
    lines = page.evaluate(DIFF, [before, after])
    assert "\n".join(text for mark, text in lines if mark != "+") == before
    assert "\n".join(text for mark, text in lines if mark != "-") == after
    kept = sum(mark == " " for mark, _ in lines)
    assert kept == len(set(before.split("\n")) & set(after.split("\n")))
