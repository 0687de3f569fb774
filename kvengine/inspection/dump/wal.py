"""A WAL file as text: its commits, what was proven synced, and where it ends. Needs the file alone.

What the file cannot know is what others prove of it: the next WAL's header and the
manifest state where its content ends. `audit` (verify.py) holds it against them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kvengine.errors import CorruptionError
from kvengine.fs.base import FileSystem
from kvengine.fs.disk import DiskFileSystem
from kvengine.inspection import escape
from kvengine.inspection.dump import parts
from kvengine.inspection.dump.logs import Gap, LogFile, salt_of
from kvengine.inspection.dump.parts import Item
from kvengine.storage import filenames
from kvengine.storage.checksum import salt
from kvengine.storage.record import Record
from kvengine.storage.row import decode
from kvengine.storage.wal.format import (
    FORMAT_VERSION,
    HEADER_SIZE,
    Commit,
    Header,
    decode_commit,
    decode_header,
    encode_header,
)

_IDENTITY = 36
"""Bytes of a header that tell which WAL it is: magic, version, database and number."""


class Logged(NamedTuple):
    """A record and the commit in it, None where it holds none (``fault`` says why).

    ``kept``: an open reads it. The others lie behind bytes that are no record.
    """

    record: Record
    commit: Commit | None
    fault: str
    kept: bool


class WalFile(LogFile):
    """A WAL file. ``header`` is None where it is damaged or was never written: ``header_fault``."""

    def __init__(self, fs: FileSystem, path: str, database_id: bytes | None = None) -> None:
        """``database_id``: where it is known from elsewhere; it is not looked at if not needed."""
        super().__init__(fs, path, HEADER_SIZE)
        self.header: Header | None = None
        self.header_fault: str = ""
        self.last_stamp: int = 0
        self.count: int = 0
        data = self.read(HEADER_SIZE, 0)
        try:
            self.header = decode_header(data)
        except ValueError as error:
            self.header_fault = str(error)
        self.blank_header: bool = not data.strip(b"\0")
        self._find_salt(database_id)

    def _find_salt(self, database_id: bytes | None) -> None:
        """From the header, from elsewhere and the file's name, or from the first record."""
        parsed = filenames.parse(self.path.rpartition("/")[2])
        if self.header is not None:
            self.use(salt(self.header.database_id, self.header.number))
        elif database_id is not None and parsed is not None:
            self.use(salt(database_id, parsed.number))
        else:
            guess = salt_of(int.from_bytes(self.read(4, HEADER_SIZE), "little"))
            if guess is not None:
                self.use(guess)
                if self.at(HEADER_SIZE) is None:
                    self.salt: int | None = None
        if self.header is None and self.at(HEADER_SIZE) is None:
            self.start = self.end = 0  # what was written there is no header and no record

    def may_be_unbegun(self, database_id: bytes, number: int) -> bool:
        """Whether this may be a WAL that was made and never begun: no header yet, nothing behind.

        A crash may tear the header, into bytes that are as they should be and zeros. It was
        durable before the first record was written.
        """
        wanted = encode_header(Header(database_id, number, 0, 0))[:_IDENTITY]
        pairs = zip(self.read(_IDENTITY, 0), wanted, strict=False)
        as_made = all(byte in (0, should) for byte, should in pairs)
        return as_made and self.written_behind(HEADER_SIZE) == HEADER_SIZE

    def commits(self, proven: int = 0) -> Iterator[Logged | Gap]:
        """Every commit and every gap, in order; ``damage`` grows by what an open would refuse."""
        kept = True
        for found in self.walk(proven):
            if isinstance(found, Gap):
                kept = False
                if not found.torn:
                    first = found.start == self.end
                    upto = f"log is damaged below {max(self.proven, proven):,}, where it was synced"
                    self.note(found.start, upto if first else "more bytes that are no record")
                yield found
                continue
            yield self._logged(found, kept=kept)
        self._judge_header()

    def _logged(self, found: Record, *, kept: bool) -> Logged:
        self.count += kept
        try:
            commit = decode_commit(found.payload)
        except ValueError as error:
            self.note(found.offset, str(error))
            return Logged(found, None, str(error), kept)
        older = commit.stamp <= self.last_stamp
        fault = "commit is older than the one before it" if older else ""
        if fault and kept:
            self.note(found.offset, fault)
        self.last_stamp = max(self.last_stamp, commit.stamp)
        return Logged(found, commit, fault, kept)

    def _judge_header(self) -> None:
        """Without one the file counts as never begun, unless a record is in it."""
        if self.header is None and (self.count or self.proven):
            self.note(0, self.header_fault)


def read(path: str, fs: FileSystem | None = None) -> WalFile:
    """The WAL file, as far as it can be read. OSError where there is none."""
    return WalFile(fs if fs is not None else DiskFileSystem(), path)


def damage(path: str, fs: FileSystem | None = None) -> list[CorruptionError]:
    """What an open would refuse, as far as the file alone tells; empty for a sound file."""
    found = read(path, fs)
    for _ in found.commits():
        pass
    return found.damage


# --- lines for people


def describe(found: WalFile, limit: int | None = None) -> Iterator[str]:
    """All of it in lines, with up to ``limit`` commits (None: all). ``found.damage`` grows."""
    yield f"WAL {escape.text(found.path)}, {found.size:,} bytes"
    yield from _header_lines(found)
    yield "commits"
    shown = synced = 0
    for one in found.commits():
        if isinstance(one, Gap):
            yield f"  {one}"
            continue
        if limit is None or shown < limit:
            yield from _logged_lines(one, synced)
        elif shown == limit:
            yield "  …"
        shown += 1
        synced = max(synced, one.record.synced)
    yield from _end_lines(found)


def _header_lines(found: WalFile) -> Iterator[str]:
    header = found.header
    if header is None:
        never = "never written" if found.blank_header else f"damaged, {found.header_fault}"
        yield f"header: {never}"
        return
    yield f"number {header.number}, format {FORMAT_VERSION}, of database {header.database_id.hex()}"
    if header.previous:
        yield f"follows WAL {header.previous}, proven to end, synced, at offset {header.proven:,}"
    else:
        yield "follows no WAL"
    if header.epoch:
        yield f"begun by the owner of epoch {header.epoch}"


def _logged_lines(one: Logged, synced: int) -> Iterator[str]:
    where = one.record
    proof = f", proves that the file was synced below {where.synced:,}"
    yield (
        f"  offset {where.offset:,}, {where.end - where.offset:,} bytes"
        f"{proof if where.synced > synced else ''}"
    )
    if not one.kept:
        yield "    behind the end: an open does not read it"
    if one.fault:
        yield f"    damaged: {one.fault}"
    if one.commit is None:
        return
    yield f"    stamp {parts.stamp_text(one.commit.stamp)}"
    if one.commit.now:
        yield f"    made at {escape.moment(one.commit.now)}"
    if one.commit.token:
        yield f"    token {one.commit.token.hex()}, of the owner of epoch {one.commit.epoch}"
    for start, stop in one.commit.tombstones:
        yield f"    clears from {escape.bound(start)} to before {escape.bound(stop)}"
    for service, key, data in one.commit.rows:
        yield f"    ({escape.text(service)}, {escape.text(key)})"
        row = decode(data)
        marks = parts.row_marks(row)
        if marks:
            yield f"      {marks}"
        for state_key, entry in row.entries.items():
            yield parts.entry_line("      ", state_key, entry)


_STATES = {
    "nothing": "behind them: nothing",
    "zeros": "behind them: zeros, which is space written ahead",
    "torn": "behind them: a torn tail, unless the next WAL or the manifest proves more",
    "damaged": "behind them: damage",
}


def _end_lines(found: WalFile) -> Iterator[str]:
    yield f"{found.count:,} commits, which end at offset {found.end:,}"
    yield _STATES[found.state]
    yield f"the file itself proves that it was synced below {found.proven:,}"
    if found.gave_up:
        yield "too much lies behind them: not all of it was searched for records"


# --- dicts for programs


def records(found: WalFile, limit: int | None = None) -> Iterator[Item]:
    """The same as JSON-able dicts (parts.py), with up to ``limit`` commits (None: all).

    One ``wal``, then each ``commit`` and each ``gap``, each ``damage`` where it was met,
    and at last one ``end``.
    """
    yield {"wal": _header_dict(found)}
    yield from parts.log_items(found.commits(), found.damage, "commit", _logged_dict, limit)
    yield {
        "end": {
            "offset": found.end,
            "commits": found.count,
            "synced": found.proven,
            "behind": found.state,
            "searched": not found.gave_up,
        }
    }


def _header_dict(found: WalFile) -> dict[str, Any]:
    made: dict[str, Any] = {"path": found.path, "bytes": found.size}
    header = found.header
    if header is None:
        return {**made, "header": "missing" if found.blank_header else "damaged"}
    return {
        **made,
        "header": "sound",
        "format": FORMAT_VERSION,
        "database_id": header.database_id.hex(),
        "number": header.number,
        "previous": header.previous,
        "proven": header.proven,
        **({"epoch": header.epoch} if header.epoch else {}),
    }


def _logged_dict(one: Logged) -> dict[str, Any]:
    where, commit = one.record, one.commit
    made: dict[str, Any] = {
        "offset": where.offset,
        "length": where.end - where.offset,
        "synced": where.synced,
        "kept": one.kept,
    }
    if commit is None:
        return made
    made["stamp"] = commit.stamp
    if commit.now:
        made["now"] = parts.seconds(commit.now)
    if commit.token:
        made["epoch"], made["token"] = commit.epoch, commit.token.hex()
    made["range_tombstones"] = [
        {"from": parts.bound(start), "to": parts.bound(stop)} for start, stop in commit.tombstones
    ]
    made["rows"] = rows = []
    for service, key, data in commit.rows:
        row = decode(data)
        entries = [parts.entry_dict(name, entry) for name, entry in row.entries.items()]
        rows.append({"service": service, "key": key, **parts.row_dict(row), "entries": entries})
    return made
