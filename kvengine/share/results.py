"""What requests are answered with: a decoder for each type, which checks it on the way.

To be used with the name of this module: `results.value`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from kvengine.share.requests import Begun, Joined
from kvengine.store import Estimate, SegmentStats, Stats, StoredObject, StoredWorkflow

Decode = Callable[[Any], Any]


def _of(kind: Any) -> Decode:
    return msgspec.msgpack.Decoder(kind).decode


nothing: Decode = _of(None)
truth: Decode = _of(bool)
number: Decode = _of(int)
time: Decode = _of(float | None)
text: Decode = _of(str)
names: Decode = _of(list[str])
value: Decode = _of(bytes | None)
entries: Decode = _of(dict[str, bytes])
object: Decode = _of(StoredObject | None)
objects: Decode = _of(dict[str, StoredObject])

page_of_keys: Decode = _of(tuple[int | None, list[str]])
page_of_objects: Decode = _of(tuple[int | None, list[StoredObject]])
page_of_workflows: Decode = _of(tuple[int | None, list[StoredWorkflow]])
snapshot: Decode = _of(tuple[int, int])
retentions: Decode = _of(dict[str, timedelta])
estimate: Decode = _of(Estimate)
segments: Decode = _of(tuple[SegmentStats, ...])
stats: Decode = _of(Stats)
joined: Decode = _of(Joined)
begun: Decode = _of(Begun)

LATE: dict[str, Decode] = {
    "get": value,
    "get_many": entries,
    "get_all": entries,
    "load": object,
    "state_keys": names,
    "expires_at": time,
}
"""By the verb of a `Late` request: what a session reads that it did not load."""
