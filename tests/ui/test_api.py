"""What the page is told: listings, objects, figures, as JSON; and what it may change."""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import kvengine
from kvengine.inspection import document
from kvengine.ui.limits import EDITABLE, INLINE
from kvengine.ui.serve import Site
from tests.ui.site import Client

# In the order of their UTF-8, where an exclusive start must neither skip nor repeat one.
TRICKY = ["", "\0", "\0\0", " ", "%2F", "/", "a", "a\0", "a\0\0", "a\x01", "é", "e\u0301", "☃", "𝄞"]
TRICKY.sort(key=str.encode)


@pytest.fixture(autouse=True)
def empty(db: kvengine.Engine) -> None:
    for service in db.services():
        db.clear_service(service)


def walk(client: Client, path: str, what: str, name: str, **query: object) -> list[str]:
    """All names of a listing, page by page."""
    found: list[str] = []
    after: dict[str, object] = {}
    for _ in range(200):
        page = client.read(path, **query, **after)
        found += [each[name] for each in page[what]]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}
    raise AssertionError("the listing does not end")


def test_services_tell_how_much_they_hold(client: Client, db: kvengine.Engine) -> None:
    """Exact counts of few objects; whether the first of them expire, and how many soon."""
    for number in range(20):
        db.set("Cart", f"{number:02}", "n", b"1")
    db.expire("Cart", "03", ttl=60)
    db.expire("Cart", "04", ttl=10 * 86400)
    db.set("Cart", "05", "token", b"1", ttl=60)
    db.set("Greeter", "alice", "n", b"1")
    cart, greeter = client.read("services")["services"]
    assert (cart["service"], cart["objects"], cart["exact"]) == ("Cart", 20, True)
    assert (cart["sample"], cart["expiring"], cart["soon"]) == (8, 3, 2)
    assert (greeter["objects"], greeter["sample"], greeter["expiring"]) == (1, 1, 0)
    assert cart["bytes"] > greeter["bytes"] > 0


def test_a_large_service_is_estimated(client: Client, db: kvengine.Engine) -> None:
    with db.batch() as batch:
        for number in range(3000):
            batch.set("Cart", str(number), "n", b"1")
    (cart,) = client.read("services")["services"]
    assert not cart["exact"] and 2000 < cart["objects"] < 4500
    page = client.read("objects", service="Cart", limit=10)
    assert not page["exact"] and 2000 < page["count"] < 4500
    few = client.read("objects", service="Cart", prefix="77", limit=10)
    assert (few["count"], few["exact"]) == (11, True)


@pytest.mark.parametrize("limit", [1, 3, 200])
def test_services_are_listed_by_key_set(client: Client, db: kvengine.Engine, limit: int) -> None:
    """Each service once, in order, whatever its name and whatever fits on a page."""
    for name in TRICKY:
        db.set(name, "k", "s", b"1")
    assert walk(client, "services", "services", "service", limit=limit) == TRICKY
    begins = [name for name in TRICKY if name.startswith("a")]
    assert walk(client, "services", "services", "service", limit=limit, prefix="a") == begins


@pytest.mark.parametrize("limit", [1, 3, 500])
def test_objects_are_listed_by_key_set(client: Client, db: kvengine.Engine, limit: int) -> None:
    """Each object once, in order; one that comes while the pages are turned loses no other."""
    for name in TRICKY:
        db.set("s", name, "n", b"1")
    assert walk(client, "objects", "objects", "key", service="s", limit=limit) == TRICKY
    begins = [name for name in TRICKY if name.startswith("a")]
    found = walk(client, "objects", "objects", "key", service="s", limit=limit, prefix="a")
    assert found == begins


def test_an_object_in_a_list_has_version_sizes_and_expiry(
    client: Client, db: kvengine.Engine
) -> None:
    db.set("s", "k", "a", b"12345")
    db.set("s", "k", "b", b"1", ttl=60)
    db.expire("s", "k", at=4e9)
    db.set("s", "large", "x", bytes(20_000))
    for number in range(1200):
        db.set("s", "many", f"{number}", bytes(20))
    k, large, many = client.read("objects", service="s")["objects"]
    assert k["version"] == str(db.version("s", "k"))
    assert (k["entries"], k["bytes"], k["expires_at"]) == (2, 8, 4e9)
    assert time.time() < k["entry_expires_at"] < time.time() + 61
    assert (large["entries"], large["bytes"]) == (1, None)
    assert (many["entries"], many["bytes"]) == (None, None)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("objects", {}),
        ("objects", {"service": "s", "limit": "0"}),
        ("objects", {"service": "s", "limit": "501"}),
        ("objects", {"service": "s", "limit": "-1"}),
        ("objects", {"service": "s", "limit": "1e2"}),
        ("object", {"service": "s"}),
        ("entry", {"service": "s", "key": "k"}),
    ],
)
def test_a_read_that_asks_for_nonsense_is_refused(
    client: Client, path: str, query: dict[str, str]
) -> None:
    answer = client.get(f"/api/{path}", params=query)
    assert answer.status_code == 400 and answer.json()["error"].endswith(".")


@pytest.mark.parametrize("query", ["service=%ff", "service=s&service=t", "%"])
def test_a_query_that_is_no_text_is_refused(client: Client, query: str) -> None:
    answer = client.get(httpx.URL(str(client.base_url), path="/api/objects", query=query.encode()))
    assert answer.status_code == 400


VALUES: dict[str, tuple[bytes, str]] = {
    "a number past 53 bits": (b'{"id":9007199254740993}', "json"),
    "a number with a zero": (b"1.0", "json"),
    "blanks": (b' { "a" : 1 }\r\n', "json"),
    "a member twice": (b'{"a":1,"a":2}', "json"),
    "text": (b"hello", "text"),
    "empty": (b"", "text"),
    "line ends": (b"a\r\nb\rc\n", "text"),
    "NUL": (b"\0", "text"),
    "a mark of byte order": (b"\xef\xbb\xbf{}", "text"),
    "binary": (b"\x00\xff\xfe", "binary"),
    "half a character": ("é".encode()[:1], "binary"),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_and_goes_as_the_bytes_it_is(
    client: Client, db: kvengine.Engine, name: str
) -> None:
    """Read by the page and written back, nothing about a value has changed."""
    value, kind = VALUES[name]
    db.set("s", "k", "v", value)
    found = client.read("object", service="s", key="k")
    (entry,) = found["entries"]
    assert (entry["type"], entry["size"]) == (kind, len(value))
    form = {part: entry[part] for part in ("text", "base64") if part in entry}
    change = {"verb": "set", "state_key": "copy", "entry": form}
    assert client.edit("s", "k", found["version"], change).json()["result"] == "applied"
    assert db.get("s", "k", "copy") == value


def test_a_large_value_is_sent_when_asked_for(client: Client, db: kvengine.Engine) -> None:
    large = b'"' + b"x" * INLINE + b'"'
    db.set("s", "k", "large", large)
    db.set("s", "k", "small", b"1", ttl=60)
    found = client.read("object", service="s", key="k")
    large_row, small_row = found["entries"]
    assert large_row == {
        "state_key": "large",
        "size": len(large),
        "expires_at": None,
        "type": None,
        "omitted": True,
    }
    assert small_row["text"] == "1" and small_row["expires_at"] > time.time()
    entry = client.read("entry", service="s", key="k", state_key="large")
    assert entry["text"].encode() == large and entry["type"] == "json"
    assert entry["version"] == found["version"]
    one = client.read("entry", service="s", key="k", state_key="small")
    assert one["expires_at"] == small_row["expires_at"]


@pytest.mark.parametrize("unit", [b"x", "é".encode(), b"\xff"])
def test_of_a_value_too_large_to_edit_the_beginning_is_shown(
    client: Client, db: kvengine.Engine, unit: bytes
) -> None:
    value = b"-" + unit * (EDITABLE // len(unit))
    db.set("s", "k", "v", value)
    entry = client.read("entry", service="s", key="k", state_key="v")
    assert entry["cut"] is True and entry["size"] == len(value)
    shown = entry["text"].encode() if "text" in entry else b64decode(entry["base64"])
    assert value.startswith(shown) and INLINE - 8 < len(shown) <= INLINE
    query = {"service": "s", "key": "k", "state_key": "v"}
    answer = client.get("/api/value", params=query)
    assert answer.content == value
    assert answer.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("size", [10, 6000])
def test_the_entries_of_an_object_come_in_pages(
    client: Client, db: kvengine.Engine, size: int
) -> None:
    """Every entry once, in order, also of an object that is not read at once."""
    names = sorted(f"{number}" for number in range(1234))
    with db.batch() as batch:
        for name in names:
            batch.set("s", "k", name, bytes(size))
    assert walk(client, "object", "entries", "state_key", service="s", key="k") == names
    first = client.read("object", service="s", key="k")
    assert first["count"] == (1234 if size == 10 else None)


def test_what_is_absent_is_404(client: Client, db: kvengine.Engine) -> None:
    db.set("s", "k", "v", b"1")
    for path in ("object", "document"):
        assert client.get(f"/api/{path}", params={"service": "s", "key": "no"}).status_code == 404
    for path in ("entry", "value"):
        query = {"service": "s", "key": "k", "state_key": "no"}
        assert client.get(f"/api/{path}", params=query).status_code == 404


def test_a_document_is_the_line_that_the_command_line_prints(
    client: Client, db: kvengine.Engine
) -> None:
    db.set("s", "k\x1b", "v", b"\xff")
    db.set("s", "k\x1b", "w", b"[1]", ttl=60)
    found = db.load("s", "k\x1b")
    assert found is not None
    answer = client.get("/api/document", params={"service": "s", "key": "k\x1b"})
    assert answer.text == document.line(document.document(found)) + "\n"


# Edits


def version(db: kvengine.Engine) -> str:
    return str(db.version("s", "k"))


def set_to(text: str, state_key: str = "v", **more: object) -> dict[str, object]:
    return {"verb": "set", "state_key": state_key, "entry": {"text": text}, **more}


def test_an_object_is_added_changed_and_cleared(client: Client, db: kvengine.Engine) -> None:
    added = client.edit("s", "k", "0", set_to("1")).json()
    assert (added["result"], added["version"]) == ("applied", version(db))
    assert added["object"]["entries"][0]["text"] == "1"
    changes = [set_to("2"), set_to("3", "w"), {"verb": "clear", "state_key": "x"}]
    changed = client.edit("s", "k", added["version"], *changes).json()
    assert db.get_all("s", "k") == {"v": b"2", "w": b"3"}
    cleared = client.edit("s", "k", changed["version"], {"verb": "clear", "state_key": "v"}).json()
    assert db.get_all("s", "k") == {"w": b"3"}
    gone = client.edit("s", "k", cleared["version"], {"verb": "clear_object"}).json()
    assert (gone["result"], gone["object"], db.load("s", "k")) == ("applied", None, None)


def test_a_value_may_be_given_in_every_form_of_a_document(
    client: Client, db: kvengine.Engine
) -> None:
    for form, wanted in (
        ({"value": {"a": [1, None]}}, b'{"a":[1,null]}'),
        ({"text": "é"}, "é".encode()),
        ({"base64": b64encode(b"\xff").decode()}, b"\xff"),
    ):
        change = {"verb": "set", "state_key": "v", "entry": form}
        assert client.edit("s", "k", version(db), change).status_code == 200
        assert db.get("s", "k", "v") == wanted


def test_an_edit_of_what_has_changed_is_a_conflict(client: Client, db: kvengine.Engine) -> None:
    """Nothing is written; the answer shows what is there now, so that the page can compare."""
    db.set("s", "k", "v", b"base")
    read = version(db)
    db.set("s", "k", "v", b"theirs")
    answer = client.edit("s", "k", read, set_to("mine"), set_to("new", "w"))
    found = answer.json()
    assert (answer.status_code, found["result"]) == (409, "conflict")
    assert found["object"]["version"] == version(db)
    assert found["entries"]["v"]["text"] == "theirs" and found["entries"]["w"] is None
    assert db.get_all("s", "k") == {"v": b"theirs"}
    on_top = client.edit("s", "k", found["object"]["version"], set_to("mine"))
    assert on_top.status_code == 200 and db.get("s", "k", "v") == b"mine"


def test_an_object_that_is_added_twice_or_is_gone_is_a_conflict(
    client: Client, db: kvengine.Engine
) -> None:
    db.set("s", "k", "v", b"1")
    read = version(db)
    assert client.edit("s", "k", "0", set_to("mine")).status_code == 409
    db.clear_all("s", "k")
    answer = client.edit("s", "k", read, set_to("mine"))
    assert (answer.status_code, answer.json()["object"]) == (409, None)
    assert db.load("s", "k") is None


def test_force_writes_whatever_the_version(client: Client, db: kvengine.Engine) -> None:
    db.set("s", "k", "v", b"1")
    assert client.edit("s", "k", "5", set_to("mine"), force=True).status_code == 200
    assert db.get("s", "k", "v") == b"mine"


NOTHING: dict[str, list[dict[str, object]]] = {
    "an entry that is absent": [{"verb": "clear", "state_key": "no"}],
    "one that begins like another": [{"verb": "clear", "state_key": ""}],
    "never, of what never expires": [{"verb": "expire"}],
}


@pytest.mark.parametrize("name", NOTHING)
def test_an_edit_with_nothing_to_do_says_so(client: Client, db: kvengine.Engine, name: str) -> None:
    db.set("s", "k", "v", b"1")
    read = version(db)
    assert client.edit("s", "k", read, *NOTHING[name]).json()["result"] == "unchanged"
    assert version(db) == read


@pytest.mark.parametrize("verb", ["clear_object", "expire_now", "expire"])
def test_of_an_absent_object_there_is_nothing_to_clear(client: Client, verb: str) -> None:
    assert client.edit("s", "no", "0", {"verb": verb}).json()["result"] == "unchanged"


def test_an_object_expires_when_it_is_told_to(client: Client, db: kvengine.Engine) -> None:
    db.set("s", "k", "v", b"1")
    client.edit("s", "k", version(db), {"verb": "expire", "at": 4e9})
    assert db.expires_at("s", "k") == 4e9
    client.edit("s", "k", version(db), {"verb": "expire", "ttl": 100})
    assert 0 < (db.expires_at("s", "k") or 0) - time.time() <= 100
    client.edit("s", "k", version(db), {"verb": "expire"})
    assert db.expires_at("s", "k") is None
    answer = client.edit("s", "k", version(db), {"verb": "expire_now"}).json()
    assert (answer["result"], answer["object"]) == ("applied", None)
    assert db.load("s", "k") is None


def test_an_entry_keeps_gets_and_loses_its_expiry(client: Client, db: kvengine.Engine) -> None:
    def expiry() -> float | None:
        found = db.load("s", "k")
        assert found is not None
        return (found.expiries or {}).get("v")

    client.edit("s", "k", "0", set_to("1", ttl=1000))
    first = expiry()
    assert first is not None and 0 < first - time.time() <= 1000
    kept = {"verb": "set", "state_key": "v", "entry": {"text": "2", "expires_at": first}}
    client.edit("s", "k", version(db), kept)
    assert db.get("s", "k", "v") == b"2" and expiry() == pytest.approx(first, abs=0.5)
    client.edit("s", "k", version(db), set_to("3"))
    assert db.get("s", "k", "v") == b"3" and expiry() is None
    past = {"verb": "set", "state_key": "v", "entry": {"text": "4", "expires_at": 5}}
    client.edit("s", "k", version(db), past)
    time.sleep(0.01)
    assert db.get("s", "k", "v") is None


def test_an_edit_is_whole_or_not_at_all(client: Client, db: kvengine.Engine) -> None:
    db.set("s", "k", "v", b"1")
    body = [set_to("2"), {"verb": "set", "state_key": "w" * 70_000, "entry": {"text": ""}}]
    assert client.edit("s", "k", version(db), *body).status_code == 413
    assert db.get_all("s", "k") == {"v": b"1"}


def test_racing_edits_lose_nothing(client: Client, db: kvengine.Engine) -> None:
    """Each edit adds one to what it read, against a writer that does the same: all are counted."""
    db.set("s", "k", "n", b"0")
    conflicts = 0
    for _ in range(100):
        found = client.read("object", service="s", key="k")
        count = int(found["entries"][0]["text"])
        if count % 3 == 0:
            db.set("s", "k", "n", b"%d" % (count + 1))
        answer = client.edit("s", "k", found["version"], set_to(str(count + 1), "n"))
        conflicts += answer.status_code == 409
        assert answer.status_code == (409 if count % 3 == 0 else 200)
    assert db.get("s", "k", "n") == b"100" and conflicts > 20


def clear_service(client: Client, seen: str, **more: object) -> Any:
    body = {"service": "s", "confirm": "s", "seen": seen, **more}
    return client.post("/api/clear-service", json=body)


def test_a_service_is_cleared_whole(client: Client, db: kvengine.Engine) -> None:
    for number in range(50):
        db.set("s", str(number), "v", b"1")
    db.set("sx", "k", "v", b"1")
    answer = clear_service(client, client.read("pulse")["last_stamp"])
    assert answer.json()["result"] == "applied"
    assert db.services() == ["sx"]
    assert clear_service(client, "0").json()["result"] == "unchanged"


def test_a_service_that_has_changed_is_not_cleared(client: Client, db: kvengine.Engine) -> None:
    """What came or changed behind the page's back stops it, until the person insists."""
    db.set("s", "a", "v", b"1")
    seen = client.read("pulse")["last_stamp"]
    db.set("s", "b", "v", b"1")
    answer = clear_service(client, seen)
    assert (answer.status_code, answer.json()["changed"]) == (409, 1)
    assert list(db.object_keys("s")) == ["a", "b"]
    assert clear_service(client, seen, force=True).status_code == 200
    assert db.services() == []


def test_every_write_leaves_a_line_in_the_audit(
    client: Client, db: kvengine.Engine, audited: pytest.LogCaptureFixture
) -> None:
    client.edit("s\n", "k\u202e", "0", set_to("12345"))
    client.edit("s\n", "k\u202e", "7", {"verb": "clear_object"})
    clear_service(client, "0")
    lines = [record.getMessage() for record in audited.records]
    stamp = db.version("s\n", "k\u202e")
    assert lines == [
        f'edit "s\\x0a" "k\\u202e" of version 0: set "v" to 5 bytes: applied, version {stamp}',
        'edit "s\\x0a" "k\\u202e" of version 7: clear the object: conflict',
        'clear service "s": unchanged',
    ]


# Following


def test_what_has_not_changed_is_not_sent_again(serve: Callable[..., Site], tmp_path: Path) -> None:
    """A page that polls sends the tag of what it has, and gets 304 and no body for it.

    The database is the test's own: where others had written megabytes before, a compaction
    that ended between two polls changed the estimates on the page, and so its tag.
    """
    with (
        kvengine.open(tmp_path / "state", durability="os") as db,
        Client(serve(db.path)) as client,
    ):
        db.set("s", "k", "v", b"1")
        for path in ("pulse", "services", "objects?service=s", "object?service=s&key=k", "storage"):
            first = client.get(f"/api/{path}")
            tag = {"If-None-Match": first.headers["etag"]}
            again = client.get(f"/api/{path}", headers=tag)
            assert (again.status_code, again.content) == (304, b""), path
            db.set("s", "k", "v", b"2")
            assert client.get(f"/api/{path}", headers=tag).status_code == 200, path
            db.set("s", "k", "v", b"1")


def test_the_storage_is_told_with_every_segment(client: Client, db: kvengine.Engine) -> None:
    db.set("\x1b", "a\x1b", "v", b"1")
    db.flush()
    found = client.read("storage")
    stats = db.stats()
    assert found["stats"]["bytes_on_disk"] == stats.bytes_on_disk
    assert len(found["stats"]["levels"]) == len(stats.levels)
    assert [one["number"] for one in found["segments"]] == [one.number for one in db.segments()]
    bounds = [one[end] for one in found["segments"] for end in ("start", "stop")]
    assert bounds and all(bound.isprintable() for bound in bounds), bounds


def test_answers_have_a_head(client: Client, db: kvengine.Engine) -> None:
    db.set("s", "k", "v", b"1")
    for path in ("/", "/static/app.js", "/api/pulse"):
        whole, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(whole.content))


def test_a_session_ends_when_nobody_has_used_it_for_long(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(site) as client:
        assert client.get("/api/session").status_code == 200
        later = time.monotonic() + 13 * 3600
        monkeypatch.setattr(site.door, "_clock", lambda: later)
        assert client.get("/api/session").status_code == 401
