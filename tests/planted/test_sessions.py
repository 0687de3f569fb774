"""Planted bugs in sessions: the tests of sessions find each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.patched import Change, copy, must_find, run

pytestmark = [pytest.mark.planted, pytest.mark.timeout(300)]

JUDGES = ("sessions", "aio", "api", "durability", "regressions")

PROGRAMS = ("tests/sessions/test_programs.py",)
EXCLUSIVE = ("tests/sessions/test_exclusive.py", "--timeout=20")
MOMENT = ("tests/sessions/test_moment.py",)
INTERRUPTED = ("tests/sessions/test_interrupted_sessions.py", "-m", "not slow", "--timeout=20")
LOOP = ("tests/aio/test_loop.py", "--timeout=20")
TABLE = ("tests/sessions/test_semantics_table.py",)

WORKING = "sessions/working.py"
TURNS = "sessions/turns.py"

BUGS: dict[str, tuple[tuple[str, ...], list[Change]]] = {
    "a lazy read overwrites what the session wrote": (
        PROGRAMS,
        [Change(WORKING, "self.known = {**found, **self.known}", "self.known.update(found)")],
    ),
    "state_keys lists what was cleared": (
        PROGRAMS,
        [Change(WORKING, "if name not in self.known)", "if self.known.get(name) is None)")],
    ),
    "clear_all is forgotten by the commit": (
        PROGRAMS,
        [Change(WORKING, "self._cleared = True", "self._cleared = False")],
    ),
    "clear_all of an absent object leaves its expiry": (
        PROGRAMS,
        [Change(WORKING, "self._cleared = True", "self._cleared = self.version != 0")],
    ),
    "clear_all leaves what was set before it": (
        PROGRAMS,
        [Change(WORKING, "        self._changes.clear()\n", "")],
    ),
    "an entry that was cleared and set again is taken for a new one": (
        PROGRAMS,
        [Change(WORKING, "self._absent(state_key) and state_key not in self._changes", "True")],
    ),
    "the ttl of a set is lost": (
        PROGRAMS,
        [
            Change(
                "sessions/session.py",
                'None if ttl is None else duration("ttl", ttl)',
                "None",
            )
        ],
    ),
    "changes are committed twice": (
        PROGRAMS,
        [Change(WORKING, "        self._changes = {}\n        self._new = set()\n", "")],
    ),
    "an emptied object keeps its version": (
        MOMENT,
        [Change(WORKING, "stamp if self.state_keys() else 0", "stamp")],
    ),
    "a session commits over what others changed": (
        MOMENT,
        [
            Change(
                "sessions/session.py",
                "expect=expect, durability",
                "expect=None, durability",
            )
        ],
    ),
    "lazy reads are of now": (
        MOMENT,
        [Change("sessions/load.py", "    return working, moment", "    return working, store")],
    ),
    "a session is not exclusive": (
        EXCLUSIVE,
        [Change(TURNS, "            return self.has_come(name, turn)", "            return True")],
    ),
    "the last to come is the first": (
        EXCLUSIVE,
        [
            Change(
                TURNS,
                "            queue.append(ref(turn))",
                "            queue.insert(1, ref(turn))",
            )
        ],
    ),
    "a nested session waits for itself": (
        EXCLUSIVE,
        [Change(TURNS, "if one.blocks(turn, blocking=blocking):", "if False:")],
    ),
    "one that gave up stays in the queue": (
        EXCLUSIVE,
        [Change(TURNS, "if each() not in (None, turn))", "if each() is not None)")],
    ),
    "an interrupted session keeps its turn": (
        INTERRUPTED,
        [
            Change(
                "sessions/context.py",
                "        except BaseException:\n            self._leave()",
                "        except Exception:\n            self._leave()",
            ),
            Change(TURNS, "ref(turn),)", "(lambda: turn),)"),
        ],
    ),
    "a cancelled commit gives its turn back at once": (
        LOOP,
        [Change("aio/waiting.py", "            cancelled = error\n", "            raise\n")],
    ),
    "reads in memory go to a thread": (
        LOOP,
        [Change("aio/waiting.py", "if source.in_memory(*name):", "if False:")],
    ),
    "a shared session writes": (
        TABLE,
        [Change("sessions/session.py", "if self._settings.shared:", "if False:")],
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
    monkeypatch.setenv("KVENGINE_PROGRAMS", "300")
    arguments, changes = BUGS[bug]
    must_find(
        tmp_path, changes, r"assert|Error|Failed|Conflict|NotFound", *arguments, judges=JUDGES
    )
