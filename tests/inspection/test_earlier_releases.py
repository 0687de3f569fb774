"""The way over from release 0.1.0: its export, made by that release and kept here, is imported.

Format 2 does not read directories of 0.1, so an export that this release cannot take would leave
its users with no way at all. From 0.2.0 on each release reads the files of the one before.
"""

from __future__ import annotations

from pathlib import Path

import kvengine
from tests.cli.conftest import Run, run

__all__ = ["run"]

EXPORT = Path(__file__).parent / "exports" / "0.1.0.jsonl"
FAR = 4_102_444_800.0
"""2100-01-01."""


def test_an_export_of_0_1_0_is_imported(run: Run, tmp_path: Path) -> None:
    """Every value to the byte: JSON however it is spaced, text, bytes, odd names, expiries."""
    told = run("--db", str(tmp_path / "db"), "import", str(EXPORT), "--create")
    assert (told.code, told.out) == (0, "45 objects, 52 entries\n")
    with kvengine.open(tmp_path / "db") as db:
        assert db.services() == ["", "Greeter", "Order", "Queue", "Session", "nul\0"]
        assert db.get_all("Greeter", "alice") == {
            "bytes": bytes(range(256)),
            "count": b"4",
            "empty": b"",
            "name": b'"Alice"',
            "spaced": b'{ "a" : 1.50 }',
            "tags": b'["a",{"b":null}]',
            "text": "böb\n".encode(),
        }
        assert db.get("", "", "") == b"0"
        assert db.get("nul\0", "slash/%", "\U0001f600") == b'"x"'
        queue = [(found.key, found.entries) for found in db.scan("Queue")]
        assert queue == [(f"{i}", {"n": b"%d" % i}) for i in range(1000, 1040)]
        assert db.expires_at("Order", "o-17") == FAR
        session = db.load("Session", "s")
        assert session is not None and session.entries == {"kept": b"1", "token": b'"t"'}
        assert session.expiries is not None and abs(session.expiries["token"] - FAR) < 1
        assert db.object("Greeter", "alice").get("tags") == ["a", {"b": None}]


def test_what_is_imported_is_exported_alike(run: Run, tmp_path: Path) -> None:
    """Lines of this release differ in versions alone, so that tools read both."""
    path = str(tmp_path / "db")
    run("--db", path, "import", str(EXPORT), "--create")
    told = run("--db", path, "export")
    assert steady(told.out) == steady(EXPORT.read_text("utf-8"))


def steady(lines: str) -> list[str]:
    """Lines of an export without versions, and without the time at which an entry's ttl was set."""
    found = []
    for line in lines.splitlines():
        head, version, rest = line.partition('"version":')
        rest = rest.partition(",")[2] if version else rest
        found.append(head + rest.split('"expires_at":4102444800.')[0])
    return found
