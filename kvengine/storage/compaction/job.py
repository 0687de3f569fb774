"""A flush or compaction: which layers are replaced by their overlay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from kvengine.storage.memtable import Memtable
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.segment.format import Properties
from kvengine.storage.segment.reader import LiveSegment


class Abandoned(Exception):
    """The job was stopped because its owner is gone or closes. Nothing was kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Replace neighbouring layers by their overlay. All inputs are immutable.

    ``tables``: frozen memtables, newest first. ``layers``: segments, newest layer first, each layer
    a list of disjoint segments. ``number``: names the temporary outputs. ``horizon``: what expired
    by then may be dropped. ``extended``: encoded objects whose expiry a newer memtable extends.
    ``newer``: newer segments that extend some expiry. ``older``: the ranges of what lies beneath.
    ``seed``: of the filters. ``segment_size``: bytes at which an output is cut, 0 for never.
    ``apart``: encoded objects, in order, whose segments the job leaves as they are: it has no row
    of them, and an output ends before each.
    """

    directory: str
    number: int
    seed: int
    horizon: int
    block_size: int
    chunk_size: int
    segment_size: int = 0
    tables: list[Memtable] = field(default_factory=list)
    layers: list[list[LiveSegment]] = field(default_factory=list)
    extended: frozenset[bytes] = frozenset()
    newer: list[LiveSegment] = field(default_factory=list)
    older: list[tuple[bytes, bytes]] = field(default_factory=list)
    apart: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Output:
    """A finished segment under its temporary file name, synced but for the directory.

    ``number``: of the job that it belongs to.
    """

    number: int
    name: str
    file_id: int
    size: int
    properties: Properties


class Layer(NamedTuple):
    """An input of a job: a memtable, or disjoint segments in order; and its range tombstones."""

    table: Memtable | None
    segments: list[LiveSegment]
    tombstones: Tombstones
