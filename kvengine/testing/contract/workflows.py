"""Workflows: objects that are kept for their retention once they are complete."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from kvengine.errors import ReadOnly, SessionError, VersionConflict
from kvengine.objects.state.base import State
from kvengine.objects.store import Store
from kvengine.testing.contract.home import FUTURE, LONG, Home, keys


class Steps(State):
    """A typed state of a workflow."""

    step: int = 0


class Workflows(Home):
    """workflow, complete, completed, workflows, retention, set_retention."""

    def test_completion_starts_the_retention(self, store: Store) -> None:
        """Before it nothing expires; from then on the state is kept for the retention."""
        flow = store.workflow("W", "id", retention=LONG)
        flow.set("step", 1)
        assert not flow.completed and flow.expires_at() is None
        assert flow.complete() is True
        ends = flow.expires_at()
        found = store.load("W", "id")
        assert found is not None and found.completed_at is not None and ends is not None
        assert ends == found.expires_at == found.completed_at + LONG
        assert flow.completed and flow.get("step") == 1 and store.exists("W", "id")
        assert store.workflow("W", "id").completed

    def test_it_is_over_when_its_retention_is(self, store: Store) -> None:
        """With state or without: absent from then on, and the same key may run again."""
        for key in ("with", "without"):
            flow = store.workflow("W", key, retention=self.brief)
            if key == "with":
                flow.set("step", 1)
            assert flow.complete() is True
        self.outlast(store)
        for key in ("with", "without"):
            flow = store.workflow("W", key, retention=LONG)
            assert (flow.version(), flow.expires_at(), flow.completed) == (0, None, False)
            assert flow.get_all() == {} and flow.state_keys() == [] and "step" not in flow
            assert store.load("W", key) is None and not store.exists("W", key)
        assert keys(store, "W") == [] == list(store.workflows("W")) and store.services() == []
        with store.workflow("W", "with").session() as state:
            assert state.get_all() == {} and state.version() == 0
            state.set("step", 2)
        flow = store.workflow("W", "without", retention=LONG)
        flow.set("step", 2)
        for key in ("with", "without"):
            flow = store.workflow("W", key, retention=LONG)
            assert flow.get_all() == {"step": 2} and flow.expires_at() is None
            assert not flow.completed and flow.complete() and flow.completed

    def test_without_state_it_is_listed_all_the_same(self, store: Store) -> None:
        """A completed workflow exists until its retention is over, with a version and no entries.

        So a framework that keeps no state of it can tell that it ran.
        """
        flow = store.workflow("W", "id", retention=LONG)
        assert flow.complete() is True and flow.completed
        version = flow.version()
        assert version > 0 and store.exists("W", "id")
        assert flow.get_all() == {} and flow.state_keys() == []
        assert keys(store, "W") == ["id"] and store.services() == ["W"] and store.count("W") == 1
        found = store.load("W", "id")
        assert found is not None and found.entries == {} and found.version == version
        assert [found] == list(store.scan("W")) == list(store.load_many("W", ["id"]).values())
        assert store.load("W", "id", max_bytes=0) == found == store.load("W", "id", max_bytes=99)
        assert not found.partial

    def test_completing_twice_changes_nothing(self, store: Store) -> None:
        """The first completion counts, through whatever handle or session."""
        flow = store.workflow("W", "id", retention=LONG)
        flow.set("step", 1)
        flow.complete()
        ends, version = flow.expires_at(), flow.version()
        for other in (
            flow,
            store.workflow("W", "id", retention=2 * LONG),
            store.workflow("W", "id"),
        ):
            assert other.complete() is True
            with other.session() as state:
                state.complete()
            assert (flow.expires_at(), flow.version()) == (ends, version)

    def test_writes_after_completion_keep_the_time(self, store: Store) -> None:
        """State may change during the retention, which goes on; the completion stays."""
        flow = store.workflow("W", "id", retention=LONG)
        flow.complete()
        ends = flow.expires_at()
        flow.set("late", 1)
        with flow.session() as state:
            assert state.get("late") == 1 and state.expires_at() == ends
            state.set("later", 2)
            state.clear("late")
        store.set("W", "id", "n", b"3")
        assert flow.get_all() == {"later": 2, "n": 3}
        with store.batch() as batch:
            batch.clear("W", "id", "later")
            batch.clear("W", "id", "n")
        assert flow.completed and flow.expires_at() == ends and keys(store, "W") == ["id"]

    def test_an_entry_that_runs_out_leaves_the_completion(self, store: Store) -> None:
        """The last entry expires by itself, and the workflow is still listed."""
        flow = store.workflow("W", "id", retention=LONG)
        flow.set("token", "x", ttl=self.brief)
        flow.complete()
        self.outlast(store)
        found = store.load("W", "id")
        assert found is not None and found.entries == {} and found.completed_at is not None
        assert keys(store, "W") == ["id"] and flow.completed

    def test_what_takes_the_completion_back(self, store: Store) -> None:
        """clear_all, a clear of the service, and expire without a time: then it may run again."""
        ends: dict[str, Callable[[], object]] = {
            "clear_all": store.workflow("W", "clear_all").clear_all,
            "range": lambda: store.clear_range("W", "range", "range\0"),
            "service": lambda: store.clear_service("W"),
        }
        for key, end in ends.items():
            flow = store.workflow("W", key, retention=LONG)
            flow.set("step", 1)
            flow.complete()
            end()
            assert not flow.completed and flow.version() == 0
            flow.set("step", 2)
            assert flow.get_all() == {"step": 2} and flow.expires_at() is None
        flow = store.workflow("W", "expire", retention=LONG)
        flow.set("step", 1)
        flow.complete()
        assert flow.expire() and not flow.completed and flow.expires_at() is None
        assert flow.get_all() == {"step": 1}

    def test_an_expiry_alone_completes_nothing(self, store: Store) -> None:
        """expire moves the end of a completed workflow, and does not complete another one."""
        flow = store.workflow("W", "id", retention=LONG)
        flow.set("step", 1)
        flow.expire(at=FUTURE)
        assert not flow.completed
        assert flow.complete() and flow.completed and flow.expires_at() != FUTURE
        assert flow.expire(at=FUTURE) and flow.completed and flow.expires_at() == FUTURE

    @pytest.mark.parametrize("retention", [0, 0.0, timedelta(0)])
    def test_without_retention(self, store: Store, retention: float | timedelta) -> None:
        """A retention of zero: the state goes with the completion. False if there was none."""
        flow = store.workflow("W", "id", retention=retention)
        assert flow.retention == timedelta(0)
        assert flow.complete() is False and flow.version() == 0
        flow.set("step", 1)
        assert flow.complete() is True
        assert (flow.version(), flow.completed, flow.get_all()) == (0, False, {})
        with flow.session() as state:
            state.set("step", 2)
            state.complete()
        assert flow.version() == 0 and keys(store, "W") == []

    def test_completed_in_a_session(self, store: Store) -> None:
        """complete() is part of the session's commit, with what the session sets."""
        flow = store.workflow("W", "untyped", retention=LONG)
        with flow.session() as state:
            state.set("step", 2)
            state.complete()
            assert not flow.completed
        typed = store.workflow("W", "typed", retention=LONG)
        with typed.session(Steps) as steps:
            steps.step = 2
            steps.complete()
            assert not typed.completed
        assert flow.completed and typed.completed
        assert flow.get("step") == 2 == typed.get("step")
        flow = store.workflow("W", "raises", retention=LONG)
        with pytest.raises(LookupError), flow.session() as state:
            state.complete()
            raise LookupError
        assert not flow.completed and flow.version() == 0

    def test_sessions_of_what_is_completed(self, store: Store) -> None:
        """They know version and expiry after their own commit, and take the completion back."""
        flow = store.workflow("W", "id", retention=LONG)
        with flow.session() as state:
            state.complete()
            stamp = state.commit()
            assert state.version() == stamp == flow.version()
            assert state.expires_at() == flow.expires_at() is not None
            state.complete()
            assert state.commit() is None
        with flow.session(preload=False) as state:
            assert state.version() == stamp and state.get_all() == {}
            state.clear_all()
            state.set("step", 3)
        assert flow.get_all() == {"step": 3} and not flow.completed

    def test_completed_from_outside_is_a_conflict(self, store: Store) -> None:
        """A session that writes and did not see the completion comes too late."""
        flow = store.workflow("W", "id", retention=LONG)
        for state_before in ({}, {"step": 1}):
            flow.clear_all()
            flow.mapping().update(state_before)
            with pytest.raises(VersionConflict), flow.session() as state:
                flow.complete()
                state.set("step", 9)
            assert flow.completed and flow.get_all() == state_before
        with flow.session() as state:
            flow.set("step", 2)
            assert state.get("step") == 1

    def test_only_a_workflow_is_completed(self, store: Store) -> None:
        """A virtual object has no completion; a read-only session refuses it."""
        obj = store.object("W", "id")
        assert not hasattr(obj, "complete")
        with obj.session() as state:
            state.set("step", 1)
            with pytest.raises(SessionError, match=r"complete.*workflow"):
                state.complete()
        flow = store.workflow("W", "id", retention=LONG)
        with flow.session(read_only=True) as state, pytest.raises(ReadOnly):
            state.complete()
        assert not flow.completed and obj.get_all() == {"step": 1}
        assert flow.complete() and obj.expires_at() is not None

    def test_the_workflows_of_a_service(self, store: Store, another: Callable[[], Store]) -> None:
        """In order of their keys, all or those (not) completed, with version and times."""
        store.workflow("W", "b", retention=LONG).complete()
        store.workflow("W", "a").set("step", 1)
        flow = store.workflow("W", "c", retention=2 * LONG)
        flow.set("step", 1)
        flow.complete()
        store.workflow("X", "d").complete()
        over = store.workflow("W", "over", retention=self.brief)
        over.complete()
        self.outlast(store)
        found = list(another().workflows("W"))
        assert [(each.service, each.key) for each in found] == [("W", key) for key in "abc"]
        assert [each.version for each in found] == [store.version("W", key) for key in "abc"]
        loaded = [store.load("W", key) for key in "abc"]
        assert [(each.completed_at, each.expires_at) for each in found] == [
            (each.completed_at, each.expires_at) for each in loaded if each is not None
        ]
        assert [each.completed_at is None for each in found] == [True, False, False]
        assert list(store.workflows("W", completed=True)) == found[1:]
        assert list(store.workflows("W", False)) == found[:1]
        assert list(store.workflows("never")) == []
        with store.snapshot() as snapshot:
            store.clear_service("W")
            assert list(snapshot.workflows("W")) == found
            assert [each.key for each in snapshot.workflows("W", True)] == ["b", "c"]
        assert list(store.workflows("W")) == []

    def test_the_retention_of_a_service(self, store: Store, another: Callable[[], Store]) -> None:
        """One day unless it is set; stored with the data, so that every client keeps to it."""
        assert store.retention("Order") == timedelta(days=1)
        assert store.workflow("Order", "1").retention == timedelta(days=1)
        store.set_retention("Order", timedelta(days=7))
        store.set_retention("Visit", 1.5)
        for client in (store, another()):
            assert client.retention("Order") == timedelta(days=7)
            assert client.workflow("Visit", "1").retention == timedelta(seconds=1.5)
            assert client.retention("Other") == timedelta(days=1)
        flow = store.workflow("Order", "1")
        flow.complete()
        (found,) = store.workflows("Order")
        assert found.expires_at is not None and found.completed_at is not None
        assert found.expires_at - found.completed_at == 7 * 86_400
        store.set_retention("Order", 0)
        assert store.retention("Order") == timedelta(0)
        assert flow.completed and list(store.workflows("Order")) == [found], "it keeps its time"

    def test_a_handle_that_states_another_retention(self, store: Store) -> None:
        """ValueError where the stored one differs; where none is stored it may state any."""
        store.set_retention("Order", 3600)
        with pytest.raises(ValueError, match="retention of 'Order'"):
            store.workflow("Order", "1", retention=60)
        assert store.workflow("Order", "1", retention=3600).retention == timedelta(hours=1)
        assert store.workflow("Other", "1", retention=0.25).retention == timedelta(seconds=0.25)
        assert store.workflow("Other", "1", retention=1e305).retention > timedelta(days=365 * 7000)

    @pytest.mark.parametrize(
        ("retention", "error"),
        [
            (-1, ValueError),
            (timedelta(seconds=-1), ValueError),
            (float("nan"), ValueError),
            (float("inf"), ValueError),
            (True, TypeError),
            ("1", TypeError),
        ],
    )
    def test_bad_retentions(self, store: Store, retention: Any, error: type[Exception]) -> None:
        """What is no length of time is refused when it is stated, and nothing is stored."""
        with pytest.raises(error, match="retention"):
            store.workflow("W", "id", retention=retention)
        with pytest.raises(error, match="retention"):
            store.set_retention("W", retention)
        assert store.retention("W") == timedelta(days=1)
