"""Hard events that a run of the model test must have met; it counts them by looking on.

A test of rare interplay that never meets it proves nothing, so the bulk run
requires each of `REQUIRED`.
"""

from __future__ import annotations

from collections import Counter
from itertools import cycle, pairwise
from typing import Any

import pytest

from kvengine import compiled
from kvengine.storage.compaction import run as compaction
from kvengine.storage.row import LARGE, Row
from kvengine.storage.segment.reader import LiveSegment

REQUIRED = (
    "expiry extended over a flushed row, compacted after the old expiry",
    "range tombstone across a segment cut",
    "snapshot held over a drop",
    "whole segment dropped",
    "large row split into chunks and compacted",
    "level 2 filled",
    "segment moved unread",
    "commit while a job runs",
    "expired row became a tombstone above older data",
    "row without live entries kept for its expiry",
    "killed with commits in memory",
    "power cut lost a suffix",
    "now held against a wall clock that stepped back",
    "clock step not believed",
    "reopened under an earlier clock",
    "write refused by expect",
    "iterator held over writes",
)

EVENTS: Counter[str] = Counter()


def watch(patch: pytest.MonkeyPatch) -> None:
    """Count what compaction decides of rows, from now on."""
    retain = compaction.retain

    def watched(row: Row, horizon: int, *, extended: bool, bottom: bool) -> Row | None:
        left = retain(row, horizon, extended=extended, bottom=bottom)
        expired = row.expires_at is not None and row.expires_at <= horizon
        if expired and extended and left is not None and row.entries:
            EVENTS["expiry extended over a flushed row, compacted after the old expiry"] += 1
        if expired and not extended and not bottom:
            EVENTS["expired row became a tombstone above older data"] += 1
        if left is not None and bottom and not left.entries:
            EVENTS["row without live entries kept for its expiry"] += 1
        return left

    patch.setattr(compaction, "retain", watched)
    if compiled.form == "compiled":
        from tests.twins.forms import plain  # planted tests run plain, without that folder

        # C does not ask `retain`: every third job runs in Python, so that this can look on.
        rewrites = cycle([plain(compaction.rewrite.__module__).rewrite, *[compaction.rewrite] * 2])

        def rewrite(*job: Any) -> None:
            next(rewrites)(*job)

        patch.setattr(compaction, "rewrite", rewrite)


def look(before: dict[int, LiveSegment], after: dict[int, LiveSegment]) -> None:
    """Count what changed between two sets of segments."""
    fresh = [one for number, one in after.items() if number not in before]
    for number in before.keys() & after.keys():
        if before[number].meta.level != after[number].meta.level:
            EVENTS["segment moved unread"] += 1
    for one in fresh:
        if one.meta.level >= 2:
            EVENTS["level 2 filled"] += 1
        if one.meta.level and any(_large(one)):
            EVENTS["large row split into chunks and compacted"] += 1
    ordered = sorted((one for one in fresh if one.meta.level), key=lambda one: one.meta.start)
    for left, right in pairwise(ordered):
        same = left.meta.level == right.meta.level and left.tombstones and right.tombstones
        if same and left.tombstones[-1][1:] == (right.tombstones[0][0], right.tombstones[0][2]):
            EVENTS["range tombstone across a segment cut"] += 1


def _large(one: LiveSegment) -> Any:
    for block in one.blocks_from(b""):
        yield from (row[1] & LARGE for row in block.rows)
