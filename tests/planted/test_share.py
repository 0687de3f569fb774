"""Bugs planted in the sharing of a directory, in refresh and in the edits of tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.patched import Change, must_find

pytestmark = [pytest.mark.planted, pytest.mark.timeout(300)]

VERBS = "tests/share/test_verbs.py"
SOCKET = "tests/share/test_socket.py"
LOAD = "tests/share/test_load.py"
HOSTILE = "tests/share/test_hostile.py"
RACES = "tests/share/test_lost_updates.py"
REFRESH = "tests/durability/test_refresh.py"
COMMANDS = "tests/cli/test_commands.py"
ASYNCIO = "tests/share/test_asyncio.py"

BUGS: dict[str, tuple[str, Change]] = {
    "an edit through the socket expects nothing": (
        VERBS,
        Change(
            "share/verbs.py",
            "committer.write_once(batch, expect,",
            "committer.write_once(batch, None,",
        ),
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
        Change("share/transport.py", "LIVE, 0o600", "LIVE, 0o666"),
    ),
    "the socket of a killed owner is in the way": (
        SOCKET,
        Change(
            "share/transport.py",
            "        os.unlink(LIVE, dir_fd=place)\n    listener",
            "        pass\n    listener",
        ),
    ),
    "the socket stays behind": (
        SOCKET,
        Change(
            "share/server.py",
            "    os.unlink(filenames.LIVE, dir_fd=place)\n\n    def",
            "    pass\n\n    def",
        ),
    ),
    "the socket of an owner stays though its last client has left": (
        SOCKET,
        Change("share/server.py", "        self._serve(0)\n", ""),
    ),
    "a forked child keeps the socket": (
        SOCKET,
        Change(
            "share/server.py",
            "self._stopping = self._stopped = True\n        self._close()",
            "self._stopping = self._stopped = True",
        ),
    ),
    "one argument more of a request is passed over": (
        LOAD,
        Change(
            "share/operations.py", "array_like=True, forbid_unknown_fields=True", "array_like=True"
        ),
    ),
    "a client whose request is arriving is silent": (
        LOAD,
        Change("share/server.py", "each.is_busy or each.arrived for", "each.is_busy for"),
    ),
    "clients that do not read fill the memory": (
        LOAD,
        Change("share/server.py", "arrived or self._unsent > _MOST_UNSENT or", "arrived or"),
    ),
    "the answers to many requests at once fill the memory": (
        HOSTILE,
        Change(
            "share/server.py", "(connection.is_busy or connection.unsent)", "connection.is_busy"
        ),
    ),
    "half requests fill the memory": (
        HOSTILE,
        Change("share/server.py", "if self._unfinished > _MOST_UNSENT:", "if False:"),
    ),
    "a byte now and then keeps a place": (
        HOSTILE,
        Change("share/server.py", "if connection.client is not None:  # else", "if True:  #"),
    ),
    "one client takes all connections": (
        HOSTILE,
        Change("share/server.py", "if len(client.connections) > MOST_OF_A_CLIENT:", "if False:"),
    ),
    "each thread opens a connection": (
        HOSTILE,
        Change("share/owner.py", "MOST_LINKS = 32", "MOST_LINKS = 1000"),
    ),
    "a request without a thread is answered again and again": (
        HOSTILE,
        Change(
            "share/server.py",
            "self._answer(connection, wire.refusal(error))\n"
            "            return\n"
            "        self._begin",
            "self._begin(connection)\n"
            "            self._finish(connection, wire.refusal(error))\n"
            "            return\n"
            "        self._begin",
        ),
    ),
    "anything is made of an option": (
        HOSTILE,
        Change("share/requests.py", "dict[str, str | int | bool | None]", "dict[str, object]"),
    ),
    "a client that is gone keeps what it gets then": (
        HOSTILE,
        Change(
            "share/holdings.py",
            "        if self._is_closed:\n            self.close()",
            "        if False:\n            self.close()",
        ),
    ),
    "an object goes on before its commit is visible": (
        HOSTILE,
        Change(
            "share/holdings.py",
            "if name in self._committing:\n                self._committing[name] = True",
            "if False:\n                self._committing[name] = True",
        ),
    ),
    "a client that is gone keeps its objects": (
        HOSTILE,
        Change(
            "share/holdings.py",
            "        for name in (*self._turns,):\n",
            "        for name in ():\n",
        ),
    ),
    "a client that is gone keeps its snapshots": (
        HOSTILE,
        Change(
            "share/holdings.py",
            "            self.leave(name)\n        self.let_go()\n",
            "            self.leave(name)\n",
        ),
    ),
    "what is no name is claimed": (
        HOSTILE,
        Change(
            "share/verbs.py",
            "object_name(asked.service, asked.key)  #",
            "(asked.service, asked.key)  #",
        ),
    ),
    "an expiry may be beyond all times": (
        HOSTILE,
        Change(
            "share/requests.py",
            "at: Time | None\n    ttl: Time | None",
            "at: int | None\n    ttl: int | None",
        ),
    ),
    "a connection need not join": (
        HOSTILE,
        Change("share/server.py", "if type(request) is not Join or connection", "if connection"),
    ),
    "an owner out of descriptors takes no client any more": (
        HOSTILE,
        Change("share/server.py", "if not (self._is_listening or self._stopping):", "if False:"),
    ),
    "a walk that failed keeps its place": (
        LOAD,
        Change(
            "share/holdings.py",
            "return self._page(next(self._numbers), walk)",
            "number = next(self._numbers)\n"
            "        self._walks[number] = walk\n"
            "        return self._page(number, walk)",
        ),
    ),
    "a page of a walk loses its last item": (
        VERBS,
        Change(
            "share/holdings.py",
            "            if size >= _PAGE_BYTES:\n",
            "            if size >= _PAGE_BYTES:\n                items.pop()\n",
        ),
    ),
    "a snapshot reads what is there now": (
        VERBS,
        Change("share/verbs.py", "store if at is None else client.snapshot(at)", "store"),
    ),
    "a walk that is left stays open": (
        VERBS,
        Change(
            "share/holdings.py",
            "walk = self._walks.pop(number, None)\n        if walk",
            "walk = None\n        if walk",
        ),
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
    "a commit in doubt does not say so": (
        LOAD,
        Change("share/member.py", "raise self.in_doubt(error)", "raise error"),
    ),
    "who was cancelled is passed over": (
        ASYNCIO,
        Change(
            "share/pipeline.py",
            "            if not answer.done():  # else",
            "            while answer.done() and self.waiting:\n"
            "                answer = self.waiting.popleft()\n"
            "            if not answer.done():  # else",
        ),
    ),
    "an owner that answers is taken for silent": (
        ASYNCIO,
        Change(
            "share/pipeline.py",
            "        self._since = self._loop.time()\n        begin",
            "        begin",
        ),
    ),
    "reads and commits wait for each other": (
        ASYNCIO,
        Change("share/pipeline.py", "self._of(self._writing,", "self._of(self._reading,"),
    ),
    "a commit is sent again as another one": (
        ASYNCIO,
        Change("share/member.py", "else self._token\n", "else self._member.token()\n"),
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
    folders = {Path(judge).parent.name, "cli", "share"}
    must_find(tmp_path, [change], "", judge, judges=sorted(folders))
