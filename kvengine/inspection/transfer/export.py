"""Export: every object of one moment as JSON lines.

A line is a document (document.py). The last line tells that nothing is missing before it:

    {"end": {"objects": 2, "entries": 3, "bytes": 41}}

It counts the lines before it, their entries, and the bytes of their values. Whoever reads the
lines with other tools leaves it out by what it lacks, a service:
``jq 'select(.service)'``. `import_` holds the lines against it, and tells where it is missing.

An export that was broken off goes on: `resume` finds where the file's whole lines end, cut it
there, and export behind the last object into it. The second part is then of a later moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any, NamedTuple

import msgspec

from kvengine.inspection.document import BadDocument, document, line, read_document, value_of
from kvengine.inspection.transfer.walk import Counts, Pace, moment, walk
from kvengine.storage.names import Name
from kvengine.store import Reads

_END = b'{"end"'
_ANEW = "it cannot go on, export to a new file"


def export(
    reads: Reads,
    write_line: Callable[[str], object],
    *,
    service: str | None = None,
    prefix: str = "",
    after: Name | None = None,
    counted: Counts = Counts(),  # noqa: B008 - a tuple
    progress: Callable[[Counts], object] | None = None,
) -> Counts:
    """Export a store, or a snapshot; the counts that its last line tells. In memory: one object.

    ``write_line`` takes a line of ASCII without its end. ``service``, ``prefix`` of the key:
    only those. To go on, ``after`` and ``counted`` are what `resume` found: the last object that
    is there, and the counts up to it.
    """
    counts, pace = counted, Pace(progress)
    with (
        moment(reads) as held,
        closing(walk(held, service=service, prefix=prefix, after=after)) as objects,
    ):
        for found in objects:
            write_line(line(document(found)))
            counts = counts.plus(found.entries)
            pace.at(counts)
    write_line(line({"end": counts._asdict()}))
    pace.end(counts)
    return counts


class Resumption(NamedTuple):
    """Where an export goes on.

    ``after``: the last object that the file holds in whole, None for none; ``counts`` up to it;
    ``size``: bytes of the lines up to it: what is behind them is to be cut off. ``complete``:
    the end is there, and nothing is to be done.
    """

    after: Name | None
    counts: Counts
    size: int
    complete: bool


def resume(lines: Iterable[bytes]) -> Resumption:
    """What an export that was broken off holds, from its lines as a file gives them.

    BadDocument where a line before the last is none of an export, or out of order.
    """
    found = Resumption(None, Counts(), 0, False)
    broken = 0
    for number, text in enumerate(lines, 1):
        if broken or found.complete:
            raise BadDocument(f"line {broken or number} is no line of one export: {_ANEW}")
        if not text.endswith(b"\n"):
            broken = number
        elif is_end(text):
            found = _ended(found, text)
        else:
            try:
                found = _grown(found, text)
            except BadDocument:
                broken = number
    return found


def _grown(found: Resumption, text: bytes) -> Resumption:
    data = read_document(text)
    name = (data["service"], data["key"])
    if found.after is not None and name <= found.after:
        raise BadDocument(f"objects are not in order: {_ANEW}")
    counts = found.counts.plus(values_of(data))
    return Resumption(name, counts, found.size + len(text), False)


def _ended(found: Resumption, text: bytes) -> Resumption:
    if end_of(text) != found.counts:
        raise BadDocument(f"its last line tells of other lines than these: {_ANEW}")
    return found._replace(size=found.size + len(text), complete=True)


def is_end(text: bytes) -> bool:
    """Whether a line claims to be the last."""
    return text.lstrip().startswith(_END)


def end_of(text: bytes) -> Counts:
    """The counts that a last line tells; BadDocument where it does not."""
    try:
        told = _decode_end(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadDocument(f"not the end of an export: {error}") from None
    return Counts(told.end.objects, told.end.entries, told.end.bytes)


def values_of(data: dict[str, Any]) -> dict[str, bytes]:
    """The entries of a document as bytes; BadDocument names the entry that is none."""
    entries: dict[str, Any] = data["entries"]
    return {name: value_of(entry, f"entry {name!r}") for name, entry in entries.items()}


class _Told(msgspec.Struct):
    objects: int
    entries: int
    bytes: int


class _End(msgspec.Struct):
    end: _Told


_decode_end = msgspec.json.Decoder(_End).decode
