"""The database of the examples in docs/cli.md: small, of a fixed time, the same each time."""

from __future__ import annotations

from pathlib import Path

import kvengine
from kvengine.storage.clock import ManualClock

BEGIN = 1_767_600_000.0
"""2026-01-05 08:00 UTC."""

FAR = 4_102_444_800.0
"""2100-01-01."""


def make(path: Path) -> None:
    """A segment of carts and orders, a WAL with what came later, a large object."""
    clock = ManualClock(BEGIN)
    with kvengine.open(path, clock=clock, background="none") as db:
        for number in range(1, 6):
            cart = db.object("Cart", f"c-{number}")
            cart.set("items", ["tea", "milk"][: number % 3])
            cart.set("total", number * 4.5)
            clock.advance(60)
        alice = db.object("Customer", "alice")
        alice.set("name", "Alice")
        alice.set("visits", 3)
        db.set("Customer", "alice", "avatar", bytes.fromhex("89504e47"))
        db.set("Customer", "alice", "note", b"")
        db.set("Customer", "b\u00f6b \u202eevil\x1b[31m", "name", b'"B\xc3\xb6b"')
        clock.advance(60)
        order = db.object("Order", "o-17")
        order.set("status", "paid")
        order.set("lines", [{"sku": "tea", "count": 2}])
        db.expire("Order", "o-17", at=FAR)
        db.flush()
        clock.advance(3600)
        db.object("Order", "o-18").set("status", "new")
        db.clear("Cart", "c-2", "total")
        db.set("Customer", "alice", "token", b'"t0k3n"', ttl=FAR - clock.wall() / 1e6)
