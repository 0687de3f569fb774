"""Large rows: their entries lie in chunks behind a head."""

from __future__ import annotations

from kvengine.storage import row as rows
from kvengine.storage.row import Entry, Row


def cut(row: Row, size: int) -> list[tuple[str, int, bytes]]:
    """Return a large row cut into chunks of about ``size`` bytes: first state key, count, body."""
    out: list[tuple[str, int, bytes]] = []
    part: dict[str, Entry] = {}
    weight = 0

    def end() -> None:
        made = rows.make(row.version, part)
        out.append((next(iter(part)), len(part), rows.encode(made)))

    for name, entry in row.entries.items():
        part[name] = entry
        weight += len(name) + len(_value(entry)) + 8
        if weight >= size:
            end()
            part, weight = {}, 0
    if part:
        end()
    return out


def _value(entry: Entry) -> bytes:
    """Return the bytes of an entry's value, b"" for a tombstone."""
    if entry.__class__ is tuple:
        return entry[1]
    return entry or b""  # type: ignore[return-value]
