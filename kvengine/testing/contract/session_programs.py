"""Random programs of sessions: every way to load an object agrees with a dict."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kvengine.objects.store import Store
from kvengine.objects.virtual_object import VirtualObject
from kvengine.testing.contract.home import LONG, Home
from kvengine.testing.contract.sessions import LOADINGS

NAMES = st.sampled_from(["a", "a", "a", "b", "b", "", "\u00e9", "a\0", "zz", "absent"])
VALUES = st.sampled_from([None, 0, 1, "text", "", [1, {"x": None}], "y" * 40])

Entries = dict[str, tuple[Any, float | None]]
Step = tuple[Any, ...]
Program = list[tuple[list[Step], str, str]]
"""Sessions one after the other: their steps, whether they end or raise, what happens after."""

WRITES = ("set", "clear", "clear_all", "expire")


def programs(
    ttls: list[float | None], lifetimes: list[float | None], between: list[str]
) -> st.SearchStrategy[Program]:
    """Return a strategy for programs.

    ``ttls`` are of entries, ``lifetimes`` of the object, in seconds; ``between``: what may happen
    between two sessions.
    """
    chosen = st.sampled_from(ttls)
    steps: st.SearchStrategy[Step] = st.one_of(
        st.tuples(st.just("get"), NAMES),
        st.tuples(st.just("contains"), NAMES),
        st.tuples(st.just("set"), NAMES, VALUES, chosen),
        st.tuples(st.just("set"), NAMES, VALUES, chosen),
        st.tuples(st.just("clear"), NAMES),
        st.tuples(st.just("clear_all")),
        st.tuples(st.just("state_keys")),
        st.tuples(st.just("state_keys"), st.sampled_from(["", "a", "z"]), NAMES),
        st.tuples(st.just("expire"), st.sampled_from(lifetimes)),
        st.tuples(st.just("get_all")),
        st.tuples(st.just("commit")),
    )
    ends = st.sampled_from(["end", "end", "end", "raise"])
    session = st.tuples(st.lists(steps, max_size=8), ends, st.sampled_from(between))
    return st.lists(session, min_size=1, max_size=4)


FIXED: dict[str, Program] = {
    "what a session cleared is read again in it": [
        ([("set", "a", 1, None), ("set", "b", 2, None)], "end", "nothing"),
        ([("get", "a"), ("clear", "a"), ("get", "a"), ("get", "b")], "end", "nothing"),
    ],
    "an absent object that has an expiry all the same": [
        ([("set", "a", 1, None), ("expire", LONG), ("commit",), ("clear", "a")], "end", "nothing"),
        ([("clear_all",)], "end", "nothing"),
        ([("set", "a", 2, None)], "end", "nothing"),
    ],
    "all is read behind the session's own commit": [
        ([("set", "a", 1, None)], "end", "nothing"),
        ([("set", "a", 2, None), ("commit",), ("get_all",), ("state_keys",)], "end", "nothing"),
    ],
    "keys are listed behind a clear": [
        ([("set", "a", 1, None), ("set", "b", 1, None)], "end", "nothing"),
        ([("clear", "a"), ("state_keys",), ("get_all",)], "end", "nothing"),
    ],
    "everything was cleared, and one entry was set again": [
        ([("set", "a", 1, None), ("set", "b", 1, None)], "end", "nothing"),
        ([("clear_all",), ("set", "a", 2, None)], "end", "nothing"),
        ([("get", "b"), ("get", "a"), ("state_keys",)], "end", "nothing"),
    ],
    "a ttl, and one that is taken back": [
        ([("set", "a", 1, None), ("set", "b", 1, None)], "end", "nothing"),
        ([("set", "a", 2, LONG), ("set", "a", 3, None)], "end", "nothing"),
        ([("set", "a", 4, LONG)], "end", "nothing"),
    ],
}
"""Programs that are too rare among random ones to be met in every run."""


class Rollback(Exception):
    """What a block raises that is not to be committed."""


class Reference:
    """An object as a dict of values with their ends, and a session as a copy of it.

    ``end`` is the object's expiry. It stays when entries are cleared one by one.
    """

    def __init__(self) -> None:
        self.now: float = 0.0
        self.entries: Entries = {}
        self.end: float | None = None
        self.session: Entries = {}
        self.cleared: bool = False
        self.expire: tuple[float | None] | None = None

    def live(self) -> Entries:
        """Return the entries that there are, in key order."""
        if self.end is not None and self.end <= self.now:
            return {}
        return {k: v for k, v in sorted(self.entries.items()) if v[1] is None or v[1] > self.now}

    def begin(self) -> None:
        """Begin a session."""
        self.session, self.cleared, self.expire = self.live(), False, None

    def step(self, verb: str, *args: Any) -> Any:
        """Do a step of the session, and return what it answers."""
        session = self.session
        if verb == "get":
            return session[args[0]][0] if args[0] in session else "nothing"
        if verb == "contains":
            return args[0] in session
        if verb == "state_keys":
            prefix, start = args or ("", "")
            return [one for one in sorted(session) if one.startswith(prefix) and one >= start]
        if verb == "get_all":
            return {name: session[name][0] for name in sorted(session)}
        self.change(verb, *args)
        return None

    def change(self, verb: str, *args: Any) -> None:
        """Do a step that writes."""
        if verb == "set":
            name, value, ttl = args
            self.session[name] = value, None if ttl is None else self.now + ttl
            if ttl is not None and ttl <= 0:
                del self.session[name]
        elif verb == "clear":
            self.session.pop(args[0], None)
        elif verb == "clear_all":
            self.session.clear()
            self.cleared, self.expire = True, None
        elif verb == "expire":
            self.expire = args
        elif verb == "commit":
            self.commit()

    def commit(self) -> None:
        """Commit what the session has changed so far."""
        if self.cleared or (self.end is not None and self.end <= self.now):
            self.end = None
        self.entries = dict(self.session)
        if self.expire is not None and self.live():
            ttl = self.expire[0]
            self.end = None if ttl is None else self.now + ttl
        self.cleared, self.expire = False, None

    def set_from_outside(self, name: str, value: Any) -> None:
        """Set an entry outside of sessions."""
        self.begin()
        self.change("set", name, value, None)
        self.commit()


def perform(state: Any, verb: str, *args: Any) -> Any:
    """Do a step on a real session, and return what it answers."""
    if verb == "get":
        return state.get(args[0], "nothing")
    if verb == "contains":
        return args[0] in state
    if verb == "set":
        return state.set(args[0], args[1], ttl=args[2])
    if verb == "state_keys" and args:
        return state.state_keys(prefix=args[0], start=args[1])
    if verb == "expire":
        return state.expire(ttl=args[0])
    if verb == "commit":
        state.commit()
        return None
    return getattr(state, verb)(*args)


def run_session(block: Any, reference: Reference, steps: list[Step], end: str) -> None:
    """Run a session in ``block``, each answer held against the reference."""
    reference.begin()
    with suppress(Rollback):
        with block as state:
            for verb, *args in steps:
                found = perform(state, verb, *args)
                assert found == reference.step(verb, *args), (verb, args)
            if end == "raise":
                raise Rollback
        reference.commit()


class SessionPrograms(Home):
    """Sessions in programs that nobody has thought of."""

    session_programs: int = 40
    """How many random programs are run, each in every way to load the object."""

    def test_every_session_agrees_with_a_dict(
        self, store: Store, another: Callable[[], Store]
    ) -> None:
        """Eager, lazy, some and partial: the same answers, and the same state after each session.

        A session that changed nothing writes nothing.
        """
        other = another()
        ttls = [None, None, None, LONG, -1.0]
        strategy = programs(ttls, [None, LONG], ["nothing", "nothing", "outside", "cleared"])

        @settings(
            max_examples=self.session_programs,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def check(program: Program) -> None:
            for name, loading in LOADINGS.items():
                other.clear_all("S", name)
                reference = Reference()
                for steps, end, between in program:
                    self._run(store.object("S", name), loading, reference, (steps, end))
                    if between == "outside":
                        other.set("S", name, "a", b'"outside"')
                        reference.set_from_outside("a", "outside")
                    elif between == "cleared":
                        other.clear_all("S", name)
                        reference = Reference()

        for program in FIXED.values():
            check = example(program)(check)
        check()

    def _run(
        self,
        obj: VirtualObject,
        loading: dict[str, Any],
        reference: Reference,
        session: tuple[list[Step], str],
    ) -> None:
        version = obj.version()
        run_session(obj.session(**loading), reference, *session)
        if not any(step[0] in WRITES for step in session[0]):
            assert obj.version() == version, "a commit without a change"
        live = reference.live()
        expected = [(name, value) for name, (value, _) in live.items()]
        assert list(obj.get_all().items()) == expected
        for name, (_, end) in live.items():
            assert (obj.expires_at(name) is None) is (end is None), name
        assert (obj.expires_at() is None) is (not live or reference.end is None)
