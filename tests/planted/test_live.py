"""Bugs planted in live access, in refresh and in the edits of tools: their tests must notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.patched import Change, must_find

pytestmark = [pytest.mark.planted, pytest.mark.timeout(300)]

VERBS = "tests/live/test_verbs.py"
SOCKET = "tests/live/test_socket.py"
LOAD = "tests/live/test_load.py"
RACES = "tests/live/test_races.py"
REFRESH = "tests/durability/test_refresh.py"
COMMANDS = "tests/cli/test_commands.py"

BUGS: dict[str, tuple[str, Change]] = {
    "an edit through the socket expects nothing": (
        VERBS,
        Change("share/verbs.py", "expect=expect", "expect=None"),
    ),
    "an edit of a tool expects nothing": (
        RACES,
        Change("cli/edits.py", "expect = None if force else {", "expect = None if True else {"),
    ),
    "a version that was demanded is not compared": (
        RACES,
        Change(
            "cli/edits.py",
            "if version is not None and version != edit.version and not force:",
            "if False:",
        ),
    ),
    "the socket is for everybody": (
        SOCKET,
        Change("share/server.py", "LIVE, 0o600", "LIVE, 0o666"),
    ),
    "the socket of a killed owner is in the way": (
        SOCKET,
        Change(
            "share/server.py",
            "        os.unlink(filenames.LIVE, dir_fd=place)\n    listener",
            "        pass\n    listener",
        ),
    ),
    "the socket stays behind": (
        SOCKET,
        Change(
            "share/server.py",
            "    os.unlink(filenames.LIVE, dir_fd=place)\n        with",
            "    pass\n        with",
        ),
    ),
    "a forked child keeps the socket": (
        SOCKET,
        Change(
            "share/server.py",
            "self._stopping = self._stopped = True\n        self._listener.close()",
            "self._stopping = self._stopped = True",
        ),
    ),
    "an unknown field of a request is passed over": (
        LOAD,
        Change("share/requests.py", "(Struct, forbid_unknown_fields=True)", "(Struct)"),
    ),
    "a tool whose request is arriving is silent": (
        LOAD,
        Change("share/server.py", "            and not arrives(pair[1].connection, 0)\n", ""),
    ),
    "tools that do not read fill the memory": (
        LOAD,
        Change("share/server.py", "self._unsent > _MOST_UNSENT", "False"),
    ),
    "a walk that failed keeps its place": (
        LOAD,
        Change("share/verbs.py", "self._walks.pop(number)  #", "self._walks[number]  #"),
    ),
    "a page of a walk loses its last item": (
        VERBS,
        Change(
            "share/verbs.py",
            "            if size >= _PAGE_BYTES:\n",
            "            if size >= _PAGE_BYTES:\n                items.pop()\n",
        ),
    ),
    "a snapshot reads what is there now": (
        VERBS,
        Change("share/verbs.py", "return self._snapshots[request.at]", "return store"),
    ),
    "a walk that is left stays open": (
        VERBS,
        Change("share/verbs.py", "    _end(self._walks.pop(request.walk))", "    pass"),
    ),
    "a range is cleared to its end": (
        VERBS,
        Change(
            "share/operations.py",
            "batch.clear_range(service, start, stop)",
            "batch.clear_range(service, start, None)",
        ),
    ),
    "times on the wire lose their fractions": (
        VERBS,
        Change(
            "share/operations.py",
            "batch.expire(service, key)\n                made[-1] = replace(made[-1], at=at,",
            "batch.expire(service, key)\n"
            "                made[-1] = replace(made[-1], at=at and at // 1000 * 1000,",
        ),
    ),
    "an edit in doubt does not say so": (
        LOAD,
        Change("share/link.py", 'again" if write and sent else', 'again" if False else'),
    ),
    "a reader keeps what it knew of the old segments": (
        REFRESH,
        Change(
            "storage/lifecycle/refresh.py",
            "        db.memo.clear()\n        db.spans.clear()\n        kept",
            "        db.spans.clear()\n        kept",
        ),
    ),
    "a refresh takes the past from open snapshots": (
        REFRESH,
        Change(
            "storage/lifecycle/refresh.py",
            "memtable.publish(changes, marks, db.snapshots.newest, db.snapshots.oldest)",
            "memtable.publish(changes, marks)",
        ),
    ),
    "a refresh does not look at the set of files": (
        REFRESH,
        Change("storage/lifecycle/refresh.py", "if life == db.life and _follow", "if _follow"),
    ),
    "a refresh forgets how far it has read": (
        REFRESH,
        Change("storage/lifecycle/refresh.py", "    db.catalog.wal_ends[number] = end\n", ""),
    ),
    "a refresh passes over damage": (
        REFRESH,
        Change(
            "storage/wal/file.py",
            "if record.proven_beyond(data, end, seed) > at + end:",
            "if False:",
        ),
    ),
    "an edit without a question clears": (
        COMMANDS,
        Change(
            "cli/edits.py",
            "        if asks:\n            raise",
            "        if False:\n            raise",
        ),
    ),
    "an unchanged value is written anew": (
        COMMANDS,
        Change(
            "cli/commands/kv_edit.py", "return msgspec.json.encode(known) != after", "return True"
        ),
    ),
    "a patch ends the life of an entry": (
        COMMANDS,
        Change("cli/commands/kv_patch.py", "        edit.keep_ttls()\n", ""),
    ),
    "control characters of errors reach the terminal": (
        COMMANDS,
        Change(
            "cli/__main__.py",
            "safe(without_passwords(text.getvalue()))",
            "without_passwords(text.getvalue())",
        ),
    ),
    "names in tables reach the terminal": (
        COMMANDS,
        Change("inspection/escape.py", "if character.isprintable():", "if True:"),
    ),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, tmp_path: Path) -> None:
    judge, change = BUGS[name]
    folders = {Path(judge).parent.name, "cli", "live"}
    must_find(tmp_path, [change], "", judge, judges=sorted(folders))
