"""Every verb of the engine, to see which of them are refused."""

from __future__ import annotations

from collections.abc import Callable

import kvengine

Verb = Callable[[kvengine.Engine], object]


def _write(db: kvengine.Engine) -> int:
    batch = kvengine.Batch()
    batch.set("s", "k", "n", b"1")
    return db.write(batch)


READS: dict[str, Verb] = {
    "get": lambda db: db.get("s", "k", "n"),
    "get_many": lambda db: db.get_many("s", "k", ["n"]),
    "get_all": lambda db: db.get_all("s", "k"),
    "load": lambda db: db.load("s", "k"),
    "load_part": lambda db: db.load("s", "k", max_bytes=10),
    "state_keys": lambda db: db.state_keys("s", "k"),
    "expires_at": lambda db: db.expires_at("s", "k"),
    "version": lambda db: db.version("s", "k"),
    "services": lambda db: db.services(),
    "object_keys": lambda db: list(db.object_keys("s")),
    "scan": lambda db: list(db.scan("s")),
    "snapshot": lambda db: db.snapshot().close(),
    "stats": lambda db: db.stats(),
}
WRITES: dict[str, Verb] = {
    "set": lambda db: db.set("s", "k", "n", b"1"),
    "clear": lambda db: db.clear("s", "k", "n"),
    "clear_all": lambda db: db.clear_all("s", "k"),
    "clear_service": lambda db: db.clear_service("s"),
    "clear_range": lambda db: db.clear_range("s", "a", None),
    "expire": lambda db: db.expire("s", "k", ttl=1),
    "batch": lambda db: db.batch(),
    "write": _write,
    "flush": lambda db: db.flush(),
    "compact": lambda db: db.compact(),
    "checkpoint": lambda db: db.checkpoint(f"{db.path}-copy"),
}
VERBS = {**READS, **WRITES, "verify": lambda db: db.verify()}


def refused(db: kvengine.Engine, verbs: dict[str, Verb], error: type[Exception]) -> list[str]:
    """The verbs that do not raise ``error``, and what they do instead."""
    wrong = []
    for name, verb in verbs.items():
        try:
            verb(db)
        except error:
            continue
        except BaseException as other:
            wrong.append(f"{name}: {other!r}")
        else:
            wrong.append(f"{name}: no error")
    return wrong
