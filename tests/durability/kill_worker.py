"""Worker: forks children that write to a database until they are killed.

A line ``path options`` on standard input forks one child. Each child prints the
number of a commit when it has returned and before it begins the next; after its
end the parent prints ``dead`` and the status. What a commit writes depends on its
number alone, so whoever knows the number knows the state.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from random import Random
from typing import NamedTuple

import kvengine
import kvengine.engine  # before the forks: no child shall spend its life on imports

KEYS = [f"k{n:02}" for n in range(12)]
SERVICE = "s"


class Write(NamedTuple):
    """One write verb of a commit: its name, the object's key, and the rest."""

    verb: str
    key: str
    more: tuple[object, ...]


def writes(number: int) -> list[Write]:
    """What commit ``number`` writes."""
    rng = Random(number)
    found = []
    for _ in range(rng.randint(1, 4)):
        key = rng.choice(KEYS)
        chance = rng.random()
        if chance < 0.7:
            value = b"%d." % number * rng.randint(1, 300)
            found.append(Write("set", key, (rng.choice("abc"), value)))
        elif chance < 0.78:
            found.append(Write("clear", key, (rng.choice("abc"),)))
        elif chance < 0.85:
            found.append(Write("clear_all", key, ()))
        elif chance < 0.9:
            found.append(Write("clear_range", key, (rng.choice(KEYS),)))
        else:
            at = rng.choice([None, 1.0, 4e9 + number])
            found.append(Write("expire", key, (at,)))
    return found


class Model:
    """The state after each commit: of each object its entries and when it expires."""

    def __init__(self) -> None:
        self.number = 0
        self.objects: dict[str, dict[str, bytes]] = {}
        self.expiries: dict[str, float | None] = {}

    def advance(self, number: int) -> None:
        """Be as after commit ``number``."""
        while self.number < number:
            self.number += 1
            for one in writes(self.number):
                self._apply(one)

    def live(self) -> dict[str, tuple[dict[str, bytes], float | None]]:
        return {
            key: (entries, self.expiries.get(key))
            for key, entries in self.objects.items()
            if entries
        }

    def _apply(self, write: Write) -> None:
        key = write.key
        entries = self.objects.setdefault(key, {})
        if write.verb == "set":
            name, value = write.more
            entries[str(name)] = value  # type: ignore[assignment]
        elif write.verb == "clear":
            entries.pop(str(write.more[0]), None)
        elif write.verb == "clear_all":
            self._forget(key)
        elif write.verb == "clear_range":
            for one in list(self.objects):
                if key <= one < str(write.more[0]):
                    self._forget(one)
        elif entries:
            at = write.more[0]
            if at == 1.0:
                self._forget(key)
            else:
                self.expiries[key] = at  # type: ignore[assignment]

    def _forget(self, key: str) -> None:
        self.objects.pop(key, None)
        self.expiries.pop(key, None)


def commit(db: kvengine.Engine, number: int) -> None:
    batch = kvengine.Batch()
    for one in writes(number):
        if one.verb == "set":
            batch.set(SERVICE, one.key, *one.more)  # type: ignore[arg-type]
        elif one.verb == "clear":
            batch.clear(SERVICE, one.key, *one.more)  # type: ignore[arg-type]
        elif one.verb == "clear_all":
            batch.clear_all(SERVICE, one.key)
        elif one.verb == "clear_range":
            batch.clear_range(SERVICE, one.key, *one.more)  # type: ignore[arg-type]
        else:
            batch.expire(SERVICE, one.key, at=one.more[0])  # type: ignore[arg-type]
    batch.set("meta", "commits", "number", b"%d" % number)
    db.write(batch, durability="sync" if number % 8 == 0 else "os")


def last_commit(reads: kvengine.Engine) -> int:
    return int(reads.get("meta", "commits", "number") or 0)


def child(path: str, options: dict[str, object]) -> None:
    """Recover the database and write to it for ever."""
    db = kvengine.open(path, **options)
    number = last_commit(db)
    while True:
        number += 1
        commit(db, number)
        os.write(1, b"%d\n" % number)


def main() -> None:
    for line in sys.stdin:
        path, options = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                child(path, options)
            except BaseException:
                os.write(1, b"error %r\n" % traceback.format_exc())
            os._exit(1)
        os.write(1, b"pid %d\n" % pid)
        _, status = os.waitpid(pid, 0)
        os.write(1, b"dead %d\n" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
