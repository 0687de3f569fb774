"""CPython's own tests of mappings, run on the mappings of objects and sessions.

Overridden is what does not apply: state keys are str, values are what JSON has
(a tuple comes back as a list), what is read is a copy, and a mapping is made by
its object, not from its contents.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem

mapping_tests = pytest.importorskip(
    "test.mapping_tests", reason="this Python comes without its own tests"
)


class OfObjects(mapping_tests.TestMappingProtocol):  # type: ignore[misc, name-defined]
    """Each mapping of a test is that of another object."""

    __test__ = False

    @pytest.fixture(autouse=True)
    def _open(self) -> Iterator[None]:
        with kvengine.open("/db", fs=MemoryFileSystem(), background="none") as self.db:
            with ExitStack() as self.open:
                self.numbers = count()
                yield

    def type2test(self) -> Any:
        return self.db.object("S", str(next(self.numbers))).mapping()

    def _reference(self) -> dict[str, Any]:
        """A list in the place of a tuple."""
        return {"1": "2", "key1": "value1", "key2": [1, 2, 3]}

    def test_constructor(self) -> None:
        """Without the part that makes a mapping from its contents."""
        mapping_tests.BasicTestMappingProtocol.test_constructor(self)
        assert self._empty_mapping() is not self._empty_mapping()

    def test_values(self) -> None:
        """With str keys."""
        mapping_tests.BasicTestMappingProtocol.test_values(self)
        assert list(self._full_mapping({"1": 2}).values()) == [2]

    def test_items(self) -> None:
        """With str keys."""
        mapping_tests.BasicTestMappingProtocol.test_items(self)
        assert list(self._full_mapping({"1": 2}).items()) == [("1", 2)]

    def test_clear(self) -> None:
        """With str keys."""
        mapping = self._full_mapping({"1": 1, "2": 2, "3": 3})
        mapping.clear()
        assert mapping == {}
        with pytest.raises(TypeError):
            mapping.clear(None)

    def test_update(self) -> None:
        """The part for any mapping, then that for dict with str keys."""
        mapping_tests.BasicTestMappingProtocol.test_update(self)
        mapping = self._empty_mapping()
        mapping.update({"1": 100})
        mapping.update({"2": 20})
        mapping.update({"1": 1, "2": 2, "3": 3})
        mapping.update()
        assert mapping == {"1": 1, "2": 2, "3": 3}
        mapping.clear()
        mapping.update([("x", 100), ("y", 20)], x=1, z=3)
        assert mapping == {"x": 1, "y": 20, "z": 3}
        mapping.update(self._full_mapping({"x": 2, "w": 4}).items())
        assert mapping == {"w": 4, "x": 2, "y": 20, "z": 3}

    def test_setdefault(self) -> None:
        """What setdefault returns is a copy, and a change to it is not stored."""
        mapping_tests.BasicTestMappingProtocol.test_setdefault(self)
        mapping = self._empty_mapping()
        assert mapping.setdefault("key0") is None
        assert mapping.setdefault("key0", []) is None
        mapping.setdefault("key", []).append(3)
        assert mapping.setdefault("key", [4]) == []

    def test_popitem(self) -> None:
        """With fewer sizes, and without copies: a mapping has no copy()."""
        mapping_tests.BasicTestMappingProtocol.test_popitem(self)
        for size in (1, 2, 16, 200):
            one, other = self._empty_mapping(), self._empty_mapping()
            for number in range(size):
                one[repr(number)] = other[repr(number)] = number
            for _ in range(size):
                key, value = one.popitem()
                assert value == int(key)
                assert other.popitem() == (key, value)
            assert not one
            assert not other

    def test_fromkeys(self) -> None:
        """A mapping is made by its object, not from keys."""
        assert not hasattr(self._empty_mapping(), "fromkeys")

    def test_copy(self) -> None:
        """A mapping is a view of its object, which has no copy; dict(mapping) is one."""
        assert not hasattr(self._empty_mapping(), "copy")


class TestOfObjects(OfObjects):
    __test__ = True


class TestOfSessions(OfObjects):
    __test__ = True

    def type2test(self) -> Any:
        session = self.db.object("S", str(next(self.numbers))).session()
        return self.open.enter_context(session).mapping()


class TestOfLazySessions(OfObjects):
    __test__ = True

    def type2test(self) -> Any:
        key = str(next(self.numbers))
        self.db.object("S", key).set("", 0)
        session = self.db.object("S", key).session(preload=False)
        mapping = self.open.enter_context(session).mapping()
        del mapping[""]
        return mapping
