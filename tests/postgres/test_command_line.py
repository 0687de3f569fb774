"""The command line on a PostgreSQL URL: it prints what it prints of a directory."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import kvengine
from kvengine.cli.exits import UNAVAILABLE, USAGE
from tests.cli import shop
from tests.cli.conftest import Run, run
from tests.cli.golden import steady
from tests.postgres.servers import Postgres

__all__ = ["run"]  # the fixture

COMMANDS = """
    ls
    services --json
    services --count
    ls Cart --limit 2
    ls Customer/alice
    ls Carts
    count Cart
    count Cart --prefix c-1
    objects Cart --after c-3 --reverse --json
    objects Cart --long --sort bytes --reverse --limit 2
    scan
    scan Cart --prefix c- --reverse --limit 1 --json
    kv keys Customer alice --prefix n --after name
    kv get Customer alice
    kv get Customer alice --json
    kv get Customer alice avatar --binary base64
    kv get Customer alice name --raw
    kv get -q Customer '"böb \\u202eevil\\x1b[31m"'
    kv get Customer nobody
    kv get Customer alice nothing
    find --contains tea
    find --key 'c-[1-3]' --state-key total
    find --json-path '$[0].count' --equals 2 --json
    export -
    export - --service Cart --prefix c-1
    kv watch Cart c-1 --timeout 20ms --interval 10ms
    kv set Customer alice visits 4
    kv set Customer alice visits 4
    kv set Customer alice visits 9 --version 1
    kv set Customer alice visits 5 --dry-run
    kv set Customer alice greeting hello --text --ttl 30m
    kv patch Order o-18 --patch '[{"op": "add", "path": "/lines", "value": ["milk"]}]'
    kv edit Cart c-4
    kv expire Order o-18 --in 2h
    kv expire Order o-18 --never
    kv expire Order nothing --in 2h
    kv clear Customer/alice/note
    kv clear Customer/alice/note --yes
    kv clear Cart c-2 --yes --json
    kv clear Cart --yes
    kv clear Cart --yes
    import - --partial --mode skip
    import - --partial --mode new
    import - --partial --mode merge --json
    scan --json
"""
LINE = b'{"service":"Order","key":"o-18","entries":{"status":{"value":"old"}}}'
"""What is imported."""


@pytest.fixture
def homes(database: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A directory, and a schema that has the same objects."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("EDITOR", "sed -i 's/18/19/'")
    directory, lines = str(tmp_path / "shop"), str(tmp_path / "lines")
    shop.make(Path(directory))
    assert run("-d", directory, "export", lines).code == 0
    assert run("-d", database, "import", lines).code == UNAVAILABLE, "nobody has made the schema"
    assert run("-d", database, "import", lines, "--create").code == 0
    return [directory, database]


def test_commands_print_the_same_of_both_homes(homes: list[str], run: Run) -> None:
    """A session of all commands that read and edit, on either: the same text and codes."""
    different = []
    for line in COMMANDS.strip().splitlines():
        told = [run(*shlex.split(line), "-d", home, stdin=LINE) for home in homes]
        here, there = ((code, steady(out), _steady(err)) for code, out, err in told)
        if here != there:
            different.append(f"{line}\n  {here}\n  {there}")
    assert not different, "\n".join(different)


def _steady(errors: str) -> str:
    return re.sub(r"(?<=/replaced/)\S+", "<file>", errors)


def test_large_services_are_estimated(database: str, run: Run) -> None:
    """Past 1,000 objects figures have a "~", and `count` is exact."""
    with kvengine.connect(database) as store, store.batch() as batch:
        for number in range(1500):
            batch.set("Large", f"{number:04}", "n", b"1")
        batch.set("Small", "k", "n", b"1")
    large, small = run("-d", database, "services").out.splitlines()[1:]
    assert re.fullmatch(r'"Large" +~1,\d\d\d +~[\d,.]+ \w+', large)
    assert re.fullmatch(r'"Small" +1 +2 B', small)
    assert run("-d", database, "count", "Large").out == "1500\n"


def test_an_estimate_follows_the_statistics_of_the_planner(
    database: str, postgres: Postgres
) -> None:
    """Objects and bytes are about right, after an ANALYZE, whatever other services hold."""
    with kvengine.connect(database) as store:
        for service, objects, size in (("few", 10, 10), ("many", 6000, 20), ("large", 2000, 200)):
            with store.batch() as batch:
                for number in range(objects):
                    batch.set(service, f"{number:05}", "n", bytes(size - 1))
        postgres.psql(f"ANALYZE {store.client.schema}.objects")
        assert store.estimate("few") == (10, 100)
        assert store.estimate("none") == (0, 0)
        assert store.estimate("large", prefix="0001") == (10, 2000)
        for service, objects, size in (("many", 6000, 120_000), ("large", 2000, 400_000)):
            found = store.estimate(service)
            assert abs(found.objects - objects) < 0.2 * objects
            assert abs(found.bytes - size) < 0.2 * size


@pytest.fixture
def stranger(postgres: Postgres) -> Iterator[str]:
    """A user of the server who may do nothing."""
    postgres.start()
    postgres.psql("CREATE ROLE stranger LOGIN PASSWORD 'secret'")
    yield "stranger"
    postgres.psql("DROP ROLE stranger")


def test_what_a_server_refuses_is_said_in_a_sentence(
    database: str, postgres: Postgres, stranger: str, run: Run
) -> None:
    """Each has the code of docs/cli.md, and shows no password."""

    def told(url: str, code: int, words: str) -> None:
        for line in ("ls", "kv set S k n 1"):
            found = run("-d", url, *line.split())
            (sentence,) = found.err.splitlines()
            assert (found.code, found.out) == (code, "")
            assert re.search(words, sentence), sentence
            assert "secret" not in sentence

    as_stranger = database.replace("postgres@", f"{stranger}:secret@", 1)
    told(database, UNAVAILABLE, "no schema .* is there")
    kvengine.connect(database).close()
    told(f"{database}&kv_schemes=x", USAGE, "no such parameter: kv_schemes")
    told(as_stranger, UNAVAILABLE, "permission denied.*grant it")
    told(as_stranger.replace(stranger, "nobody"), UNAVAILABLE, "role .* does not exist")
    told(re.sub(r":\d+/", ":1/", as_stranger), UNAVAILABLE, "Connection refused")
    schema = database.partition("=")[2]
    postgres.psql(f"UPDATE {schema}.schema_version SET version = 1000")
    told(database, UNAVAILABLE, "later release .*upgrade kvengine")
