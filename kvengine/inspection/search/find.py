"""Find: entries by their names and by what their values say, in one moment of a database.

Every criterion that is given must hold. Objects are read one after another, those alone that
the fixed beginning of a key glob leaves; nothing is kept. An object is one hit where names of
objects are all that is asked for, else each of its entries is one that meets the criteria.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import NamedTuple

from kvengine.arguments import check_limit
from kvengine.inspection.search.value import ANYTHING, Matcher, beginning, matcher
from kvengine.inspection.transfer.walk import moment, services
from kvengine.store import Reads, StoredObject

_WILD = re.compile(r"[*?[]")
_PACE = 1000


class Hit(NamedTuple):
    """What was found. Names, ``where`` and ``excerpt`` are as stored: escape them for a terminal.

    ``state_key``: None where the hit is an object; then ``size`` is that of its values, else of
    the entry's, in bytes. ``where``: "name", "offset 17" of the text, or the path of the first
    node of the JSON. ``excerpt``: some characters of the value there.
    """

    service: str
    key: str
    state_key: str | None
    size: int
    where: str
    excerpt: str


class Searched(NamedTuple):
    """How far a search is. ``unread``: values nested too deeply for its JSON path."""

    objects: int = 0
    hits: int = 0
    unread: int = 0


def find(
    reads: Reads,
    *,
    service: str | None = None,
    key_glob: str | None = None,
    state_key_glob: str | None = None,
    contains: str | bytes | None = None,
    json_path: str | None = None,
    equals: object = ANYTHING,
    limit: int | None = None,
    progress: Callable[[Searched], object] | None = None,
) -> Generator[Hit, None, None]:
    """The hits in order, of one moment: that of the first, or of the snapshot that is given.

    Globs know ``*``, ``?`` and ``[...]``, and case. ``contains``: bytes of the value as it is
    stored, a str by its UTF-8. ``json_path``: a query of RFC 9535 that selects something in
    the value. ``equals``: JSON data that the value is, or one of the selected nodes.
    ``progress``: told after every thousand objects and at the end.

    ValueError where nothing is asked for or a path is none, KVEngineError where python-jsonpath
    is not installed.
    """
    check_limit(limit)
    value = matcher(contains, json_path, equals)
    if value is None and key_glob is None and state_key_glob is None:
        raise ValueError(
            "nothing to find: give key_glob, state_key_glob, contains, json_path or equals"
        )
    search = _Search(service, key_glob, state_key_glob, value, progress)
    return search.hits(reads, limit)


class _Search:
    def __init__(
        self,
        service: str | None,
        key_glob: str | None,
        state_key_glob: str | None,
        value: Matcher | None,
        progress: Callable[[Searched], object] | None,
    ) -> None:
        self._service = service
        self._key_glob = key_glob
        self._key = _glob(key_glob)
        self._state_key = _glob(state_key_glob)
        self._of_objects = state_key_glob is None and value is None
        self._value = value
        self._progress = progress

    def hits(self, reads: Reads, limit: int | None) -> Generator[Hit, None, None]:
        objects = count = 0
        with moment(reads) as held, closing(self._objects(held)) as found:
            for one in found:
                if count == limit:
                    break
                objects += 1
                for hit in self._of(one) if self._key(one.key) else ():
                    count += 1
                    yield hit
                    if count == limit:
                        break
                if self._progress is not None and objects % _PACE == 0:
                    self._progress(self._searched(objects, count))
        if self._progress is not None:
            self._progress(self._searched(objects, count))

    def _searched(self, objects: int, hits: int) -> Searched:
        return Searched(objects, hits, self._value.unread if self._value is not None else 0)

    def _objects(self, reads: Reads) -> Generator[StoredObject, None, None]:
        """Objects that the key glob leaves, by its fixed beginning."""
        if self._key_glob is None:
            yield from reads.scan(self._service)
            return
        wild = _WILD.search(self._key_glob)
        for service in [self._service] if self._service is not None else services(reads):
            if wild is not None:
                yield from reads.scan(service, prefix=self._key_glob[: wild.start()])
            elif (found := reads.load(service, self._key_glob)) is not None:
                yield found

    def _of(self, found: StoredObject) -> Iterator[Hit]:
        """The hits in an object whose key is wanted."""
        if self._of_objects:
            size = sum(map(len, found.entries.values()))
            yield Hit(found.service, found.key, None, size, "name", "")
            return
        for state_key, value in found.entries.items():
            if self._state_key(state_key):
                match = ("name", "") if self._value is None else self._value.match(value)
                if match is not None:
                    where, excerpt = match
                    shown = excerpt or beginning(value)
                    yield Hit(found.service, found.key, state_key, len(value), where, shown)


def _glob(glob: str | None) -> Callable[[str], object]:
    return re.compile(fnmatch.translate("*" if glob is None else glob)).match
