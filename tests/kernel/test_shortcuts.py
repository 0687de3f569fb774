"""The compiled shortcuts: in place, without leaks, and with the words of the methods they replace.

What they do is tested where the verbs are, with and without them (`make test-plain`).
"""

from __future__ import annotations

import gc
import inspect
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import kvengine
from kvengine import kernel, shortcuts
from kvengine.objects.sessions.context import SessionContext
from kvengine.objects.sessions.session import Over, Session
from kvengine.objects.sessions.settings import USUAL
from kvengine.objects.sessions.working import Working
from kvengine.objects.virtual_object import VirtualObject

pytestmark = pytest.mark.skipif(not kernel.COMPILED, reason="the kernel is not built, or is off")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[kvengine.Engine]:
    options = {"background": "none", "durability": "os", "max_value_size": 100}
    with kvengine.open(tmp_path, **options) as found:
        for serde in ("json", "bytes"):
            with found.object(serde, "k", serde=serde).session() as state:
                for name in "abc":
                    state.set(name, b"1") if serde == "bytes" else state.set(name, 1)
        yield found


def test_they_are_in_place() -> None:
    for kind, name in (
        (kvengine.Engine, "object"),
        (VirtualObject, "session"),
        (SessionContext, "__enter__"),
        (SessionContext, "__exit__"),
        (Session, "get"),
        (Session, "set"),
    ):
        assert type(getattr(kind, name)).__name__ == "method_descriptor", name


def test_they_read_as_the_methods_they_stand_for() -> None:
    """`help()` and signatures are those of the Python methods."""
    plain = {one.__name__: one for one in shortcuts._METHODS}
    for kind, name in ((kvengine.Engine, "object"), (VirtualObject, "session"), (Session, "get")):
        shown = getattr(kind, name)
        assert inspect.getdoc(shown) == inspect.getdoc(plain[name])
        parameters = inspect.signature(shown).parameters
        wanted = inspect.signature(plain[name]).parameters
        assert [(p.name, p.kind, p.default) for p in parameters.values() if p.name != "self"] == [
            (p.name, p.kind, p.default) for p in wanted.values() if p.name != "self"
        ]


def test_what_they_make_is_what_python_makes(db: kvengine.Engine) -> None:
    """Each object made in C has every slot that the class's own way of making it fills."""
    obj = db.object("json", "k")
    assert type(obj) is VirtualObject
    assert repr(obj) == repr(VirtualObject(obj._host, obj._codec))
    assert (obj.service, obj.key, obj._retention) == ("json", "k", None)
    block = obj.session()
    wanted = SessionContext(obj._host, obj._codec, None, USUAL, None)
    for slot in SessionContext.__struct_fields__:
        assert getattr(block, slot) == getattr(wanted, slot), slot
    with block as state:
        version = db.version("json", "k")
        working = Working(version, None, {"a": b"1", "b": b"1", "c": b"1"}, True)
        twin = Session(obj._host, working, None, obj._codec, USUAL, None)
        for slot in Session.__struct_fields__:
            if slot != "_working":
                assert getattr(state, slot) == getattr(twin, slot), slot
        for slot in Working.__struct_fields__:
            assert getattr(state._working, slot) == getattr(working, slot), slot
        assert gc.is_tracked(state)
    assert type(state._working) is Over


def read_write(db: kvengine.Engine, service: str) -> None:
    with db.object(service, "k", serde=service).session() as state:
        state.get("a")
        state.get("absent")
        state.get("absent", state)
        state.set("b", b"7" if service == "bytes" else "text")


def fail_inside(db: kvengine.Engine) -> None:
    with suppress(ZeroDivisionError), db.object("json", "k").session() as state:
        state.set("a", 2)
        1 / 0  # noqa: B018


def conflict(db: kvengine.Engine) -> None:
    with suppress(kvengine.VersionConflict), db.object("json", "k").session() as state:
        state.set("a", 2)
        db.set("json", "k", "a", b"3")


def refuse(db: kvengine.Engine) -> None:
    with db.object("json", "k").session() as state:
        for wrong in (lambda: state.get(7), lambda: state.set("a", object()), state.get, state.set):  # type: ignore[call-overload,arg-type,call-arg]
            with suppress(TypeError, kvengine.SerdeError):
                wrong()
        with suppress(kvengine.ValueTooLarge):
            state.set("a", "x" * 200)
        with suppress(kvengine.SessionError):
            db.object("json", "k").session().__enter__()
    with suppress(kvengine.SessionError):
        state.get("a")
    with suppress(kvengine.SessionError):
        state.set("a", 1)
    with suppress(TypeError, ValueError):
        db.object("json", 7)  # type: ignore[arg-type]
    with suppress(ValueError):
        db.object("json", "k", serde="none")  # type: ignore[arg-type]
    with suppress(TypeError):
        db.object("json")  # type: ignore[call-arg]


def damaged(db: kvengine.Engine) -> None:
    db.set("json", "k", "a", b"{")
    with db.object("json", "k").session() as state, suppress(kvengine.SerdeError):
        state.get("a")


def long_ways(db: kvengine.Engine) -> None:
    with db.object("json", "new").session() as state:
        state.set("a", {"nested": [1]}, ttl=5)
        state.get("a", None, type=dict)
        state.clear_all()
    with db.object("json", "k").session(preload=False) as state:
        state.get("a", serde="json")
        state.clear("a")
    with db.workflow("json", "k").session() as state:
        state.set("a", 1)


def beside_a_snapshot(db: kvengine.Engine) -> None:
    with db.snapshot() as before:
        value = before.get("bytes", "k", "a")
        new = b"2" if value == b"1" else b"1"
        with db.object("bytes", "k", serde="bytes").session() as state:
            state.set("a", new)
        assert before.get("bytes", "k", "a") == value
        assert db.get("bytes", "k", "a") == new


def new_names(db: kvengine.Engine) -> None:
    with db.object("json", "k").session() as state:
        state.set("new", 1)
    db.clear("json", "k", "new")


def given_up(db: kvengine.Engine) -> None:
    """A session whose block is dropped without an end."""
    block = db.object("json", "k").session()
    block.__enter__().set("a", 1)


USES: dict[str, Callable[[kvengine.Engine], None]] = {
    "json": lambda db: read_write(db, "json"),
    "bytes": lambda db: read_write(db, "bytes"),
    **{f.__name__: f for f in (fail_inside, conflict, refuse, damaged, long_ways, given_up)},
    **{f.__name__: f for f in (beside_a_snapshot, new_names)},
}


@pytest.mark.parametrize("use", USES)
def test_nothing_leaks(db: kvengine.Engine, use: str) -> None:
    """After a thousand uses what they touch has as many references, and there is no new object."""
    run = USES[use]
    obj = db.object("json", "k")
    watched: list[Any] = [
        *(obj._host, obj._host.turns, obj._host.serdes, obj._host.serdes._usual, USUAL),
        *(Session, Working, Over, SessionContext, VirtualObject, type(obj._codec), "json", "bytes"),
        *(obj._host.commit_sets, obj._host.known, kvengine.errors.SessionError),
    ]
    if sys.version_info < (3, 12):  # later these are immortal, and nobody counts
        watched += [None, True, False, 0]
    for _ in range(100):
        run(db)
    gc.collect()
    before, objects = [sys.getrefcount(one) for one in watched], len(gc.get_objects())
    for _ in range(1000):
        run(db)
    gc.collect()
    after = [sys.getrefcount(one) for one in watched]
    for one, old, new in zip(watched, before, after, strict=True):
        assert new - old < 50, one
    assert len(gc.get_objects()) - objects < 200
    assert len(obj._host.turns) == 0


def test_a_dropped_block_frees_its_object(db: kvengine.Engine) -> None:
    """A cycle through a session is found by the collector, and its turn is over with it."""
    block = db.object("json", "k").session()
    state = block.__enter__()
    state._working.changes["self"] = state  # type: ignore[assignment]
    gone = weakref.ref(block)
    assert len(block._host.turns) == 1
    turns = block._host.turns
    del block, state
    gc.collect()
    assert gone() is None
    assert len(turns) == 0


def test_a_kernel_of_another_version_is_refused_in_words() -> None:
    """A compiled file that was left behind by older sources: the error says what to do."""
    script = """
import kvengine.kernel as kernel
def refuse(parts):
    raise TypeError("no slot _working")
kernel.install = refuse
import kvengine.engine
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.returncode
    assert "KVENGINE_KERNEL=off" in done.stderr


@pytest.mark.parametrize("victim", ["session", "working", "block"])
def test_a_deleted_attribute_is_no_crash(db: kvengine.Engine, victim: str) -> None:
    """Whoever deletes what is private gets an exception from Python, not a dead process."""
    kinds = {"session": Session, "working": Working, "block": SessionContext}
    for slot in kinds[victim].__struct_fields__:
        for when in ("before", "after"):
            block = db.object("json", "k").session()
            with suppress(AttributeError, kvengine.KVEngineError, TypeError):
                if victim == "block" and when == "before":
                    delattr(block, slot)
                with block as state:
                    one = {"session": state, "working": state._working, "block": block}[victim]
                    if when == "after":
                        state.set("a", 1)
                    with suppress(AttributeError):
                        delattr(one, slot)
                    for use in (
                        lambda s: s.get("a"),
                        lambda s: s.get("x"),
                        lambda s: s.set("a", 2),
                    ):
                        with suppress(AttributeError, kvengine.KVEngineError, TypeError):
                            use(state)
            db._host.forget_turns()


def test_the_end_of_a_block_takes_its_arguments_by_name(db: kvengine.Engine) -> None:
    block = db.object("json", "k").session()
    block.__enter__().set("a", 7)
    block.__exit__(kind=None, error=None, traceback=None)
    assert db.object("json", "k").get("a") == 7


def test_a_block_is_entered_once_whoever_runs_meanwhile(db: kvengine.Engine) -> None:
    """A finalizer that enters the same block just then is refused: it got a second session."""
    block = db.object("json", "k").session()
    found: list[Any] = []

    class Late:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            with suppress(kvengine.SessionError):
                found.append(block.__enter__())

    threshold = gc.get_threshold()
    gc.collect()
    gc.disable()
    Late()
    gc.set_threshold(1)  # from here on the collector runs at the next thing it tracks
    gc.enable()
    try:
        found.append(block.__enter__())
    except kvengine.SessionError:
        pass
    finally:
        gc.set_threshold(*threshold)
    assert len(found) == 1
    block.__exit__(None, None, None)
    assert len(db._host.turns) == 0


def test_an_error_at_the_end_keeps_the_one_before_it(
    db: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conflict, and then an interrupt while the turn is given back: both are told."""

    def interrupted(block: SessionContext[Any]) -> None:
        db._host.turns.leave(block._codec.name, block)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        with db.object("json", "k").session() as state:
            state.set("a", 2)
            db.set("json", "k", "a", b"3")
            monkeypatch.setattr(SessionContext, "_leave", interrupted)
    assert isinstance(caught.value.__context__, kvengine.VersionConflict)


def test_only_the_main_interpreter_has_it() -> None:
    """A sub-interpreter in the same process runs in plain Python, and spoils nothing here."""
    interpreters = pytest.importorskip("_xxsubinterpreters")
    script = """
import _xxsubinterpreters, kvengine
db = kvengine.open({place!r}, background="none", durability="os")
one = _xxsubinterpreters.create(isolated=False)
_xxsubinterpreters.run_string(one, "import kvengine.engine\\n"
    "assert not kvengine.kernel.COMPILED")
_xxsubinterpreters.destroy(one)
with db.object("S", "k").session() as state:
    state.set("a", 1)
with db.object("S", "k").session() as state:
    assert state.get("a") == 1
print("sound", kvengine.kernel.COMPILED)
"""
    del interpreters
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-c", script.format(place=place)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout == "sound True\n", done.stderr
