"""The page in a real browser: the whole path of a person, with the mouse and with the keyboard."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kvengine
from kvengine.ui import api_objects
from kvengine.ui.serve import Site
from tests.ui.browser import Watch, launched

ORDER = b'{"id":9007199254740993,"status":"paid","total":1.50}'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture
def filled(db: kvengine.Engine) -> kvengine.Engine:
    for service in db.services():
        db.clear_service(service)
    with db.batch() as batch:
        for number in range(250):
            batch.set("Order", f"o-{number:04}", "status", b'"paid"')
        batch.set("Order", "o-0017", "order", ORDER)
        batch.set("Order", "o-0017", "raw", b"\x00\xff")
        batch.set("Order", "o-0017", "note", b"plain text")
        batch.set("Greeter", "alice", "count", b"1")
    return db


Open = Callable[..., Any]


@pytest.fixture
def visit(browser: Any, site: Site, filled: kvengine.Engine) -> Iterator[Open]:
    """Come with a launch code and go to an address; at the end nothing bad may have happened."""
    made: list[Any] = []
    watch = Watch(site.url)

    def go(hash_: str = "#/services", **options: Any) -> Any:
        context = browser.new_context(reduced_motion="reduce", **options)
        context.set_default_timeout(10_000)
        made.append(context)
        page = context.new_page()
        watch.watch(page)
        page.goto(site.launch_url())
        page.wait_for_selector("main h1")
        if hash_ != "#/services":
            move(page, hash_)
        return page

    yield go
    for context in made:
        context.close()
    assert watch.troubles == []


def move(page: Any, hash_: str) -> None:
    page.evaluate("hash => { location.hash = hash }", hash_)
    page.wait_for_function(
        "hash => document.querySelector('main .view')?.dataset.at === hash", arg=hash_
    )


def button(page: Any, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def area(page: Any) -> Any:
    """Where a value is typed."""
    return page.get_by_label("Value", exact=True)


def said(page: Any, text: str) -> None:
    """Wait for a toast, and close it, so that it does not stand for the next one."""
    page.locator(".toast", has_text=text).get_by_label("Close this message").click()


def entry(page: Any, name: str) -> Any:
    return page.locator(".entry > .row-link").filter(has=page.get_by_text(name, exact=True))


def test_the_whole_path(visit: Open, filled: kvengine.Engine) -> None:
    """From the launch code through search, edit, conflict, add, clear and expire to the end."""
    page = visit()
    for step in (search, edit, meet_another, add_and_clear_an_entry, expire, clear):
        step(page, filled)
    assert filled.services() == ["Greeter"]


def search(page: Any, _: kvengine.Engine) -> None:
    assert "launch" not in page.url
    page.get_by_role("link", name="Order").click()
    page.get_by_role("heading", name="Order").wait_for()
    page.get_by_role("searchbox").fill("o-001")
    page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 10")
    assert page.locator(".summary").inner_text() == "10 objects"
    assert page.url.endswith("#/objects/Order?prefix=o-001")
    page.get_by_role("link", name="o-0017").click()


def edit(page: Any, filled: kvengine.Engine) -> None:
    """The number past 53 bits and the zero of 1.50 stay what they are."""
    entry(page, "order").click()
    assert "9007199254740993" in page.locator(".value").inner_text()
    button(page, "Edit").click()
    typing = area(page)
    typing.fill(typing.input_value().replace('"paid"', '"sent"'))
    button(page, "Save").click()
    said(page, "Saved")
    assert filled.get("Order", "o-0017", "order") == ORDER.replace(b"paid", b"sent")


def meet_another(page: Any, filled: kvengine.Engine) -> None:
    """A second writer comes in between."""
    typing = area(page)
    button(page, "Edit").click()
    typing.fill(typing.input_value().replace('"sent"', '"mine"'))
    filled.set("Order", "o-0017", "order", b'{"id":1,"status":"theirs"}')
    button(page, "Save").click()
    dialog = page.get_by_role("dialog")
    dialog.locator(".pane").first.wait_for()
    panes = {
        each.locator("h4").inner_text(): each.locator("pre").inner_text()
        for each in dialog.locator(".pane").all()
    }
    assert '"sent"' in panes["When you began"]
    assert '-   "status": "sent"' in panes["Theirs, now"]
    assert '+   "status": "theirs"' in panes["Theirs, now"]
    assert '+   "status": "mine"' in panes["Yours"]
    button(dialog, "Redo on top").click()
    said(page, "Saved")
    assert filled.get("Order", "o-0017", "order") == ORDER.replace(b"paid", b"mine")


def add_and_clear_an_entry(page: Any, filled: kvengine.Engine) -> None:
    dialog = page.get_by_role("dialog")
    button(page, "Add entry…").click()
    dialog.get_by_label("State key").fill("added")
    area(dialog).fill('[1, 2, {"a": null}]')
    button(dialog, "Save").click()
    said(page, "Entry added")
    assert filled.get("Order", "o-0017", "added") == b'[1,2,{"a":null}]'
    button(page, "Clear entry…").click()
    button(page, "Clear entry").click()
    said(page, "Entry cleared")
    assert filled.get("Order", "o-0017", "added") is None


def expire(page: Any, filled: kvengine.Engine) -> None:
    """Later, never, now."""
    dialog = page.get_by_role("dialog")
    button(page, "Expiry…").click()
    dialog.get_by_label("How long").fill("2")
    button(dialog, "Set expiry").click()
    page.get_by_text("expires in 1 h").wait_for()
    assert filled.expires_at("Order", "o-0017") is not None
    button(page, "Expiry…").click()
    dialog.get_by_label("Never").check()
    button(dialog, "Set expiry").click()
    page.get_by_text("never expires").wait_for()
    button(page, "Expiry…").click()
    dialog.get_by_label("Now: it reads as absent at once").check()
    button(dialog, "Set expiry").click()
    page.get_by_text("There is no such object now.").wait_for()
    assert filled.load("Order", "o-0017") is None


def clear(page: Any, filled: kvengine.Engine) -> None:
    """An object, then the service, its name typed."""
    move(page, "#/object/Order/o-0018")
    button(page, "Clear object…").click()
    button(page, "Clear object").click()
    page.get_by_text("There is no such object now.").wait_for()
    assert filled.load("Order", "o-0018") is None
    dialog = page.get_by_role("dialog")
    move(page, "#/objects/Order")
    button(page, "Clear service…").click()
    typed = page.get_by_label("Type Order to go on")
    typed.fill("order")
    assert button(dialog, "Clear service").is_disabled()
    typed.fill("Order")
    button(dialog, "Clear service").click()
    said(page, "Service cleared")


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [("Reload", b'"theirs"'), ("Redo on top", b'"mine"'), ("Force", b'"mine"')],
)
def test_a_conflict_is_the_persons_to_decide(
    visit: Open, filled: kvengine.Engine, choice: str, wanted: bytes
) -> None:
    page = visit("#/object/Order/o-0001/status")
    button(page, "Edit").click()
    area(page).fill('"mine"')
    filled.set("Order", "o-0001", "status", b'"theirs"')
    filled.set("Order", "o-0001", "other", b"1")
    button(page, "Save").click()
    dialog = page.get_by_role("dialog")
    assert "They also changed 1 other entry: other" in dialog.inner_text()
    button(dialog, choice).click()
    dialog.wait_for(state="detached")
    page.wait_for_function("() => !document.querySelector('textarea')")
    assert page.locator(".value").inner_text() == wanted.decode()
    assert filled.get("Order", "o-0001", "status") == wanted
    assert filled.get("Order", "o-0001", "other") == b"1"


def test_a_conflict_that_is_left_alone_keeps_what_was_typed(
    visit: Open, filled: kvengine.Engine
) -> None:
    page = visit("#/object/Order/o-0001/status")
    button(page, "Edit").click()
    area(page).fill('"mine"')
    filled.clear_all("Order", "o-0001")
    button(page, "Save").click()
    page.get_by_text("The object is gone").wait_for()
    page.keyboard.press("Escape")
    assert area(page).input_value() == '"mine"'
    assert filled.load("Order", "o-0001") is None


def test_everything_can_be_done_with_the_keyboard(visit: Open, filled: kvengine.Engine) -> None:
    page = visit()
    press = page.keyboard.press
    for key in ("j", "j", "k", "j"):
        press(key)
    press("Enter")
    page.wait_for_url("**/#/objects/Order")
    page.get_by_role("heading", name="Order").wait_for()
    press("/")
    page.keyboard.type("o-000")
    page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 10")
    press("ArrowDown")
    press("ArrowDown")
    press("Enter")
    page.wait_for_url("**/#/object/Order/o-0001")
    page.locator(".entry").first.wait_for()
    press("j")
    press("Enter")
    page.locator(".value").wait_for()
    press("e")
    press("Control+A")
    page.keyboard.type('"typed"')
    press("Control+Enter")
    said(page, "Saved")
    assert filled.get("Order", "o-0001", "status") == b'"typed"'
    press("Escape")
    assert page.locator(".panel").count() == 0
    press("Escape")
    page.wait_for_url("**/#/objects/Order")
    press("?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    press("Escape")
    press("2")
    page.wait_for_url("**/#/storage")
    press("1")
    page.wait_for_url("**/#/services")


def test_an_object_is_added(visit: Open, filled: kvengine.Engine) -> None:
    page = visit()
    page.keyboard.press("a")
    dialog = page.get_by_role("dialog")
    for label, text in (("Service", "New"), ("Key", "ключ"), ("State key", "")):
        dialog.get_by_label(label, exact=True).fill(text)
    typing = area(dialog)
    typing.fill("{1}")
    assert "Line 1, column 2: a name in double quotes is due." in dialog.inner_text()
    assert button(dialog, "Save").is_disabled()
    button(dialog, "Hex").click(force=True)
    typing.fill("true")
    dialog.get_by_label("This entry expires").select_option("after")
    button(dialog, "Save").click()
    page.get_by_role("heading", name="ключ").wait_for()
    assert filled.get("New", "ключ", "") == b"true"
    found = filled.load("New", "ключ")
    assert found is not None and found.expiries is not None
    assert page.locator(".entry .unseen").inner_text() == "empty"


def test_values_are_seen_and_typed_in_three_ways(visit: Open, filled: kvengine.Engine) -> None:
    page = visit("#/object/Order/o-0017/raw")
    value = page.locator(".value")
    assert value.inner_text().startswith("000000  00 ff ")
    button(page, "Edit").click()
    typing = area(page)
    assert typing.input_value() == "00 ff"
    typing.fill("68 69 0")
    assert "one is missing" in page.locator(".editor").inner_text()
    typing.fill("68 6g")
    assert "no hexadecimal digit" in page.locator(".editor").inner_text()
    typing.fill("68 69")
    button(page, "Text").click()
    assert typing.input_value() == "hi"
    button(page, "Save").click()
    said(page, "Saved")
    assert filled.get("Order", "o-0017", "raw") == b"hi"


def test_what_a_textarea_cannot_hold_is_typed_in_hexadecimal(
    visit: Open, filled: kvengine.Engine
) -> None:
    """Browsers turn line ends into one kind: such text is not edited as text, and stays whole."""
    filled.set("Order", "o-0017", "note", b"a\r\nb\rc\n")
    page = visit("#/object/Order/o-0017/note")
    button(page, "Edit").click()
    assert area(page).input_value() == "61 0d 0a 62 0d 63 0a"
    assert button(page, "Text").is_disabled()
    area(page).fill("61 0d 0a")
    button(page, "Save").click()
    said(page, "Saved")
    assert filled.get("Order", "o-0017", "note") == b"a\r\n"


def test_a_large_value_is_loaded_on_click_and_edited(visit: Open, filled: kvengine.Engine) -> None:
    filled.set("Order", "o-0017", "large", b'"' + b"x" * 100_000 + b'"')
    page = visit("#/object/Order/o-0017")
    assert "shown when opened" in entry(page, "large").inner_text()
    entry(page, "large").click()
    page.wait_for_function("() => document.querySelector('.value')?.textContent.length > 100000")
    button(page, "Edit").click()
    area(page).fill('"short"')
    button(page, "Save").click()
    said(page, "Saved")
    assert filled.get("Order", "o-0017", "large") == b'"short"'


def test_unsaved_changes_are_not_lost_by_going_away(visit: Open, filled: kvengine.Engine) -> None:
    page = visit("#/object/Order/o-0001/status")
    button(page, "Edit").click()
    area(page).fill('"mine"')
    page.get_by_role("link", name="Storage").click()
    dialog = page.get_by_role("dialog", name="Drop your changes?")
    button(dialog, "Cancel").click()
    assert area(page).input_value() == '"mine"'
    assert "#/object/Order/o-0001" in page.url
    page.get_by_role("link", name="Storage").click()
    button(dialog, "Drop my changes").click()
    page.get_by_role("heading", name="Storage").wait_for()


def test_the_page_follows_what_others_write(visit: Open, filled: kvengine.Engine) -> None:
    """Lists and values change by themselves; what is being typed does not."""
    page = visit("#/object/Order/o-0001/status")
    filled.set("Order", "o-0001", "status", b'"news"')
    page.locator(".value", has_text="news").wait_for()
    button(page, "Edit").click()
    area(page).fill('"mine"')
    filled.set("Order", "o-0001", "status", b'"more news"')
    page.get_by_text("This object has changed since you began").wait_for()
    assert area(page).input_value() == '"mine"'
    button(page, "Drop mine").click()
    page.locator(".value", has_text="more news").wait_for()
    move(page, "#/objects/Order")
    filled.set("Order", "a new one", "n", b"1")
    page.get_by_role("link", name="a new one").wait_for()


def test_what_was_typed_for_the_place_that_was_left_is_forgotten(
    visit: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that waited for typing to pause changed the address of the view that came next."""

    def slow(*asked: Any) -> Any:
        time.sleep(0.5)
        return listed(*asked)

    listed = api_objects._page
    monkeypatch.setattr(api_objects, "_page", slow)
    page = visit()
    page.get_by_role("searchbox").fill("Gr")
    move(page, "#/objects/Order")
    assert page.evaluate("location.hash") == "#/objects/Order"
    assert page.get_by_role("heading", name="Order").is_visible()
    assert page.locator("main[inert]").count() == 0


def test_going_on_in_a_long_list(visit: Open, filled: kvengine.Engine) -> None:
    page = visit("#/objects/Order")
    page.wait_for_selector("tbody tr")
    for wanted in (200, 250):
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        page.wait_for_function(f"() => document.querySelectorAll('tbody tr').length >= {wanted}")
    keys = page.locator("td.main").all_inner_texts()
    assert keys == [f"o-{number:04}" for number in range(250)]


def test_names_that_do_not_show_are_spelled_out(visit: Open, filled: kvengine.Engine) -> None:
    names = {"": "empty", "a\0b": "a\\x00b", "\u202eevil": "\\u202eevil", " x ": "␣x␣"}
    for name in names:
        filled.set("Names", name, name, b"1")
    page = visit("#/objects/Names")
    page.wait_for_selector("tbody tr")
    assert sorted(page.locator("td.main").all_inner_texts()) == sorted(names.values())
    for name, shown in names.items():
        page.get_by_role("link").filter(has_text=re.compile(f"^{re.escape(shown)}$")).click()
        page.wait_for_function("() => location.hash.startsWith('#/object/Names/')")
        page.locator(".entry").wait_for()
        assert page.locator(".state-key").inner_text() == shown
        button(page, "Clear object…").click()
        button(page, "Clear object").click()
        page.get_by_text("There is no such object now.").wait_for()
        assert filled.load("Names", name) is None
        if filled.services() != ["Greeter", "Order"]:
            move(page, "#/objects/Names")
            page.wait_for_selector("tbody tr")


def test_the_storage_is_drawn_to_scale(visit: Open, filled: kvengine.Engine) -> None:
    filled.set("Big", "k", "v", bytes(300_000))
    filled.flush()
    filled.set("Small", "k", "v", bytes(100_000))
    filled.flush()
    page = visit("#/storage")
    page.wait_for_selector(".segment")
    segments = {one.number: one.size for one in filled.segments()}
    drawn = {
        int(each.get_attribute("data-segment")): float(each.get_attribute("width"))
        for each in page.locator(".segment").all()
    }
    assert drawn.keys() == segments.keys()
    large, small = sorted(segments, key=segments.__getitem__, reverse=True)[:2]
    assert drawn[large] / drawn[small] == pytest.approx(segments[large] / segments[small], rel=0.05)
    page.locator(f'[data-segment="{large}"]').click()
    page.get_by_text(f"Segment {large}, level").wait_for()


@pytest.mark.parametrize("scale", [1, 2])
def test_nothing_is_cut_off_on_a_narrow_page(
    visit: Open, filled: kvengine.Engine, scale: int
) -> None:
    """400 px wide, and 800 px at a zoom of 200%, which is the same to a page: no view is wider."""
    filled.set("W" * 300, "k" * 300, "s" * 300, b'"' + b"v" * 3000 + b'"')
    page = visit(viewport={"width": 400, "height": 700}, device_scale_factor=scale)
    views = [
        "#/services",
        "#/objects/Order",
        "#/object/Order/o-0017/raw",
        f"#/objects/{'W' * 300}",
        f"#/object/{'W' * 300}/{'k' * 300}/{'s' * 300}",
        "#/storage",
    ]
    for view in views:
        move(page, view)
        page.wait_for_timeout(60)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 400, f"{view} is {wide} px wide"


def test_light_and_dark(visit: Open) -> None:
    """As the system says, until the person says otherwise; that is kept."""
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    page = visit(color_scheme="dark")
    dark = page.evaluate(ground)
    button(page, "Light or dark").click()
    light = page.evaluate(ground)
    assert dark != light
    page.reload()
    page.wait_for_selector("main h1")
    assert page.evaluate(ground) == light
    page.keyboard.press("t")
    assert page.evaluate(ground) == dark


def test_a_link_is_good_once(browser: Any, site: Site, filled: kvengine.Engine) -> None:
    """The same browser goes on with its session; another one is told how to get a link."""
    link = site.launch_url()
    first, second = browser.new_context(), browser.new_context()
    page = first.new_page()
    for _ in range(2):
        page.goto("about:blank")
        page.goto(link)
        page.get_by_role("heading", name="Services").wait_for()
    other = second.new_page()
    other.goto(link)
    other.get_by_text("This launch code is wrong, used or too old").wait_for()
    assert other.locator("tbody tr").count() == 0
    assert page.evaluate("document.cookie") == ""
    first.close()
    second.close()


def test_a_read_only_page_offers_no_edits(
    browser: Any, serve: Callable[..., Site], filled: kvengine.Engine
) -> None:
    page = browser.new_page()
    page.goto(serve().launch_url())
    page.get_by_text("read-only").wait_for()
    move(page, "#/object/Order/o-0017/note")
    page.locator(".value").wait_for()
    for key in ("e", "a"):
        page.keyboard.press(key)
    shown = page.get_by_role("button").all_inner_texts()
    assert not {"Edit", "Add entry…", "Expiry…", "Clear object…", "Clear entry…"} & set(shown)
    assert page.locator("textarea, dialog").count() == 0
    page.close()
