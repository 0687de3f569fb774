"""Whether a read needs the disk: for callers that must not wait for one."""

from __future__ import annotations

from kvengine.storage.cache import ObjectCache
from kvengine.storage.names import Name, encode_object
from kvengine.storage.version import View


def in_memory(view: View, cache: ObjectCache, name: Name, stamp: int | None) -> bool:
    """Whether one object can be read without a file being touched.

    It is where a memtable hides all that is older, where the cache knows what
    the segments say, or where no segment's range and filter let the object
    through. A compaction between this answer and the read may make it wrong,
    which costs a wait and nothing else.
    """
    for memtable in view.memtables():
        if memtable.states and memtable.find(name, stamp)[1]:
            return True
    if view.generation == cache.generation and cache.get(name) is not None:
        return True
    encoded = encode_object(*name)
    return not any(segment.may_hold(encoded) for segment in view.version.holding(encoded))
