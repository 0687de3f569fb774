"""What fingers type, and what they mistype: each is understood, or answered by what would be right.

A user of 0.1.0 typed `kvengine ls`, `kvengine kv get Greeter/alice` (as `kv clear` takes it),
`kvengine objects Greter` and `kvengine export > file`, and got: no such command, a missing
argument, silence with exit code 0, a missing argument.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import kvengine
from kvengine.cli.app import ALIASES, COMMANDS, KV
from kvengine.cli.exits import DONE, FAILED, NO, USAGE
from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("path", "apart"),
    [
        ("kv get Greeter/alice", "kv get Greeter alice"),
        ("kv get Greeter/alice/count", "kv get Greeter alice count"),
        ("kv keys Greeter/alice", "kv keys Greeter alice"),
        ("kv set Greeter/alice/count 9 -n", "kv set Greeter alice count 9 -n"),
        ("kv clear Greeter/alice/count -n", "kv clear Greeter alice count -n"),
        ("kv expire Greeter/alice --in 5m -n --json", "kv expire Greeter alice --in 5m -n --json"),
        ("kv patch Greeter/alice --patch [] ", "kv patch Greeter alice --patch []"),
        ("kv watch Greeter/alice --timeout 1ms", "kv watch Greeter alice --timeout 1ms"),
    ],
)
def test_names_are_a_path_or_separate(place: Path, run: Run, path: str, apart: str) -> None:
    joined, separate = run(*path.split()), run(*apart.split())
    assert joined.code == separate.code == DONE
    steady = re.compile(r'"expires_at":[\d.]+')
    assert steady.sub("", joined.out) == steady.sub("", separate.out) != ""


@pytest.mark.parametrize("command", ["kv get", "kv set", "kv keys", "kv expire", "kv edit"])
def test_a_service_alone_is_no_object(place: Path, run: Run, command: str) -> None:
    told = run(*command.split(), "Greeter", *(["--never"] if "expire" in command else []))
    assert told.code == USAGE
    assert "SERVICE/KEY" in told.err


@pytest.mark.parametrize(
    "words",
    ["kv get a b c d", "kv keys a/b/c", "ls a/b/c", "objects a b", "kv set a/b 1", "rm a b c d"],
)
def test_more_names_or_fewer_than_it_takes(place: Path, run: Run, words: str) -> None:
    told = run(*words.split())
    assert told.code == USAGE
    assert told.err.startswith("kvengine: give ") and "SERVICE" in told.err


def test_slashes_and_percent_signs_within_a_path(place: Path, run: Run) -> None:
    with kvengine.open(place) as db:
        db.set("S/1", "100%", "n/m", b"1")
    assert run("kv", "get", "S%2F1/100%25/n%2Fm").out == "1\n"
    assert run("objects", "S%2F1").out == '"100%"\n'
    assert run("kv", "get", "-q", '"S/1"/"100%"/"n/m"').out == "1\n"
    told = run("kv", "get", "S/1/100%/n")
    assert (told.code, "%2F" in told.err) == (USAGE, True)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("ls", "services"),
        ("list", "services"),
        ("ls Greeter", "objects Greeter"),
        ("ls Greeter/", "objects Greeter"),
        ("ls -l Greeter", "objects -l Greeter"),
        ("ls Greeter/alice", "kv keys Greeter/alice"),
        ("get Greeter/alice", "kv get Greeter/alice"),
        ("cat Greeter/alice", "kv get Greeter/alice"),
        ("show Greeter/alice", "kv get Greeter/alice"),
        ("keys Greeter/alice", "kv keys Greeter/alice"),
        ("set Greeter/alice/n 1 -n", "kv set Greeter/alice/n 1 -n"),
        ("put Greeter/alice/n 1 -n", "kv set Greeter/alice/n 1 -n"),
        ("rm Greeter/alice -n", "kv clear Greeter/alice -n"),
        ("del Greeter/alice -n", "kv clear Greeter/alice -n"),
        ("kv delete Greeter/alice -n", "kv clear Greeter/alice -n"),
        ("kv ls Greeter", "objects Greeter"),
        ("grep --contains Bob", "find --contains Bob"),
        ("check --json", "verify --json"),
        ("help", "--help"),
        ("help kv get", "kv get --help"),
        ("version", "--version"),
    ],
)
def test_other_names_of_commands(place: Path, run: Run, words: str, meant: str) -> None:
    told, wanted = run(*words.split()), run(*meant.split())
    assert told.code == wanted.code == DONE
    usage = re.compile(r"Usage: .*")
    assert usage.sub("", told.out) == usage.sub("", wanted.out) != ""


def test_every_alias_leads_to_a_command() -> None:
    for meant in (meant for names in ALIASES.values() for meant in names.values()):
        assert meant.removeprefix("kv ") in (KV if meant.startswith("kv ") else COMMANDS)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("servces", "services"),
        ("object Greeter", "objects"),
        ("kv gte Greeter alice", "get"),
        ("kv stats", "kvengine stats"),
        ("kv services", "kvengine services"),
        ("patc", "patch"),
    ],
)
def test_a_command_that_is_none(place: Path, run: Run, words: str, meant: str) -> None:
    told = run(*words.split())
    assert told.code == USAGE
    assert f"did you mean {meant}?" in told.err
    assert "did you mean" not in run("xyzzy").err


@pytest.mark.parametrize(
    "words",
    [
        "objects Greter",
        "objects Greter --json",
        "scan Greter",
        "kv get Greter/alice",
        "kv keys Greter/alice",
        "kv expire Greter/alice --never",
        "find --service Greter --key *",
        "export - --service Greter",
        "export out.jsonl --service Greter",
        "compact Greter",
        "copy . there --service Greter",
        "ls Greter",
        "count Greter",
    ],
)
def test_an_unknown_service(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """A typo looked like an empty service: nothing was printed, and a script went on."""
    monkeypatch.chdir(place)
    told = run(*words.split())
    assert (told.code, told.out) == (NO, "")
    assert told.err == 'kvengine: no service "Greter"; did you mean "Greeter"?\n'
    assert not (place / "out.jsonl").exists() and not (place / "there").exists()


def test_what_was_cleared_already(place: Path, run: Run) -> None:
    """To clear what is absent is no failure, so that a script may run twice; a typo is told."""
    told = run("kv", "clear", "Greter", "--yes")
    assert (told.code, told.out) == (DONE, "nothing to do\n")
    assert 'no service "Greter"; did you mean "Greeter"?' in told.err
    told = run("rm", "Greeter/alic", "--yes")
    assert (told.code, told.out) == (DONE, "nothing to do\n")
    assert 'did you mean "alice"?' in told.err


def test_an_unknown_object_or_entry(place: Path, run: Run) -> None:
    for words in (
        "kv get Greeter/alise",
        "kv keys Greeter/alise",
        "kv expire --never Greeter/alise",
    ):
        told = run(*words.split())
        assert told.code == NO
        assert told.err == 'kvengine: no object "Greeter" "alise"; did you mean "alice"?\n'
    told = run("kv", "get", "Greeter/alice/cuont")
    assert told.code == NO
    assert told.err == 'kvengine: no entry "cuont" in "Greeter" "alice"; did you mean "count"?\n'
    told = run("kv", "get", "Greeter/alice", "count")
    assert told.code == NO
    assert "did you mean Greeter/alice/count?" in told.err
    assert "did you mean" not in run("kv", "get", "Greeter/zzzz").err


def test_a_near_name_is_found_among_many(place: Path, run: Run) -> None:
    with kvengine.open(place) as db, db.batch() as batch:
        for number in range(50_000):
            batch.set("Many", f"user-{number:06}", "n", b"1")
    told = run("kv", "get", "Many/user-04712")
    assert 'did you mean "user-0' in told.err


def test_a_dash_is_standard_input(place: Path, run: Run) -> None:
    assert run("kv", "set", "Greeter/alice/count", "-", stdin=b"41\n").code == DONE
    assert run("kv", "get", "Greeter/alice/count").out == "41\n"
    assert run("kv", "set", "Greeter/alice/note", "-", "--text", stdin=b"two\nlines").code == DONE
    with kvengine.open(place) as db:
        assert db.get("Greeter", "alice", "note") == b"two\nlines"
    patch = b'[{"op": "replace", "path": "/count", "value": 42}]'
    assert run("kv", "patch", "Greeter/alice", "--patch", "-", stdin=patch).code == DONE
    assert run("kv", "get", "Greeter/alice/count").out == "42\n"


def test_a_value_that_is_missing(place: Path, run: Run) -> None:
    told = run("kv", "set", "Greeter/alice/count")
    assert (told.code, "- to read it from standard input" in told.err) == (USAGE, True)


def test_export_and_import_without_a_file_are_a_pipe(place: Path, run: Run) -> None:
    exported = run("export")
    assert exported.code == DONE and exported.out == run("export", "-").out
    told = run("--db", str(place.parent / "new"), "import", "--create", stdin=exported.out.encode())
    assert (told.code, told.out) == (DONE, "2 objects, 3 entries\n")


def test_plain_values_are_imported(place: Path, run: Run) -> None:
    """Who writes lines by hand, or has them from elsewhere, has values: not {"value": ...}."""
    lines = b'{"service":"S","key":"k","entries":{"name":"Al","n":1,"x":null,"o":{"value":2}}}\n'
    refused = run("import", "-", stdin=lines)
    assert (refused.code, "--plain" in refused.err) == (USAGE, True)
    told = run("import", "-", "--plain", stdin=lines)
    assert (told.code, told.out) == (DONE, "1 object, 4 entries\n")
    with kvengine.open(place) as db:
        assert db.get_all("S", "k") == {
            "name": b'"Al"',
            "n": b"1",
            "o": b'{"value":2}',
            "x": b"null",
        }


def test_objects_are_listed_with_a_header_and_sorted(place: Path, run: Run) -> None:
    with kvengine.open(place) as db:
        for key, size in (("c", 10), ("a", 3000), ("b", 200)):
            db.set("Sized", key, "n", b"x" * size)
            db.set("Sized", key, "m" * size, b"")
        db.expire("Sized", "b", ttl=60)
    shown = run("objects", "Sized", "--long").out.splitlines()
    assert shown[0].split() == ["changed", "entries", "bytes", "key"]
    at = shown[0].index("key")
    assert [line[at:].split()[0] for line in shown[1:]] == ['"a"', '"b"', '"c"']
    assert ["expires" in line for line in shown] == [False, False, True, False]

    def order(*options: str) -> str:
        lines = run("objects", "Sized", "--json", *options).out.splitlines()
        return "".join(json.loads(line)["key"] for line in lines)

    assert order() == "abc"
    assert order("--reverse") == "cba"
    assert order("--reverse", "--limit", "2") == "cb"
    assert order("--reverse", "--after", "c") == "ba"
    assert order("--sort", "bytes") == "cba"
    assert order("--sort", "bytes", "--reverse", "--limit", "1") == "a"
    assert order("--sort", "changed") == "cab"
    assert order("--sort", "expires") == "bac"
    assert order("--sort", "key", "-r") == "cba"


def test_the_newest_of_a_queue(place: Path, run: Run) -> None:
    """The last ones first, of files and through an owner: no more is read than is shown."""
    with kvengine.open(place) as db:
        for number in range(100):
            db.set("Queue", f"{number:03}", "n", b"%d" % number)
            db.set("Log", "l", f"{number:03}", b"1")
        for _ in range(2):
            assert run("objects", "Queue", "-r", "--limit", "2").out == '"099"\n"098"\n'
            assert run("kv", "keys", "Log/l", "-r", "--limit", "2").out == '"099"\n"098"\n'
            told = run("kv", "keys", "Log/l", "-r", "--limit", "2", "--after", "098")
            assert told.out == '"097"\n"096"\n'
            lines = run("scan", "Queue", "--reverse", "--limit", "2", "--json").out.splitlines()
            assert [json.loads(line)["key"] for line in lines] == ["099", "098"]
            told = run("objects", "Queue", "--limit", "1", "--after", "0435", "--prefix", "04")
            assert told.out == '"044"\n'
            db.close()


def test_count(place: Path, run: Run) -> None:
    assert run("count", "Greeter").out == "2\n"
    assert json.loads(run("count", "Greeter", "--prefix", "al", "--json").out) == {
        "service": "Greeter",
        "prefix": "al",
        "objects": 1,
    }


def test_stats_say_what_nobody_can_know(place: Path, run: Run) -> None:
    """Commits, syncs and stalls are counted by the process that has the database open.

    Where none has, the tool showed its own zeros: "commits 0" of a database of many commits.
    """
    closed = run("stats")
    assert not re.search(r"^(commits|syncs|stalls|cache_bytes|background) ", closed.out, re.M)
    assert re.search(r"^not known: .*commits.*no process", closed.out.replace("\n  ", " "), re.M)
    data = json.loads(run("stats", "--json").out)
    assert data["commits"] is data["stall_seconds"] is data["background"] is None
    assert data["bytes_on_disk"] > 0
    with kvengine.open(place) as db:
        db.set("S", "k", "n", b"1")
        assert json.loads(run("stats", "--json").out)["commits"] == 1
        assert "not known" not in run("stats").out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--db nowhere stats", "holds no database"),
        ("--db nowhere ui", "holds no database"),
        ("--db nowhere repair into", "is no directory"),
        ("--db nowhere backup into", "holds no database"),
        ("verify nowhere", "does not exist"),
        ("copy nowhere into", "holds no database"),
        ("--db nowhere import x.jsonl", "--create"),
    ],
)
def test_no_database_is_told_in_words_of_the_command_line(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    """That create=True makes a database is of no use to who types commands."""
    monkeypatch.chdir(place.parent)
    (place.parent / "x.jsonl").write_text("")
    found = run(*words.split())
    assert found.code == 4
    assert told in found.err and "=True" not in found.err and found.err.count("\n") == 1
    assert not (place.parent / "nowhere").exists() and not (place.parent / "into").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("--host example.org", USAGE, "--host must be an IP address or localhost"),
        ("--host 0.0.0.0", USAGE, "--host must be one address"),
        ("--host 192.0.2.1", FAILED, "192.0.2.1 is no address of this machine: choose another"),
        ("--port {taken}", FAILED, "of 127.0.0.1 is in use: choose another --port"),
    ],
)
def test_a_page_that_cannot_be_served(
    place: Path, run: Run, words: str, code: int, told: str
) -> None:
    """The system's "Cannot assign requested address" named neither the address nor the option."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        found = run("ui", *words.format(taken=other.getsockname()[1]).split())
    assert found.code == code
    assert told in found.err and found.err.count("\n") == 1 and found.out == ""


def test_names_are_utf8_in_any_locale(tmp_path: Path) -> None:
    """In a plain C locale Python reads arguments as ASCII: "Größe" was "not UTF-8", which it is."""
    with kvengine.open(tmp_path / "db") as db:
        db.set("Größe", "k", "n", b"1")
    plain = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "kvengine", "--db", str(tmp_path / "db"), "kv", "get", "Größe/k/n"],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, **plain},
    )
    assert (done.returncode, done.stdout.strip()) == (0, b"1"), done.stderr
