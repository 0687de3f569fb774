"""Planted bugs in sessions: the tests of sessions find each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.patched import Change, copy, must_find, run

pytestmark = [pytest.mark.planted, pytest.mark.timeout(300)]

JUDGES = ("sessions", "state", "aio", "api", "durability", "regressions")

PROGRAMS = ("tests/sessions/test_programs.py",)
EXCLUSIVE = ("tests/sessions/test_exclusive.py", "--timeout=10")
ACROSS = ("tests/sessions/test_across_threads.py", "--timeout=10")
BY_VALUE = ("tests/state/test_changes_by_value.py",)
MOMENT = ("tests/sessions/test_moment.py",)
INTERRUPTED = ("tests/sessions/test_interrupted_sessions.py", "-m", "not slow", "--timeout=10")
LOOP = ("tests/aio/test_loop.py", "--timeout=10")
STORIES = ("tests/regressions/test_sessions.py", "--timeout=10")
TABLE = ("tests/sessions/test_semantics_table.py",)

WORKING = "objects/sessions/working.py"
TURNS = "objects/sessions/turns.py"
HELD = "storage/held.py"

BUGS: dict[str, tuple[tuple[str, ...], list[Change]]] = {
    "a lazy read of all hides what the session committed": (
        PROGRAMS,
        [Change(WORKING, "self._base = {**found, **self._base}", "self._base = {**found}")],
    ),
    "reads do not see the session's own changes": (
        PROGRAMS,
        [Change(WORKING, "if state_key in self._changes else", "if not self._complete else")],
    ),
    "state_keys lists what was cleared": (
        PROGRAMS,
        [Change(WORKING, "if name not in known)", "if known.get(name) is None)")],
    ),
    "clear_all is forgotten by the commit": (
        PROGRAMS,
        [Change(WORKING, "        self._cleared = True", "        self._cleared = False")],
    ),
    "clear_all of an absent object leaves its expiry": (
        PROGRAMS,
        [
            Change(
                WORKING,
                "        self._cleared = True",
                "        self._cleared = self._version != 0",
            )
        ],
    ),
    "clear_all leaves what was set before it": (
        PROGRAMS,
        [
            Change(
                WORKING,
                "self._base, self._changes, self._ttls = {}, {}, None",
                "self._base, self._ttls = {}, None",
            )
        ],
    ),
    "clearing what was set again leaves what was there": (
        PROGRAMS,
        [Change(WORKING, "if self._base.get(state_key) is None and (", "if True or (")],
    ),
    "the ttl of a set is lost": (
        PROGRAMS,
        [
            Change(
                "objects/sessions/session.py",
                "None if ttl is None else time_to_live(ttl)",
                "None",
            )
        ],
    ),
    "the ttl of a set stays when it is set again": (
        PROGRAMS,
        [Change(WORKING, "        elif self._ttls:", "        elif False:")],
    ),
    "changes with a ttl take the shortest way": (
        PROGRAMS,
        [Change(WORKING, "not (self._cleared or self._ttls) and", "not self._cleared and")],
    ),
    "changes are committed twice": (
        TABLE,
        [
            Change(
                WORKING,
                "self._changes, self._ttls, self._cleared = later, ttls or None, False",
                "self._ttls = None",
            )
        ],
    ),
    "an emptied object keeps its version": (
        MOMENT,
        [Change(WORKING, "stamp if self._survives else 0", "stamp")],
    ),
    "a session commits over what others changed": (
        MOMENT,
        [
            Change(
                "objects/sessions/session.py",
                "expect={name: self._version}, durability",
                "expect=None, durability",
            ),
            Change(
                "storage/commit.py",
                "            expect = (name, version)\n",
                "            expect = {}\n",
            ),
        ],
    ),
    "lazy reads are of now": (
        MOMENT,
        [
            Change(
                "objects/sessions/session.py",
                "found = self._asked().get(",
                "found = self._handle._host.store.get(",
            )
        ],
    ),
    "a session is not exclusive": (
        EXCLUSIVE,
        [Change(TURNS, "self._holders.setdefault(name, me) is me:", "not self._waiting:")],
    ),
    "a newcomer overtakes those that wait": (
        EXCLUSIVE,
        [
            Change(
                TURNS,
                "        self.order[turn.claim] = None\n",
                "        self.order[turn.claim] = None\n"
                "        self.order.move_to_end(turn.claim, last=False)\n",
            )
        ],
    ),
    "a nested session waits for itself": (
        EXCLUSIVE,
        [Change(TURNS, "holder is not None and holder.blocks(turn, blocking)", "False")],
    ),
    "two requests in one thread count as nested": (
        ACROSS,
        [
            Change(
                TURNS,
                "return self.flow is None or other.flow is None or self.flow is other.flow",
                "return True",
            )
        ],
    ),
    "an entry that is counted up loses its ttl": (
        BY_VALUE,
        [Change("objects/virtual_object.py", ", expires_at=ends)", ")")],
    ),
    "one that gave up stays in the queue": (
        EXCLUSIVE,
        [
            Change(
                TURNS,
                "        self.order.pop(turn.claim, None)\n        if turn.task",
                "        if turn.task",
            )
        ],
    ),
    "an interrupted session keeps its turn": (
        INTERRUPTED,
        [
            Change(
                "objects/sessions/context.py",
                "        except BaseException:\n            self._leave()",
                "        except Exception:\n            self._leave()",
            ),
            Change(
                TURNS,
                "        me = turn.claim\n",
                "        me = turn.claim\n        _KEPT.append(turn)\n",
            ),
            Change(TURNS, "class Turns:", "_KEPT: list[Any] = []\n\n\nclass Turns:"),
        ],
    ),
    "a cancelled commit gives its turn back at once": (
        LOOP,
        [Change("aio/waiting.py", "            cancelled = error\n", "            raise\n")],
    ),
    "reads in memory go to a thread": (
        LOOP,
        [Change("aio/waiting.py", "if source._in_memory(*name):", "if False:")],
    ),
    "what a task has committed is never synced": (
        LOOP,
        [Change("engine.py", "        self._committer.sync(commit)\n", "")],
    ),
    "a commit that was begun and left is never shown": (
        STORIES,
        [
            Change(
                "storage/commit.py",
                "not db.sync_lock.locked():\n            self.sync()",
                "not db.sync_lock.locked():\n            pass",
            )
        ],
    ),
    "a read-only session writes": (
        TABLE,
        [
            Change(
                "objects/sessions/session.py",
                "    def _refuse_write(self) -> NoReturn:\n",
                "    def _refuse_write(self) -> NoReturn:\n        return\n",
            ),
        ],
    ),
    "what a session holds counts as current after a commit": (
        MOMENT,
        [Change(HELD, "states.get(self.name) is self._state and", "True and")],
    ),
    "what a session holds counts as current after a range was cleared": (
        MOMENT,
        [Change(HELD, "and states.get(TOMBSTONES) is self._marks", "and True")],
    ),
    "what a session holds counts as current after a flush": (
        MOMENT,
        [Change(HELD, "or db.view is not view or", "or")],
    ),
    "what a session holds counts as current beside a commit that is not visible": (
        STORIES,
        [Change(HELD, " or db.unpublished:", ":")],
    ),
    "what a session holds counts as current when it has expired": (
        MOMENT,
        [Change(HELD, "held._expiring = flags & _EXPIRING != 0", "held._expiring = False")],
    ),
    "what a session holds shows through what cleared it": (
        PROGRAMS,
        [Change(HELD, "                held._older = False\n", "                pass\n")],
    ),
    "what a session holds is read at the time of now": (
        MOMENT,
        [
            Change(
                HELD,
                "return read.entry_of(self._all(), state_key, self._now)",
                "return read.entry_of(self._all(), state_key, self._db.clock.now())",
            )
        ],
    ),
}


def test_the_copy_itself_is_sound(tmp_path: Path) -> None:
    """Without a planted bug the same runs pass, so that what fails below is the bug."""
    copy(tmp_path, [], JUDGES)
    files = sorted({runs[0] for runs, _ in BUGS.values()})
    status, output = run(tmp_path, *files, "-m", "not slow")
    assert status == 0, output


@pytest.mark.parametrize("bug", BUGS)
def test_the_tests_of_sessions_find(
    bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these makes a test fail, or stand still until its time is over."""
    monkeypatch.setenv("KVENGINE_PROGRAMS", "2500")
    arguments, changes = BUGS[bug]
    must_find(
        tmp_path, changes, r"assert|Error|Failed|Conflict|NotFound", *arguments, judges=JUDGES
    )
