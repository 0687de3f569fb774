"""A flush or compaction as plain data, so that another process can run it."""

from __future__ import annotations

import msgspec

from kvengine.storage.segment.format import Properties


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Replace neighbouring layers by their overlay. Inputs are immutable files.

    ``wals``: sealed WAL files, oldest first: (number, end). ``layers``: segments,
    newest first, each layer a list of disjoint segments (numbers). ``number``: names the
    temporary outputs. ``horizon``: what expired by then may be dropped.
    ``extended``: encoded objects whose expiry a newer memtable extends;
    ``newer``: newer segments that extend some expiry; ``older``: the ranges of
    what lies beneath. ``segment_size``: where outputs are cut, 0 for not at all.
    ``now`` dates deletions found in WALs.
    """

    directory: str
    database_id: bytes
    number: int
    wals: list[tuple[int, int]] = []
    layers: list[list[int]] = []
    horizon: int = 0
    now: int = 0
    extended: list[bytes] = []
    newer: list[int] = []
    older: list[tuple[bytes, bytes]] = []
    segment_size: int = 0
    block_size: int
    chunk_size: int


class Output(msgspec.Struct, frozen=True):
    """A finished segment under its temporary file name, synced but for the directory."""

    name: str
    file_id: int
    size: int
    properties: Properties


class Reply(msgspec.Struct, frozen=True):
    """What a helper answers: outputs, or why there are none. ``corrupt``: (path, offset)."""

    outputs: list[Output] = []
    error: str = ""
    corrupt: tuple[str, int] | None = None


encode_job = msgspec.msgpack.Encoder().encode
decode_job = msgspec.msgpack.Decoder(Job).decode
encode_reply = msgspec.msgpack.Encoder().encode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
