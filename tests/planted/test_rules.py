"""Planted bugs in the rules of layers: the model tests find each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.patched import Change, copy, must_find, run

pytestmark = [pytest.mark.planted, pytest.mark.timeout(300)]

PROGRAMS = "tests/model/test_model.py"
MOMENTS = "tests/model/test_moments.py"

RUN = "storage/compaction/run.py"
PICKER = "storage/compaction/picker.py"
MEMTABLE = "storage/memtable.py"
RECOVER = "storage/lifecycle/recover.py"
ROW = "storage/row.py"

REPLAY = """from kvengine.storage.row import CLEARED, expires_at_of

_CLOCKS = []


def _anew(memtable, name, row):
    state = memtable.states.get(name)
    ends = expires_at_of(state.row) if state is not None else None
    if ends is None or ends > _CLOCKS[-1].wall():
        return row
    return bytes((row[0], row[1] | CLEARED)) + row[2:]


States = dict["""

OLD_TTLS = """\
        for name, entry in row.entries.items():
            before = entries.get(name)
            if isinstance(entry, bytes) and isinstance(before, tuple):
                entry = (before[0], entry)
            entries[name] = entry
    return"""

CUT_INSIDE = """half = len(row.entries) // 2
        if size and half > 5:
            part = list(row.entries.items())
            self.writer.add(name, make(row.version, dict(part[:half]), cleared=row.cleared))
            self._end(name + b"\\0")
            self.writer = self._new()
            row, encoded = make(row.version, dict(part[half:]), cleared=row.cleared), None
        self.writer.add(name, row, encoded)"""

BUGS: dict[str, list[Change]] = {
    "an expired row becomes a tombstone without asking newer layers": [
        Change(RUN, "extended = self._is_extended(name)", "extended = False"),
    ],
    "newer memtables are asked, newer segments are not": [
        Change(RUN, "segment.decode(row, name).extends:", "not name:"),
    ],
    "newer segments are asked, newer memtables are not": [
        Change(RUN, "if name in job.extended:", "if not name:"),
    ],
    "an expired segment is dropped above older data": [
        Change(
            PICKER,
            "if any(_overlaps(m, segment.start, segment.stop) for m in beneath):\n"
            "                continue",
            "if not level:\n                continue",
        ),
    ],
    "an expired segment is dropped although a newer row extends it": [
        Change(PICKER, "extended=extended and p.rows > 0", "extended=False"),
    ],
    "a row without live entries is dropped before its expiry": [
        Change(
            "storage/retention.py",
            "if bottom and not entries and row.expires_at is None:",
            "if bottom and not entries:",
        ),
    ],
    "overlay forgets that an older row extends an expiry": [
        Change(ROW, "CLEARED | EXTENDS | ENTRY_TTLS", "CLEARED | ENTRY_TTLS"),
    ],
    "replay resolves expiry with its own clock": [
        Change(MEMTABLE, "States = dict[", REPLAY),
        Change(
            MEMTABLE,
            "change_of((service, key), None, row)",
            "change_of((service, key), None, _anew(self, (service, key), row))",
        ),
        Change(
            RECOVER,
            "    fs.makedirs(directory)\n",
            "    from kvengine.storage.memtable import _CLOCKS\n\n    fs.makedirs(directory)\n"
            "    _CLOCKS.append(options.clock)\n",
        ),
    ],
    "level 0 is picked without counting range tombstones": [
        Change(
            PICKER,
            "[m for m in levels[0] if m.number <= newest]",
            "[m for m in levels[0] if m.number == newest or m.properties.rows]",
        ),
    ],
    "overlap is found without counting range tombstones": [
        Change(
            PICKER,
            "return segment.start < stop and start < segment.stop",
            "return one.properties.rows > 0 and one.start < stop and start < one.stop",
        ),
    ],
    "range tombstones are not clipped where segments are cut": [
        Change(RUN, "tombstones.clip(self._marks, self._start, stop)", "self._marks"),
    ],
    "range tombstones go although older data lies beneath": [
        Change(RUN, "Outputs(fs, job, _above(marks, job.older),", "Outputs(fs, job, (),"),
    ],
    "a large row is cut inside": [
        Change(
            RUN,
            "from kvengine.storage.row import Row,",
            "from kvengine.storage.row import make, Row,",
        ),
        Change(RUN, "self.writer.add(name, row, encoded)", CUT_INSIDE),
    ],
    "the largest time ever seen is taken for the last": [
        Change(
            "storage/manifest/file.py",
            "self.now = edit.now or self.now",
            "self.now = max(self.now, edit.now)",
        ),
    ],
    "a walk in reverse stops at a service with a NUL": [
        Change(
            "storage/names.py",
            'return escaped.replace(b"\\0\\xff", b"\\0").decode() + "\\0" * ends, ""',
            'return escaped.partition(b"\\0")[0].decode() + "\\0" * ends, ""',
        ),
    ],
    "a commit without a ttl leaves the old one": [
        Change(
            ROW,
            "        entries.update(row.entries)\n    return",
            OLD_TTLS,
        ),
    ],
}


def test_the_copy_itself_is_sound(tmp_path: Path) -> None:
    """Without a planted bug the same run passes, so that what fails below is the bug."""
    copy(tmp_path, [])
    status, output = run(tmp_path, PROGRAMS, MOMENTS, "-m", "not slow")
    assert status == 0, output


@pytest.mark.parametrize("bug", BUGS)
def test_the_model_finds(bug: str, tmp_path: Path) -> None:
    """Programs of random verbs read otherwise than the reference."""
    must_find(tmp_path, BUGS[bug], "Difference: seed", PROGRAMS)


def test_a_rewrite_that_calls_for_itself_is_found(tmp_path: Path) -> None:
    """Expired data that a newer layer extends is not half a segment's worth of work."""
    change = Change("storage/segment/tally.py", "if at > self._horizon:", "if at:")
    must_find(tmp_path, [change], "still Pick", "tests/model/test_stories.py")


def test_a_snapshot_that_reads_the_clock_before_the_layers_is_found(tmp_path: Path) -> None:
    """What expires between the two is in the snapshot's time and not in its layers."""
    file = "storage/moment.py"
    changes = [
        Change(
            file,
            "    with db.commit_lock:\n        view = db.view\n        view.check_open()",
            "    now = db.clock.now()\n"
            "    with db.commit_lock:\n        view = db.view\n        view.check_open()",
        ),
        Change(file, "(db, view, db.published, db.clock.now())", "(db, view, db.published, now)"),
    ]
    must_find(tmp_path, changes, "now came before its layers", MOMENTS)


def test_a_batch_applied_object_by_object_is_found(tmp_path: Path) -> None:
    """A reader in between sees one object of the batch and not the other."""
    change = Change(
        "storage/memtable.py",
        "            self.states.update(states_of(changes, marks))",
        "            for name, state in states_of(changes, marks).items():\n"
        "                self.states[name] = state",
    )
    must_find(tmp_path, [change], "a reader saw", MOMENTS)
