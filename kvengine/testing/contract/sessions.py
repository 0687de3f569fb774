"""Sessions: an object for a block, exclusively, of one moment, with one commit at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from kvengine.errors import (
    FieldError,
    ReadOnly,
    SerdeError,
    SessionError,
    SessionTimeout,
    VersionConflict,
)
from kvengine.objects.state.base import State
from kvengine.objects.store import Store
from kvengine.testing.contract.home import FUTURE, LONG, NAMES, PATIENCE, Home, by_bytes, in_threads
from kvengine.testing.contract.objects import Point

Loading = dict[str, Any]

LOADINGS: dict[str, Loading] = {
    "eager": {},
    "lazy": {"preload": False},
    "some": {"preload": ["a", "never"]},
    "partial": {"preload_limit": 3},
}
"""Every way to load the object, as arguments of ``session``."""

VERBS: dict[str, Callable[[Any], object]] = {
    "get": lambda state: state.get("a"),
    "set": lambda state: state.set("a", 1),
    "update": lambda state: state.update("a", lambda _: 1),
    "increment": lambda state: state.increment("a"),
    "pop": lambda state: state.pop("a"),
    "clear": lambda state: state.clear("a"),
    "clear_all": lambda state: state.clear_all(),
    "expire": lambda state: state.expire(at=FUTURE),
    "state_keys": lambda state: state.state_keys(),
    "get_all": lambda state: state.get_all(),
    "version": lambda state: state.version(),
    "expires_at": lambda state: state.expires_at(),
    "commit": lambda state: state.commit(),
    "in": lambda state: "a" in state,
}
WRITES = ("set", "update", "increment", "pop", "clear", "clear_all", "expire")

CHANGES: dict[str, Callable[[Store], object]] = {
    "set": lambda store: store.set("S", "k", "b", b'"new"'),
    "set of another entry": lambda store: store.set("S", "k", "z", b"1"),
    "clear": lambda store: store.clear("S", "k", "b"),
    "clear_all": lambda store: store.clear_all("S", "k"),
    "clear_service": lambda store: store.clear_service("S"),
    "clear_range": lambda store: store.clear_range("S", "k", None),
    "expire": lambda store: store.expire("S", "k", at=FUTURE),
    "clear_all and set": lambda store: (
        store.clear_all("S", "k"),
        store.object("S", "k").mapping().update(a="a", b="b", c="c"),
    ),
    "session": lambda store: store.object("S", "k").increment("n"),
}
"""What somebody may do to object "S", "k" outside of its session."""


class Greeter(State):
    """A typed state with a field of each sort."""

    name: str = "world"
    count: int = 0
    tags: list[str] = []
    point: Point | None = None


class Sessions(Home):
    """session of an object, in every way to load it."""

    @pytest.fixture(params=LOADINGS.values(), ids=[*LOADINGS])
    def loading(self, request: pytest.FixtureRequest) -> Loading:
        """Give the arguments that decide how a session loads its object."""
        found: Loading = request.param
        return found

    # --- what it reads

    def test_a_session_reads_its_own_writes(self, store: Store, loading: Loading) -> None:
        """get, in, state_keys and get_all see what it has set and cleared; others do not yet."""
        obj = store.object("S", "k")
        obj.mapping().update(a=1, b=2, c=3)
        with obj.session(**loading) as state:
            assert (state.service, state.key) == ("S", "k")
            state.clear("a")
            state.set("d", 4)
            state.set("b", [2])
            assert state.get("a") is None and state.get("a", "gone") == "gone"
            assert "a" not in state and "d" in state and state.get("b") == [2]
            assert state.state_keys() == ["b", "c", "d"]
            assert state.get_all() == {"b": [2], "c": 3, "d": 4}
            state.clear("d")
            state.set("e", None)
            assert state.state_keys() == ["b", "c", "e"] and state.get("e", 7) is None
            assert obj.get_all() == {"a": 1, "b": 2, "c": 3}
        assert obj.get_all() == {"b": [2], "c": 3, "e": None}

    def test_clear_all_then_set(self, store: Store, loading: Loading) -> None:
        """After clear_all there is what was set behind it alone, without the old expiry."""
        obj = store.object("S", "k")
        obj.mapping().update(a=1, b=2)
        obj.expire(at=FUTURE)
        with obj.session(**loading) as state:
            assert state.expires_at() == FUTURE
            state.set("a", 9)
            state.clear_all()
            assert state.state_keys() == [] and state.get("a") is None
            assert state.expires_at() is None
            state.set("d", 1)
            assert state.get_all() == {"d": 1} and state.get("b") is None
        assert obj.get_all() == {"d": 1} and obj.expires_at() is None

    def test_set_clear_and_set_again(self, store: Store, loading: Loading) -> None:
        """The last change of an entry counts, whatever came before it."""
        obj = store.object("S", "k")
        obj.mapping().update(a=1, b=1)
        with obj.session(**loading) as state:
            state.clear("a")
            state.set("a", 2)
            state.clear("a")
            state.set("b", 2)
            state.clear("b")
            state.set("b", 3)
            assert state.get_all() == {"b": 3}
        assert obj.get_all() == {"b": 3}

    def test_names_and_their_order(self, store: Store, loading: Loading) -> None:
        """Any names, in byte order, own changes among what is stored; forward and back."""
        obj = store.object("S", "k")
        for name in NAMES[::2]:
            obj.set(name, name)
        with obj.session(**loading) as state:
            for name in NAMES[1::2]:
                state.set(name, name)
            state.clear("b")
            expected = by_bytes({*NAMES} - {"b"})
            assert state.state_keys() == expected == list(state.get_all())
            assert [state.get(name) for name in expected] == expected
            assert state.state_keys(reverse=True) == expected[::-1]
            assert state.state_keys(prefix="a") == [n for n in expected if n.startswith("a")]
            assert state.state_keys(start="a\0", limit=3) == ["a\0", "a\0b", "a/b c"]
            assert state.state_keys(reverse=True, start="ab", limit=2) == ["ab", "a/b c"]
            assert state.state_keys(limit=0) == []
        assert obj.state_keys() == expected

    def test_a_session_sees_one_moment(self, store: Store, another: Callable[[], Store]) -> None:
        """However late it reads, it sees the object as it was when the session began."""
        other = another()
        for name, loading in LOADINGS.items():
            obj = store.object("S", name)
            obj.mapping().update(a=1, b=2, c=3)
            obj.expire(at=FUTURE)
            version = obj.version()
            with obj.session(**loading) as state:
                other.set("S", name, "b", b"9")
                other.set("S", name, "d", b"9")
                assert state.get("b") == 2 and state.get("d") is None
                other.clear_all("S", name)
                assert state.get("c") == 3 and state.state_keys() == ["a", "b", "c"]
                assert state.get_all() == {"a": 1, "b": 2, "c": 3}
                assert state.version() == version and state.expires_at() == FUTURE
            assert not obj.version()

    def test_a_large_object(self, store: Store, loading: Loading) -> None:
        """2,000 entries, of which a session reads and changes a few."""
        with store.batch() as batch:
            for number in range(2000):
                batch.set("S", "k", f"n{number:04}", b"%d" % number)
        obj = store.object("S", "k")
        with obj.session(**loading) as state:
            assert state.get("n1234") == 1234 and state.get("never") is None
            state.set("n0500", "new")
            state.clear("n0501")
            assert state.state_keys(start="n0499", limit=3) == ["n0499", "n0500", "n0502"]
        assert obj.get("n0500") == "new" and len(obj.state_keys()) == 1999

    def test_values_are_copies(self, store: Store, loading: Loading) -> None:
        """A value is what it was when it was set; changing what get returned changes nothing."""
        obj = store.object("S", "k")
        obj.set("a", [1])
        value = [2]
        with obj.session(**loading) as state:
            state.get("a").append(7)
            state.set("b", value)
            value.append(7)
            state.get("b").append(7)
            assert state.get_all() == {"a": [1], "b": [2]}
        assert obj.get_all() == {"a": [1], "b": [2]}

    # --- what it commits

    def test_nothing_is_written_when_the_block_raises(self, store: Store, loading: Loading) -> None:
        """What it raises is raised, itself, even what is no Exception; the object is free again."""
        obj = store.object("S", "k")
        before = obj.set("a", 1)
        for error in (LookupError("no luck"), _Leave()):
            with pytest.raises(type(error)) as raised:
                with obj.session(**loading) as state:
                    state.set("a", 2)
                    state.clear_all()
                    state.set("b", 2)
                    raise error
            assert raised.value is error
        assert obj.get_all() == {"a": 1} and obj.version() == before
        with obj.session(timeout=0, **loading) as state:
            assert state.get("a") == 1

    def test_one_commit_at_the_end(self, store: Store, loading: Loading) -> None:
        """Whatever it changed has one version; without a change there is no commit."""
        obj = store.object("S", "k")
        before = obj.set("a", 1)
        with obj.session(**loading) as state:
            assert state.get("a") == 1 and state.version() == before
        assert obj.version() == before
        with store.watch("S") as watch:
            with obj.session(**loading) as state:
                state.set("b", 1)
                state.set("c", 1)
                state.clear("a")
            assert obj.get_all() == {"b": 1, "c": 1} and obj.version() > before
            change = watch.poll(PATIENCE)
            assert change is not None and change.stamp == obj.version()

    def test_nothing_in_the_end_is_no_commit(self, store: Store) -> None:
        """What was set and cleared again, or cleared where nothing was, writes nothing."""
        obj = store.object("S", "k")
        before = obj.set("a", 1)
        with obj.session() as state:
            state.set("b", 1)
            state.clear("b")
            state.clear("never")
            assert state.commit() is None
        with store.object("S", "never").session() as state:
            state.set("a", 1)
            state.clear_all()
        assert obj.version() == before and store.version("S", "never") == 0

    def test_commit_in_the_midst(self, store: Store, loading: Loading) -> None:
        """What was committed stays, whatever comes after; the session goes on from there."""
        obj = store.object("S", "k")
        obj.set("a", 0)
        with pytest.raises(LookupError):
            with obj.session(**loading) as state:
                state.set("a", 1)
                state.set("b", 1)
                first = state.commit()
                assert first == state.version() == obj.version()
                assert state.commit() is None
                assert state.get("a") == 1 and state.state_keys() == ["a", "b"]
                state.clear("b")
                assert state.get_all() == {"a": 1}
                second = state.commit()
                assert second is not None and first is not None and second > first
                assert obj.get_all() == {"a": 1}
                state.set("c", 1)
                raise LookupError
        assert obj.get_all() == {"a": 1} and obj.version() == second

    def test_versions_and_expiries(self, store: Store, loading: Loading) -> None:
        """They are those that it began with, then those of its own commits; 0 when it is empty."""
        obj = store.object("S", "k")
        with obj.session(**loading) as state:
            assert (state.version(), state.expires_at()) == (0, None)
            state.set("a", 1)
            state.expire(at=FUTURE)
            assert state.version() == 0
            assert state.commit() == state.version() == obj.version()
            assert state.expires_at() == FUTURE == obj.expires_at()
            state.expire()
        assert obj.expires_at() is None
        with obj.session(**loading) as state:
            state.clear("a")
            state.commit()
            assert state.version() == obj.version() == 0
            state.set("b", 1)
        assert obj.get_all() == {"b": 1}
        with obj.session(**loading) as state:
            state.clear_all()
            state.commit()
            assert state.version() == obj.version() == 0 and state.state_keys() == []
            state.expire(at=FUTURE)
        assert obj.version() == 0, "without an entry there is nothing to expire"

    @pytest.mark.parametrize("durability", ["sync", "os"])
    def test_a_durability(self, store: Store, durability: Any) -> None:
        """Either is taken, and the commit shows when the block has ended."""
        with store.object("S", "k").session(durability=durability) as state:
            state.set("a", 1)
        assert store.object("S", "k").get("a") == 1

    def test_values_that_do_not_encode(self, store: Store, loading: Loading) -> None:
        """SerdeError where it is set or read; caught there, the rest commits."""
        store.set("S", "k", "bad", b"\xff{")
        obj = store.object("S", "k")
        with obj.session(**loading) as state:
            state.set("good", 1)
            for value in (object(), float("nan"), b"bytes"):
                with pytest.raises(SerdeError, match="'S', 'k', 'a'"):
                    state.set("a", value)
            with pytest.raises(SerdeError, match="'S', 'k', 'bad'"):
                state.get("bad")
            assert state.get("bad", serde="bytes") == b"\xff{" and state.get("a") is None
            state.clear("bad")
        assert obj.get_all() == {"good": 1}

    # --- by value

    def test_update_increment_and_pop(self, store: Store, loading: Loading) -> None:
        """Each acts on what the session has made so far, and returns what its handle's would."""
        obj = store.object("S", "k")
        obj.mapping().update(a=1, items=["tea"])
        with obj.session(**loading) as state:
            assert state.increment("a") == 2 and state.increment("a", 0.5) == 2.5
            assert state.increment("new", -3) == -3
            assert state.update("items", lambda items: [*items, "milk"]) == ["tea", "milk"]
            assert state.update("other", lambda items: [*items, 1], []) == [1]
            assert state.pop("a") == 2.5 and state.pop("a", "gone") == "gone"
            with pytest.raises(TypeError, match="not a number"):
                state.increment("items")
            assert obj.get_all() == {"a": 1, "items": ["tea"]}
        assert obj.get_all() == {"items": ["tea", "milk"], "new": -3, "other": [1]}

    def test_changes_by_value_keep_the_ttl(self, store: Store, loading: Loading) -> None:
        """update and increment leave the expiry that an entry has; set ends it."""
        obj = store.object("S", "k")
        for name in ("a", "b", "c"):
            obj.set(name, 1, expires_at=FUTURE)
        with obj.session(**loading) as state:
            assert state.expires_at("a") == FUTURE and state.expires_at("never") is None
            state.increment("a")
            state.update("b", lambda value: value + 1)
            state.set("c", 2)
            state.commit()
            assert state.expires_at("b") == FUTURE and state.expires_at("c") is None
        assert [obj.expires_at(name) for name in "abc"] == [FUTURE, FUTURE, None]
        assert obj.get_all() == {"a": 2, "b": 2, "c": 2}

    # --- time

    def test_ttls_in_a_session(self, store: Store, loading: Loading) -> None:
        """A ttl may be set, replaced and taken back; one that is over clears the entry."""
        obj = store.object("S", "k")
        obj.mapping().update(old=1, over=1)
        with obj.session(**loading) as state:
            state.set("brief", 1, ttl=self.brief)
            state.set("kept", 1, ttl=self.brief)
            state.set("kept", 2)
            state.set("long", 1, ttl=timedelta(seconds=LONG))
            state.set("over", 2, ttl=-1)
            assert state.get("over") is None and state.get("brief") == 1
            assert state.state_keys() == ["brief", "kept", "long", "old"]
        self.outlast(store)
        assert obj.get_all() == {"kept": 2, "long": 1, "old": 1}
        assert obj.expires_at("long") is not None and obj.expires_at("kept") is None

    def test_a_ttl_counts_from_the_commit(self, store: Store) -> None:
        """An entry that is set long before the end lives as long as one that is set just then."""
        for key, ttl in self.lifetimes():
            with store.object("S", key).session() as state:
                state.set("token", "t", ttl=ttl)
                self.outlast(store, ttl)
                assert state.get("token") == "t"
            if store.object("S", key).get("token") == "t":
                return

    def test_an_object_that_expires_meanwhile(self, store: Store, loading: Loading) -> None:
        """It stays readable in the session, whose commit is a conflict; what is next is new."""
        for key, ttl in self.lifetimes():
            obj = store.object("S", key)
            obj.mapping().update(a=1, b=2)
            obj.expire(ttl=ttl)
            with ExitStack() as stack:
                state = stack.enter_context(obj.session(**loading))
                version = state.version()
                if not version:
                    continue
                self.outlast(store, ttl)
                assert state.get("a") == 1 and state.get_all() == {"a": 1, "b": 2}
                state.set("b", 3)
                with pytest.raises(VersionConflict) as conflict:
                    stack.close()
            assert (conflict.value.expected, conflict.value.actual) == (version, 0)
            assert obj.version() == 0
            with obj.session(**loading) as state:
                assert state.get_all() == {}
                state.set("b", 3)
            assert obj.get_all() == {"b": 3} and obj.expires_at() is None
            return

    def test_entries_that_expire_meanwhile(self, store: Store, loading: Loading) -> None:
        """An entry's own ttl changes no version: the entry stays readable, the commit succeeds."""
        for key, ttl in self.lifetimes():
            obj = store.object("S", key)
            obj.set("a", 1)
            obj.set("token", "t", ttl=ttl)
            with obj.session(**loading) as state:
                was_there = "token" in state
                self.outlast(store, ttl)
                assert (state.get("token") == "t") is was_there
                state.set("a", 2)
            assert obj.get_all() == {"a": 2}
            if was_there:
                return

    # --- conflicts

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_change_from_outside_is_a_conflict(
        self, store: Store, another: Callable[[], Store], change: str
    ) -> None:
        """VersionConflict at the end, nothing of the session is written, and the next one works."""
        obj, other = store.object("S", "k"), another()
        for loading in LOADINGS.values():
            obj.clear_all()
            obj.mapping().update(a="a", b="b", c="c")
            version = obj.version()
            with pytest.raises(VersionConflict) as raised:
                with obj.session(**loading) as state:
                    assert state.get("a") == "a"
                    CHANGES[change](other)
                    after, actual = store.get_all("S", "k"), store.version("S", "k")
                    assert state.get_all() == {"a": "a", "b": "b", "c": "c"}
                    state.set("c", "mine")
            error = raised.value
            assert (error.service, error.key) == ("S", "k")
            assert (error.expected, error.actual) == (version, actual)
            assert store.get_all("S", "k") == after and store.version("S", "k") == actual
            with obj.session(timeout=0, **loading) as state:
                state.set("c", "again")
            assert obj.get("c") == "again"

    def test_who_only_reads_has_no_conflict(self, store: Store, loading: Loading) -> None:
        """Whoever writes nothing is not bothered by what others wrote."""
        obj = store.object("S", "k")
        for change in CHANGES.values():
            obj.clear_all()
            obj.mapping().update(a="a", b="b", c="c")
            with obj.session(**loading) as state:
                change(store)
                after = obj.version()
                assert state.get_all() == {"a": "a", "b": "b", "c": "c"}
            assert obj.version() == after

    def test_an_object_that_appears_meanwhile(self, store: Store, loading: Loading) -> None:
        """A session of an absent object conflicts with whoever made it meanwhile."""
        obj = store.object("S", "k")
        with pytest.raises(VersionConflict) as raised:
            with obj.session(**loading) as state:
                store.set("S", "k", "a", b"9")
                assert state.get("a") is None and state.state_keys() == []
                state.set("a", 1)
        assert (raised.value.expected, raised.value.actual) == (0, obj.version())
        assert obj.get_all() == {"a": 9}

    def test_a_conflict_after_an_own_commit(self, store: Store, loading: Loading) -> None:
        """What was committed in the midst stays; what conflicts is what came after it."""
        obj = store.object("S", "k")
        with pytest.raises(VersionConflict):
            with obj.session(**loading) as state:
                state.set("a", 1)
                state.commit()
                store.set("S", "k", "b", b"9")
                state.set("a", 2)
        assert obj.get_all() == {"a": 1, "b": 9}

    # --- kinds of sessions

    @pytest.mark.parametrize("verb", WRITES)
    def test_a_read_only_session_only_reads(self, store: Store, verb: str) -> None:
        """Each write is refused at once, and reads go on."""
        obj = store.object("S", "k")
        before = obj.set("a", 1)
        for loading in LOADINGS.values():
            with obj.session(read_only=True, **loading) as state:
                assert state.get("a") == 1
                with pytest.raises(ReadOnly):
                    VERBS[verb](state)
                assert state.get_all() == {"a": 1} and state.state_keys() == ["a"]
        assert obj.version() == before

    def test_read_only_sessions_wait_for_nobody(self, store: Store) -> None:
        """They run beside an exclusive one and each other, each of its own moment."""
        obj = store.object("S", "k")
        obj.set("a", 1)
        with obj.session() as state:
            state.set("a", 2)
            with (
                obj.session(read_only=True) as one,
                obj.session(read_only=True, preload=False) as two,
            ):
                assert one.get("a") == 1
                state.commit()
                with obj.session(read_only=True) as three:
                    assert (one.get("a"), two.get("a"), three.get("a")) == (1, 1, 2)

    def test_a_typed_state(self, store: Store, loading: Loading) -> None:
        """Attributes are the entries: defaults, changes in place, del, and other entries kept."""
        obj = store.object("S", "k")
        obj.mapping().update(name="Ada", other=[None])
        with obj.session(Greeter, **loading) as state:
            assert (state.name, state.count, state.tags, state.point) == ("Ada", 0, [], None)
            state.count += 1
            state.tags.append("x")
            state.point = Point(1)
            del state.name
            assert state.name == "world"
        expected = {"count": 1, "other": [None], "point": {"x": 1, "y": 0}, "tags": ["x"]}
        assert obj.get_all() == expected
        with pytest.raises(VersionConflict), obj.session(Greeter, **loading) as state:
            state.tags.append("y")
            store.set("S", "k", "other", b"1")
        with pytest.raises(LookupError), obj.session(Greeter, **loading) as state:
            state.count = 5
            raise LookupError
        with obj.session(Greeter, read_only=True, **loading) as state:
            assert (state.count, state.tags, state.point) == (1, ["x"], Point(1))
            with pytest.raises(ReadOnly):
                state.count = 2
        assert obj.get_all() == {**expected, "other": 1}

    def test_a_typed_state_is_checked(self, store: Store, loading: Loading) -> None:
        """A value of another type is refused where it is set, a stored one where it is read."""
        obj = store.object("S", "k")
        obj.mapping().update(count="many", name="Ada")
        wrong: Any
        with obj.session(Greeter, **loading) as state:
            wrong = state
            assert state.name == "Ada"
            with pytest.raises(SerdeError):
                _ = state.count
            with pytest.raises(FieldError) as error:
                wrong.name = 7
            assert isinstance(error.value, TypeError)
            with pytest.raises(AttributeError):
                wrong.nmae = "Bob"
            state.count = 3
        assert obj.get_all() == {"count": 3, "name": "Ada"}
        with pytest.raises(SessionError):
            _ = wrong.name

    def test_a_serde_of_the_handle(self, store: Store, loading: Loading) -> None:
        """Values of a session are encoded by the serde of its handle, or one that a verb names."""
        serde: Any
        for serde, value in (("bytes", b""), ("msgpack", {"x": b"\xff"})):
            obj = store.object("S", "k", serde=serde)
            with obj.session(**loading) as state:
                state.set("a", value)
                state.set("b", b"raw", serde="bytes")
                assert state.get("a") == value and state.get("b", serde="bytes") == b"raw"
            with obj.session(**loading) as state:
                assert state.get("a") == value and state.get("never") is None

    # --- exclusive

    def test_sessions_lose_no_update(self, store: Store, another: Callable[[], Store]) -> None:
        """Threads of two clients that read, add and write in sessions take turns."""
        clients = [store, store, another(), another()]

        def work(client: Store) -> None:
            for _ in range(10):
                with client.object("S", "k").session() as state:
                    state.set("n", state.get("n", 0) + 1)

        in_threads(*(partial(work, client) for client in clients))
        assert store.object("S", "k").get("n") == 40

    def test_others_wait_or_time_out(self, store: Store, another: Callable[[], Store]) -> None:
        """Of this client or another: SessionTimeout after ``timeout``; who waits comes in time."""
        entered: list[str] = []

        def refused(client: Store, timeout: float | timedelta) -> None:
            with pytest.raises(SessionTimeout) as raised:
                with client.object("S", "k").session(timeout=timeout):
                    pytest.fail("it was not our turn")
            assert isinstance(raised.value, TimeoutError) and "'S', 'k'" in str(raised.value)
            with client.object("S", "other").session(timeout=10):
                entered.append("another object")

        def waits(client: Store) -> None:
            with client.object("S", "k").session(timeout=60) as state:
                entered.append(state.get("a"))

        for client in (store, another()):
            entered.clear()
            store.object("S", "k").set("a", "before")
            with store.object("S", "k").session() as state:
                in_threads(
                    partial(refused, client, 0),
                    partial(refused, client, timedelta(milliseconds=20)),
                )
                assert entered == ["another object"] * 2
                waiting = threading.Thread(target=waits, args=(client,), daemon=True)
                waiting.start()
                state.set("a", "after")
            waiting.join(60)
            assert not waiting.is_alive() and entered[2:] == ["after"]
            with client.object("S", "k").session(timeout=10):
                pass

    def test_a_nested_session_is_refused(self, store: Store) -> None:
        """It would wait for itself. Of another object, or read-only, it is none."""
        obj = store.object("S", "k")
        with obj.session() as state:
            state.set("a", 1)
            with pytest.raises(SessionError, match="this thread or task"):
                with store.object("S", "k").session():
                    pytest.fail("nested")
            with pytest.raises(SessionTimeout):
                with obj.session(timeout=0):
                    pytest.fail("nested")
            with store.object("S", "other").session() as other:
                other.set("a", 2)
            with obj.session(read_only=True) as reader:
                assert reader.get("a") is None
            state.set("b", 1)
        assert obj.get_all() == {"a": 1, "b": 1}
        assert store.object("S", "other").get_all() == {"a": 2}

    def test_a_block_may_be_entered_again(self, store: Store) -> None:
        """What session() returns is good for one block after the other, not for two at once."""
        block = store.object("S", "k").session()
        for count in range(2):
            with block as state:
                state.set("n", state.get("n", 0) + 1)
                with pytest.raises(SessionError, match="open already"):
                    block.__enter__()
            assert store.object("S", "k").get("n") == count + 1

    def test_whether_an_object_is_locked(self, store: Store) -> None:
        """locked() tells whether an exclusive session of this client has the object."""
        obj = store.object("S", "k")
        assert not obj.locked()
        with obj.session(read_only=True):
            assert not obj.locked()
        with obj.session():
            assert obj.locked() and not store.object("S", "other").locked()
        assert not obj.locked()
        with pytest.raises(LookupError), obj.session():
            raise LookupError
        assert not obj.locked()

    def test_writes_beside_a_session_do_not_wait(self, store: Store) -> None:
        """Verbs of the store and of handles are commits of their own: they ask for no turn."""
        obj = store.object("S", "k")
        with obj.session() as state:
            obj.set("a", 1)
            store.set("S", "k", "b", b"1")
            assert state.get("a") is None
        assert obj.get_all() == {"a": 1, "b": 1}

    @pytest.mark.parametrize("verb", VERBS)
    def test_used_after_its_end(self, store: Store, verb: str) -> None:
        """SessionError, whatever the verb and however the session ended; nothing is written."""
        obj = store.object("S", "k")
        before = obj.set("a", 0)
        for loading in LOADINGS.values():
            with obj.session(**loading) as state:
                pass
            with pytest.raises(SessionError, match="is over"):
                VERBS[verb](state)
        with pytest.raises(LookupError), obj.session() as state:
            state.set("a", 5)
            raise LookupError
        with pytest.raises(SessionError, match="is over"):
            VERBS[verb](state)
        assert obj.version() == before and obj.get("a") == 0

    def test_a_session_never_entered_is_nothing(self, store: Store, loading: Loading) -> None:
        """session() alone takes no turn."""
        obj = store.object("S", "k")
        waiting = [obj.session(**loading) for _ in range(3)]
        with obj.session(timeout=0):
            assert len(waiting) == 3


class _Leave(BaseException):
    """What is no Exception, such as an interrupt."""
