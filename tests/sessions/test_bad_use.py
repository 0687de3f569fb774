"""What people do wrong with sessions: an error that says what to do, and nothing written."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import kvengine
import kvengine.aio
from kvengine.objects.sessions.context import SessionContext
from tests.api.refusals import refuses
from tests.sessions.ways import Way


def test_used_after_its_end_by_a_mapping(db: kvengine.Engine) -> None:
    """A mapping of a session ends with it."""
    with db.object("S", "k").session() as state:
        mapping = state.mapping()
        mapping["a"] = 1
    with refuses(kvengine.SessionError, "is over"):
        mapping["a"] = 2
    assert db.object("S", "k").mapping() == {"a": 1}


def test_left_open_at_close(tmp_path: Path) -> None:
    """A database closed under a session: the session's end says so, and wrote nothing."""
    db = kvengine.open(tmp_path / "db")
    db.object("S", "k").set("a", 1)
    with refuses(kvengine.DatabaseClosed, "is closed"):
        with db.object("S", "k").session() as state:
            state.set("a", 2)
            db.close()
            assert state.get("a") == 2
    assert len(db._host.turns) == 0
    with kvengine.open(tmp_path / "db") as again:
        assert again.object("S", "k").get("a") == 1


def test_left_open_at_close_by_a_lazy_session(tmp_path: Path) -> None:
    """The same for what a lazy session would still have to read."""
    db = kvengine.open(tmp_path / "db")
    db.object("S", "k").set("a", 1)
    with refuses(kvengine.DatabaseClosed, "is closed"):
        with db.object("S", "k").session(preload=False) as state:
            db.close()
            state.get("a")
    assert len(db._host.turns) == 0


def test_left_open_at_close_by_tasks(tmp_path: Path) -> None:
    """A database closed under the sessions of tasks: those that have it and those that wait."""

    async def main() -> list[Any]:
        entered, leave = asyncio.Event(), asyncio.Event()
        db = await kvengine.aio.open(tmp_path / "db")

        async def work() -> None:
            async with db.object("S", "k").session() as state:
                entered.set()
                state.set("a", 1)
                await leave.wait()

        tasks = [asyncio.create_task(work()) for _ in range(3)]
        await entered.wait()
        await db.close()
        leave.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    for found in asyncio.run(main()):
        assert isinstance(found, kvengine.DatabaseClosed)
    with kvengine.open(tmp_path / "db") as again:
        assert again.version("S", "k") == 0


def test_a_session_in_another_thread(db: kvengine.Engine) -> None:
    """A session may be handed to a thread that works for it; it commits where it was opened."""
    with db.object("S", "k").session() as state:
        thread = threading.Thread(target=state.set, args=("a", 1))
        thread.start()
        thread.join()
    assert db.object("S", "k").get("a") == 1


BAD_VALUES: dict[str, Callable[[], Any]] = {
    "an object": object,
    "a function": lambda: len,
    "nan": lambda: float("nan"),
    "bytes": lambda: b"bytes",
    "a surrogate": lambda: "\ud800",
    "nested": lambda: {"list": [object()]},
}


@pytest.mark.parametrize("value", BAD_VALUES)
def test_values_that_do_not_encode(db: kvengine.Engine, way: Way, value: str) -> None:
    """Such a value is refused where it is set, by name; caught there, the rest commits."""
    with pytest.raises(kvengine.SerdeError, match="'S', 'k', 'bad'"):
        with way.session(db) as state:
            state.set("good", 1)
            state.set("bad", BAD_VALUES[value]())
    assert db.version("S", "k") == 0
    with way.session(db) as state:
        state.set("good", 1)
        with refuses(kvengine.SerdeError, "'S', 'k', 'bad'"):
            state.set("bad", BAD_VALUES[value]())
        assert state.get("bad") is None
    assert db.object("S", "k").get_all() == {"good": 1}


def test_a_coroutine_as_a_value(db: kvengine.Engine, way: Way) -> None:
    """A value that somebody forgot to await is named as such."""

    async def later() -> int:
        return 1

    with way.session(db) as state:
        value = later()
        with refuses(kvengine.SerdeError, "'S', 'k', 'a'.*await it first"):
            state.set("a", value)
        value.close()
    assert db.version("S", "k") == 0


class Broken:
    """A serde of somebody's own that fails."""

    def encode(self, value: Any) -> Any:
        return value if isinstance(value, str) else 1 / 0

    def decode(self, data: bytes, type: Any) -> Any:
        raise LookupError("nothing\nto be found")


def test_a_serde_that_raises(db: kvengine.Engine, way: Way) -> None:
    """Whatever a serde raises, or returns that is not bytes, becomes a SerdeError."""
    db.set("S", "k", "a", b"1")
    before = db.version("S", "k")
    with way.session(db, serde=Broken()) as state:
        with refuses(kvengine.SerdeError, "'S', 'k', 'a'.*nothing to be found") as _:
            state.get("a")
        with refuses(kvengine.SerdeError, "'S', 'k', 'b'.*division by zero"):
            state.set("b", 2)
        with refuses(kvengine.SerdeError, "'S', 'k', 'b'.*returned str, not bytes"):
            state.set("b", "text")
    assert db.version("S", "k") == before


def test_stored_bytes_that_do_not_decode(db: kvengine.Engine, way: Way) -> None:
    """A value that is not what the reader expects names its entry and the type expected."""
    db.set("S", "k", "a", b'"text"')
    db.set("S", "k", "b", b"\xff{")
    with way.session(db) as state:
        with refuses(kvengine.SerdeError, "'S', 'k', 'a'.*int"):
            state.get("a", type=int)
        with refuses(kvengine.SerdeError, "'S', 'k', 'b'"):
            state.get("b")
        assert state.get("a") == "text"
        assert state.get("b", serde="bytes") == b"\xff{"


BAD_NAMES: dict[str, tuple[Any, type[Exception]]] = {
    "bytes": (b"a", TypeError),
    "None": (None, TypeError),
    "a number": (1, TypeError),
    "a list": ([], TypeError),
    "a surrogate": ("\ud800", ValueError),
    "too long": ("x" * 65_537, kvengine.ValueTooLarge),
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(db: kvengine.Engine, way: Way, name: str) -> None:
    """A state key that is no name is refused by each verb, at once."""
    value, error = BAD_NAMES[name]
    with way.session(db) as state:
        for use in (
            lambda: state.get(value),
            lambda: state.set(value, 1),
            lambda: state.clear(value),
            lambda: value in state,
        ):
            with pytest.raises(error):
                use()
    assert db.version("S", "k") == 0


def test_good_settings(db: kvengine.Engine) -> None:
    """Whole seconds, a timedelta, any iterable of names."""
    for timeout in (0, 1, 0.5, timedelta(seconds=1), None):
        with db.object("S", "k").session(timeout=timeout, preload=iter(["a"])) as state:
            assert state.get("a") is None


def test_with_instead_of_async_with(db: kvengine.Engine) -> None:
    """The wrong kind of `with` is Python's own error, and leaves nothing taken."""
    with pytest.raises(TypeError):
        with kvengine.aio.wrap(db).object("S", "k").session():  # type: ignore[attr-defined]
            pytest.fail("entered")
    assert len(db._host.turns) == 0


def test_a_read_only_database(tmp_path: Path) -> None:
    """Sessions of a read-only database read; their commit is refused, unless nothing changed."""
    with kvengine.open(tmp_path / "db") as db:
        db.object("S", "k").set("a", 1)
    with kvengine.open(tmp_path / "db", read_only=True) as db:
        with db.object("S", "k").session() as state:
            assert state.get("a") == 1
        with db.object("S", "k").session(read_only=True, preload=False) as state:
            assert state.get("a") == 1
        with refuses(kvengine.ReadOnly, "read_only"):
            with db.object("S", "k").session() as state:
                state.set("a", 2)
        assert len(db._host.turns) == 0


def test_shared_is_read_only_now(db: kvengine.Engine) -> None:
    """Code of 0.1 that says shared=True still runs, and is told the new name where it stands."""
    for handle in (db.object("S", "k"), kvengine.aio.wrap(db).object("S", "k")):
        old: Any = handle
        with pytest.warns(DeprecationWarning, match="read_only=") as warned:
            block = old.session(shared=True)
        assert block._settings.read_only and warned[0].filename == __file__
        with pytest.warns(DeprecationWarning, match="read_only="):
            assert not old.session(shared=False)._settings.read_only


def test_a_session_never_entered_is_nothing(db: kvengine.Engine) -> None:
    """session() alone takes no turn, reads nothing and warns of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for arguments in ({}, {"preload": False}, {"read_only": True}):
            db.object("S", "k").session(**arguments)  # type: ignore[arg-type]
            kvengine.aio.wrap(db).object("S", "k").session(**arguments)  # type: ignore[arg-type]
    assert len(db._host.turns) == 0
    assert db.stats().open_snapshots == 0


@pytest.mark.plain
def test_an_error_at_the_end_keeps_the_one_before_it(
    db: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conflict, and then an interrupt while the turn is given back: both are told."""

    def interrupted(block: SessionContext) -> None:
        db._host.turns.leave(block._handle._name, block)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        with db.object("S", "k").session() as state:
            state.set("a", 2)
            db.set("S", "k", "a", b"3")
            monkeypatch.setattr(SessionContext, "_leave", interrupted)
    assert isinstance(caught.value.__context__, kvengine.VersionConflict)


@pytest.mark.parametrize("preload", [True, False])
def test_a_name_that_ends_the_session_it_is_looked_up_in(
    db: kvengine.Engine, preload: bool
) -> None:
    """A name may be an instance of a subclass, and its hash any code: no freed memory is read."""
    block = db.object("S", "k").session(preload=preload)

    class Ends(str):
        __slots__ = ()

        def __hash__(self) -> int:
            block.__exit__(None, None, None)
            return super().__hash__()

    for changed in (False, True):
        state = block.__enter__()
        assert state.get("a") is None
        if changed:
            state.set("b", 1)
        with pytest.raises(kvengine.SessionError, match="is over"):
            state.get(Ends("a"))
    assert db.object("S", "k").get("b") == 1


def test_what_is_set_during_a_commit_is_not_lost(db: kvengine.Engine) -> None:
    """A session may be handed to another thread, which sets while the first one commits.

    The commit then took what was set for committed: it was read back, and never written.
    """
    obj = db.object("S", "k")
    with obj.session() as state:
        session: Any = state

        state.set("a", 1)
        logged = session._logged()
        state.set("b", 2)
        state.set("a", 3)
        session._committed(5, logged)
        session._version = 0  # nothing was committed in truth
        assert state.get("a") == 3
        assert state.get("b") == 2
    assert obj.get_all() == {"a": 3, "b": 2}


def test_a_serde_that_ends_the_session(db: kvengine.Engine) -> None:
    """A value is encoded by code of its own: the set that follows says that the session is over."""

    class Ending:
        def encode(self, value: Any) -> bytes:
            context.__exit__(None, None, None)
            return b"1"

        def decode(self, data: bytes, type: Any) -> Any:
            return data

    context = db.object("S", "k").session()
    state = context.__enter__()
    with pytest.raises(kvengine.SessionError, match="is over"):
        state.set("a", 1, serde=Ending())
    assert db.object("S", "k").get_all() == {}
