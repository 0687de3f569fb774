"""The commands, with what users do wrong: each says what to do, and nothing is lost."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest

import kvengine
from kvengine.cli.exits import CONFLICT, DAMAGED, FAILED, NO, UNAVAILABLE, USAGE
from kvengine.inspection.document import read_document, value_of
from tests.cli.conftest import Run

ODD = ["", "\0", "a\0b", "a/b", "a%2Fb", "\u202e", "\x1b[31m", "é", "e\u0301", "\U0001f600", '"\\']


def oddities(seed: int) -> dict[str, bytes]:
    """A thousand entries of every kind of name and value."""
    dice = random.Random(seed)
    made = {}
    for i in range(1000):
        kind = dice.randrange(7)
        value = [
            b"",
            b"%d" % i,
            json.dumps({"a": i, "b": ["\u202e", None, 1.5]}).encode(),
            b'"\\u00e9"',
            dice.randbytes(dice.randrange(60)),
            "\x1b[2J\x07\u202e\u2066text".encode(),
            b"1" * 40,
        ][kind]
        made[f"{dice.choice(ODD)}{i}"] = value
    return made


def test_get_as_json_gives_back_a_thousand_entries_exactly(place: Path, run: Run) -> None:
    """`kv get --json` round-trips through its documented form, and is printable ASCII."""
    entries = oddities(1)
    with kvengine.open(place) as db, db.batch() as batch:
        for name, value in entries.items():
            batch.set("Odd", "o", name, value)
    told = run("kv", "get", "Odd", "o", "--json")
    assert told.code == 0 and told.out.count("\n") == 1
    assert all(" " <= character <= "~" for character in told.out[:-1])
    found = read_document(told.out)
    assert {name: value_of(form) for name, form in found["entries"].items()} == entries
    again = run("--db", str(place.parent / "new"), "import", "-", "--create", "--partial",
                stdin=told.out.encode())  # fmt: skip
    assert again.code == 0, again
    with kvengine.open(place.parent / "new", read_only=True) as db:
        assert db.get_all("Odd", "o") == entries


def test_nothing_that_is_shown_acts_on_a_terminal(place: Path, run: Run) -> None:
    """Control, ANSI and bidi characters in names and values, in every command that shows them."""
    hostile = "\x1b]0;own\x07\x9b31m\u202e\u2066\r\b"
    with kvengine.open(place) as db:
        db.set(hostile, hostile, hostile, hostile.encode())
        db.set(hostile, hostile, "json", json.dumps(hostile, ensure_ascii=False).encode())
    quoted = "\\x1b]0;own\\x07\\x9b31m\\u202e\\u2066\\x0d\\x08"
    for words in (
        ["services"],
        ["services", "--json"],
        ["objects", "-q", quoted],
        ["objects", "-q", quoted, "--long"],
        ["kv", "get", "-q", quoted, quoted],
        ["kv", "get", "-q", quoted, quoted, quoted],
        ["kv", "get", "-q", quoted, quoted, "json"],
        ["kv", "get", "-q", quoted, quoted, "--json"],
        ["kv", "get", "-q", quoted, "no\\u202e"],
        ["kv", "keys", "-q", quoted, quoted],
        ["scan"],
        ["find", "--contains", "own"],
        ["find", "--key", "*"],
        ["kv", "set", "-q", quoted, quoted, "\\u202e", '"\u202e"', "--dry-run"],
        ["kv", "clear", "-q", quoted, quoted, "--dry-run"],
        ["export", "-"],
        ["levels", "--long"],
        ["--db", f"/nowhere/{hostile}", "services"],
        ["verify", f"/nowhere/{hostile}"],
        ["levels", "--long", hostile],
        ["dump", "wal", f"/nowhere/{hostile}"],
        ["kv", "get", hostile],
        ["objects", "x", f"--{hostile}"],
        ["kv", "get", "x", "y", "z", hostile],
        ["objects", "x", "--limit", hostile],
        [hostile],
    ):
        told = run(*words)
        for text in (told.out, told.err):
            wrong = [c for c in text if not (c.isprintable() or c == "\n")]
            assert not wrong, (words, text)


@pytest.mark.parametrize("name", ODD)
def test_a_name_as_it_is_shown_is_taken_with_q(place: Path, run: Run, name: str) -> None:
    with kvengine.open(place) as db:
        db.set("Odd", name, "n", b"1")
    shown = run("objects", "Odd").out.rstrip("\n")
    told = run("kv", "get", "-q", "Odd", shown, "--json")
    assert json.loads(told.out)["key"] == name


def test_a_path_is_taken_apart_and_slashes_are_percent_encoded(place: Path, run: Run) -> None:
    with kvengine.open(place) as db:
        for key in ("x", "a/b", "a%2Fb"):
            db.set("S/1", key, "n/m", b"1")
    assert run("kv", "clear", "S%2F1/a%2Fb/n%2Fm", "--yes").code == 0
    assert run("kv", "clear", "S/1", "a%2Fb", "--yes").code == 0, "separate names are plain"
    with kvengine.open(place, read_only=True) as db:
        assert list(db.object_keys("S/1")) == ["x"]
    told = run("kv", "clear", "a/b/c/d", "--yes")
    assert told.code == USAGE and "%2F" in told.err


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["7"], b"7"),
        (['{"a":  1}'], b'{"a":1}'),
        (["null"], b"null"),
        (["plain", "--text"], b"plain"),
        (["", "--text"], b""),
        (["ff00", "--hex"], b"\xff\x00"),
        (["/wA=", "--base64"], b"\xff\x00"),
        (['{"a":  1}', "--raw"], b'{"a":  1}'),
        (["--file", "-", "--raw"], b"\xff in\n"),
    ],
)
def test_set_takes_values_in_each_form(
    place: Path, run: Run, words: list[str], value: bytes
) -> None:
    told = run("kv", "set", "Greeter", "alice", "v", *words, stdin=b"\xff in\n")
    assert told.code == 0, told
    with kvengine.open(place, read_only=True) as db:
        assert db.get("Greeter", "alice", "v") == value


WRONG = {
    "no value": (["kv", "set", "S", "k", "n"], USAGE, "VALUE"),
    "two values": (["kv", "set", "S", "k", "n", "1", "--file", "-"], USAGE, "VALUE"),
    "no JSON": (["kv", "set", "S", "k", "n", "hello"], USAGE, "--text"),
    "no hex": (["kv", "set", "S", "k", "n", "xyz", "--hex"], USAGE, "hex"),
    "no base64": (["kv", "set", "S", "k", "n", "x!", "--base64"], USAGE, "base64"),
    "no duration": (["kv", "set", "S", "k", "n", "1", "--ttl", "soon"], USAGE, "30s"),
    "no time left": (["kv", "set", "S", "k", "n", "1", "--ttl", "0"], USAGE, "30s"),
    "no time": (["kv", "expire", "Greeter", "bob", "--at", "noon"], USAGE, "2026"),
    "no expiry": (["kv", "expire", "Greeter", "bob"], USAGE, "--in"),
    "two expiries": (["kv", "expire", "Greeter", "bob", "--now", "--never"], USAGE, "one of"),
    "expire nothing": (["kv", "expire", "Greeter", "nobody", "--never"], NO, "no object"),
    "no object": (["kv", "get", "Greeter", "nobody"], NO, "no object"),
    "no entry": (["kv", "get", "Greeter", "bob", "x"], NO, "no entry"),
    "keys of none": (["kv", "keys", "Greeter", "nobody"], NO, "no object"),
    "raw object": (["kv", "get", "Greeter", "bob", "--raw"], USAGE, "STATE_KEY"),
    "clear unasked": (["kv", "clear", "Greeter/bob"], USAGE, "--yes"),
    "version of all": (["kv", "clear", "Greeter", "--version", "1", "--yes"], USAGE, "KEY"),
    "no patch": (["kv", "patch", "Greeter", "bob", "--patch", "{"], USAGE, "not JSON"),
    "patch no list": (["kv", "patch", "Greeter", "bob", "--patch", "{}"], USAGE, "array"),
    "patch nothing": (
        ["kv", "patch", "Greeter", "bob", "--patch", '[{"op":"remove","path":"/x"}]'],
        USAGE,
        "does not apply",
    ),
    "patch all": (
        ["kv", "patch", "Greeter", "bob", "--patch", '[{"op":"replace","path":"","value":1}]'],
        USAGE,
        "no object",
    ),
    "bad escape": (["kv", "get", "-q", "S", '"\\q"'], USAGE, "escape"),
    "long name": (["kv", "get", "S" * 70_000, "k"], FAILED, "65,536"),
    "not UTF-8": (["kv", "get", "S", "\udcff"], USAGE, "UTF-8"),
    "scan prefix": (["scan", "--prefix", "x"], USAGE, "SERVICE"),
    "find nothing": (["find"], USAGE, "--contains"),
    "find no path": (["find", "--json-path", "$["], USAGE, "path"),
    "find no JSON": (["find", "--equals", "x"], USAGE, "JSON"),
    "no database": (["--db", "/nowhere", "services"], UNAVAILABLE, "--db"),
    "blob": (["dump", "blob", "x"], USAGE, "blob"),
    "no file": (["dump", "wal", "/nowhere/x.wal"], FAILED, "No such file"),
    "checkpoint on itself": (["checkpoint", "/proc"], FAILED, "exists"),
    "import nothing": (["import", "/nowhere"], FAILED, "No such file"),
    "import junk": (["import", "-"], USAGE, "line 1"),
    "negative limit": (["objects", "S", "--limit", "-1"], USAGE, "--limit"),
    "unknown command": (["kv", "frobnicate"], USAGE, "frobnicate"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_users_do_wrong(place: Path, run: Run, what: str) -> None:
    """One sentence that helps, the documented code, no traceback, and nothing changed."""
    words, code, hint = WRONG[what]
    with kvengine.open(place, read_only=True) as db:
        before = list(db.scan())
    told = run(*words, stdin=b"junk\n")
    assert (told.code, told.out) == (code, "") or (what == "clear unasked" and told.code == code)
    assert hint in told.err and "Traceback" not in told.err
    assert len(told.err.splitlines()) <= 4
    with kvengine.open(place, read_only=True) as db:
        assert list(db.scan()) == before


def test_debug_shows_the_traceback(place: Path, run: Run) -> None:
    with pytest.raises(kvengine.ValueTooLarge):
        run("--debug", "kv", "get", "S" * 70_000, "k")


def test_no_database_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Run) -> None:
    monkeypatch.delenv("KVENGINE_DB", raising=False)
    monkeypatch.chdir(tmp_path)
    told = run("services")
    assert told.code == USAGE and "KVENGINE_DB" in told.err
    kvengine.open(tmp_path).close()
    assert run("services").code == 0, "the current directory is one"


def test_an_owner_without_a_socket_keeps_edits_out_and_lets_reads_in(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DatabaseLocked names the holder; what is read is of now."""
    monkeypatch.setattr("kvengine.inspection.access._PAUSE", 0.01)
    monkeypatch.setattr("kvengine.inspection.access.monotonic", iter(range(10_000)).__next__)
    with kvengine.open(place, live_access=False, background="none") as db:
        db.set("Greeter", "carol", "n", b"1")
        assert '"carol"' in run("objects", "Greeter").out
        told = run("kv", "set", "Greeter", "carol", "n", "2")
        assert told.code == UNAVAILABLE and str(os.getpid()) in told.err
        assert db.get("Greeter", "carol", "n") == b"1"


def test_edits_go_through_the_owner(place: Path, run: Run) -> None:
    with kvengine.open(place, background="thread") as db:
        assert json.loads(run("stats", "--json").out)["access"] == "live"
        assert run("kv", "set", "Greeter", "alice", "count", "4").code == 0
        assert db.get("Greeter", "alice", "count") == b"4"
        assert run("kv", "clear", "Greeter", "--yes").code == 0
        assert db.services() == []


def test_a_conflict_is_shown_with_what_happened_and_nothing_is_written(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else commits between the read and the commit of an edit."""
    from kvengine.share.store import SharedStore

    with kvengine.open(place, background="thread") as db:
        write = SharedStore.write

        def late(self: SharedStore, *arguments: object, **named: object) -> int:
            db.set("Greeter", "alice", "count", b"100")
            db.clear("Greeter", "alice", "name")
            return write(self, *arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(SharedStore, "write", late)
        told = run("kv", "set", "Greeter", "alice", "count", "4")
        assert told.code == CONFLICT and "nothing was written" in told.err
        tail = told.out[told.out.index("conflict") :]
        assert '- "count" 3\n+ "count" 100\n- "name" "Alice"\n' in tail
        as_json = json.loads(run("kv", "set", "Greeter", "alice", "x", "4", "--json").out)
        assert as_json["result"] == "conflict"
        assert as_json["version"] == as_json["now"]["version"] == db.version("Greeter", "alice")
        assert db.get_all("Greeter", "alice") == {"count": b"100"}
        assert run("kv", "set", "Greeter", "alice", "count", "4", "--force").code == 0
        assert db.get("Greeter", "alice", "count") == b"4"


def test_edits_keep_the_expiry_of_entries_but_for_a_plain_set(place: Path, run: Run) -> None:
    """patch and edit change values, not lifetimes; set without --ttl ends one, as in the API."""
    with kvengine.open(place) as db:
        db.set("Greeter", "alice", "token", b"1", ttl=1000)
        end = (db.load("Greeter", "alice").expiries or {})["token"]  # type: ignore[union-attr]
    patch = '[{"op":"replace","path":"/token","value":2}]'
    assert run("kv", "patch", "Greeter", "alice", "--patch", patch).code == 0
    with kvengine.open(place, read_only=True) as db:
        found = db.load("Greeter", "alice")
        assert found is not None and found.entries["token"] == b"2"
        assert abs((found.expiries or {})["token"] - end) < 5
    assert run("kv", "set", "Greeter", "alice", "token", "2").code == 0
    with kvengine.open(place, read_only=True) as db:
        found = db.load("Greeter", "alice")
        assert found is not None and found.expiries is None


def test_a_large_service_is_cleared_by_force_alone(place: Path, run: Run) -> None:
    with kvengine.open(place) as db, db.batch() as batch:
        for i in range(1500):
            batch.set("Big", f"{i}", "n", b"1")
    told = run("kv", "clear", "Big", "--yes")
    assert told.code == USAGE and "--force" in told.err
    assert run("kv", "clear", "Big", "--yes", "--force").code == 0
    assert '"Big"' not in run("services").out


def editor(tmp_path: Path, script: str) -> str:
    """An editor that runs ``script`` over the text, named as $EDITOR."""
    import sys

    path = tmp_path / "editor.py"
    path.write_text(
        "import sys, pathlib\npath = pathlib.Path(sys.argv[-1])\ntext = path.read_text()\n"
        f"{script}\npath.write_text(text)\n"
    )
    return f"{sys.executable} {path}"


def test_edit_replaces_what_was_edited_and_keeps_what_was_there(
    place: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed, added and removed entries; those untouched keep their very bytes."""
    with kvengine.open(place) as db:
        db.set("Greeter", "alice", "spaced", b'{"a": 1}')
        db.set("Greeter", "alice", "raw", b"\xff")
    script = (
        "import json\ndata = json.loads(text)\ndata['count']['value'] = 4\ndel data['name']\n"
        "data['new'] = {'text': 'hi'}\ntext = json.dumps(data)"
    )
    monkeypatch.setenv("EDITOR", editor(tmp_path, script))
    monkeypatch.delenv("VISUAL", raising=False)
    told = run("kv", "edit", "Greeter", "alice")
    assert told.code == 0, told
    with kvengine.open(place, read_only=True) as db:
        assert db.get_all("Greeter", "alice") == {
            "count": b"4",
            "new": b"hi",
            "raw": b"\xff",
            "spaced": b'{"a": 1}',
        }
    (kept,) = (tmp_path / "state" / "kvengine" / "replaced").iterdir()
    assert str(kept) in told.err and kept.stat().st_mode & 0o777 == 0o600
    before = read_document(kept.read_bytes())
    assert before["entries"]["name"] == {"value": "Alice"}


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"a": 1}', '{"a": {"base64": "!"}}', '{"a": {"x": 1}}']
)
def test_an_edited_text_that_is_not_valid_writes_nothing(
    place: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("EDITOR", editor(tmp_path, f"text = {text!r}"))
    monkeypatch.delenv("VISUAL", raising=False)
    told = run("kv", "edit", "Greeter", "alice")
    assert told.code == USAGE and "nothing was written" in told.err
    assert json.loads(run("kv", "get", "Greeter", "alice", "count", "--json").out)["value"] == 3


def test_damage_in_the_way_has_its_own_code(place: Path, run: Run) -> None:
    current = place / "CURRENT"
    current.write_bytes(current.read_bytes().replace(b".manifest ", b".manifesT "))
    told = run("services")
    assert told.code == DAMAGED and "CURRENT" in told.err
    told = run("verify")
    assert told.code == NO and "damage" in told.out


def test_watch_shows_each_change(place: Path, run: Run) -> None:
    """Through the owner: the object, then what changed, then that it is gone."""
    import threading

    with kvengine.open(place, background="thread") as db:

        def work() -> None:
            time.sleep(0.3)
            db.object("Greeter", "alice").set("count", 4)
            time.sleep(0.3)
            db.clear_all("Greeter", "alice")

        thread = threading.Thread(target=work)
        thread.start()
        told = run("kv", "watch", "Greeter", "alice", "--interval", "20ms", "--count", "2")
        thread.join()
    assert told.code == 0
    assert '- "count" 3\n+ "count" 4\n' in told.out
    assert "gone" in told.out and '- "name" "Alice"\n' in told.out


@pytest.mark.parametrize("served", [True, False])
def test_watch_tells_of_what_expires(place: Path, run: Run, served: bool) -> None:
    """A lease that ran out was never shown: no commit happens then, and the version stays."""
    with kvengine.open(place, background="none", live_access=served) as db:
        db.set("Lease", "job", "holder", b'"me"', ttl=0.4)
        stamp = db.set("Lease", "job", "name", b'"j"')
        db.set("Lease", "other", "holder", b'"you"', ttl=0.8)
        watch = ["--interval", "20ms", "--count", "1"]
        told = run("kv", "watch", "Lease", "job", *watch)
        assert told.code == 0
        assert told.out.endswith(f'\nexpired; still version {stamp}\n- "holder" "me"\n')
        told = run("kv", "watch", "Lease", "other", *watch)
        assert told.out.endswith('\ngone\n- "holder" "you"\n')
        db.set("Lease", "job", "holder", b'"me"', ttl=0.3)
        told = run("kv", "watch", "Lease", "job", *watch, "--json")
        assert [set(json.loads(line)["entries"]) for line in told.out.splitlines()] == [
            {"holder", "name"},
            {"name"},
        ]


def test_a_patch_takes_names_as_they_are(place: Path, run: Run) -> None:
    """Pointers know ~0 and ~1 alone; names beyond ASCII and backslashes became others."""
    for name in ("é", "\\n", "\\", "a/b", "m~n"):
        pointer = "/" + name.replace("~", "~0").replace("/", "~1")
        patch = json.dumps([{"op": "add", "path": pointer, "value": 2}])
        assert run("kv", "patch", "Names", "k", "--patch", patch).code == 0
    with kvengine.open(place, read_only=True) as db:
        assert sorted(db.get_all("Names", "k")) == sorted(["é", "\\n", "\\", "a/b", "m~n"])


@pytest.mark.parametrize(("value", "given"), [("1", True), ("true", 1), ("[0]", [False])])
def test_a_test_of_a_patch_tells_true_from_one(
    place: Path, run: Run, value: str, given: object
) -> None:
    """A guarded edit went through: Python finds them equal."""
    run("kv", "set", "S", "k", "n", value)
    patch = [{"op": "test", "path": "/n", "value": given}, {"op": "remove", "path": "/n"}]
    assert run("kv", "patch", "S", "k", "--patch", json.dumps(patch)).code == USAGE
    with kvengine.open(place, read_only=True) as db:
        assert db.get("S", "k", "n") == value.encode()


def test_an_entry_that_expires_at_the_question_stays_gone(place: Path) -> None:
    """Its ttl counted from the answer: what had expired came back, the rest lived longer."""
    from kvengine.cli.edits import Edit
    from kvengine.storage.batch import Set
    from kvengine.store import StoredObject

    now = time.time()
    found = StoredObject("S", "k", 1, None, {"t": b"1", "u": b"1"}, {"t": now, "u": now + 9})
    edit = Edit("S", "k", found, {"t": b"2", "u": b"2"})
    edit.keep_ttls()
    time.sleep(0.05)
    (one,) = edit.batch().operations
    assert isinstance(one, Set) and one.state_key == "u" and one.ttl is None
    assert one.at == round((now + 9) * 1e6)


@pytest.mark.parametrize("words", [["--in", "9" * 400], ["--at", "inf"], ["--at", "nan"]])
def test_times_beyond_any_calendar_are_wrong_usage(place: Path, run: Run, words: list[str]) -> None:
    assert run("kv", "expire", "Greeter", "alice", *words).code == USAGE


def test_an_edit_of_which_nothing_is_left_is_not_told_as_applied(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that was to be set had expired by the time of the commit, which wrote nothing."""
    from kvengine.cli import edits

    with kvengine.open(place) as db:
        db.set("S", "k", "t", b"1", ttl=1000)
        version = db.version("S", "k")
    wait = edits.confirm

    def late(*arguments: object, **named: object) -> None:
        wait(*arguments, **named)  # type: ignore[arg-type]
        now = time.time()
        monkeypatch.setattr(edits, "wall", lambda: now + 2000)

    monkeypatch.setattr(edits, "confirm", late)
    patch = '[{"op": "replace", "path": "/t", "value": 2}]'
    told = run("kv", "patch", "S", "k", "--patch", patch, "--json")
    assert json.loads(told.out)["result"] == "nothing to do"
    monkeypatch.undo()
    with kvengine.open(place, read_only=True) as db:
        assert db.version("S", "k") == version
