"""Planted bugs in the rules that are easy to get wrong: the tests of tests/rules find each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.patched import Change, copy, must_find, run

pytestmark = [pytest.mark.planted, pytest.mark.timeout(300)]

JUDGES = ("rules", "durability", "crash", "model")

BARRIERS = "tests/rules/test_barriers.py"
MEMO_TESTS = "tests/rules/test_memo.py"
CLEARS = "tests/rules/test_clears.py"
EXPIRY = "tests/rules/test_expiry.py"
CHAINS = "tests/rules/test_chains.py"
SPANS = "tests/rules/test_dead_spans.py"
FRAMES_TESTS = "tests/rules/test_frames.py"
HUGE_TESTS = "tests/rules/test_huge_values.py"
JOBS = "tests/rules/test_jobs.py"
TOKENS_TESTS = "tests/rules/test_tokens.py"
TOKEN_CRASHES = "tests/crash/test_tokens.py"

READ = "storage/read.py"
READER = "storage/reader.py"
ROW = "storage/row.py"
COMMIT = "storage/commit.py"
MEMO = "storage/memo.py"
MEMTABLE = "storage/memtable.py"
WALK = "storage/walk.py"
FRAMES = "storage/frames.py"
REFRESH = "storage/lifecycle/refresh.py"
WRITER = "storage/segment/writer.py"
TALLY = "storage/segment/tally.py"
SEGMENT = "storage/segment/reader.py"
INSTALL = "storage/compaction/install.py"
APART = "storage/compaction/apart.py"
RUN = "storage/compaction/run.py"
MAINTENANCE = "storage/compaction/maintenance.py"
TOKENS = "storage/tokens.py"
RECOVER = "storage/lifecycle/recover.py"

BEGUN_UNDER_THE_LOCK = """\
            with db.commit_lock:
                if db.last_stamp == self._moment.stamp:
                    self._touched = []
                    self._spans.begin(self)
"""

BEGUN_WITHOUT_IT = """\
            pass
        if db.last_stamp == self._moment.stamp:
            self._touched = []
            self._spans.begin(self)
"""

SHOWN_AFTER_A_FAILED_SYNC = """\
            for commit in db.pending:
                self._publish(commit)
            db.pending.clear()
            db.unpublished.clear()


def _after("""

PUBLISHED = "            self.states[change.name] = change.state"

NOTED_WHEN_PUBLISHED = """\
            self.states[change.name] = change.state
        for change in changes:
            if change.state.row[1] & EXTENDS:
                self.extended.add(change.name)
        if len(changes) == 1 and marks is None:
            pass
"""

BUGS: dict[str, tuple[str, list[Change]]] = {
    # Barriers
    "an entry is believed whatever the layers above it say": (
        BARRIERS,
        [Change(READ, "in _barriers(passed, encoded, digest):", "in ():")],
    ),
    "an expiry that was lifted is no barrier": (
        BARRIERS,
        [Change(ROW, "= CLEARED | EXPIRES | EXTENDS", "= CLEARED | EXPIRES")],
    ),
    "an expiry is no barrier": (
        BARRIERS,
        [Change(ROW, "= CLEARED | EXPIRES | EXTENDS", "= CLEARED | EXTENDS")],
    ),
    "any ttl is a barrier": (
        BARRIERS,
        [
            Change(
                ROW, "= CLEARED | EXPIRES | EXTENDS", "= CLEARED | EXPIRES | EXTENDS | ENTRY_TTLS"
            )
        ],
    ),
    "tombstones are no items of the filter": (
        BARRIERS,
        [
            Change(
                WRITER,
                "        for state_key in row.entries:\n",
                "        for state_key in (k for k, v in row.entries.items() if v is not None):\n",
            )
        ],
    ),
    "the oldest barrier states the expiry": (
        BARRIERS,
        [Change(READ, "newest = newest or above", "newest = above")],
    ),
    # The memo
    "a put does not look for a rotation": (
        MEMO_TESTS,
        [Change(READER, "db.view is view\n                    and ", "")],
    ),
    "a put does not look for a commit": (
        MEMO_TESTS,
        [Change(READER, "                    and states.get(name) is state\n", "")],
    ),
    "a put looks into the memtable of now": (
        MEMO_TESTS,
        [
            Change(
                READER,
                "db.view is view\n                    and db.memo.era == era\n"
                "                    and states.get(name) is state\n",
                "db.memo.era == era and db.view.active.states.get(name) is state\n",
            )
        ],
    ),
    "a put does not look for a range clear": (
        MEMO_TESTS,
        [Change(READER, "                    and states.get(TOMBSTONES) is marks\n", "")],
    ),
    "a refresh lets readers that have begun put what they found": (
        MEMO_TESTS,
        [
            Change(MEMO, "self.era += 1", "self.era += 0"),
        ],
    ),
    "a commit builds on what has expired in the memo": (
        MEMO_TESTS,
        [Change(COMMIT, "if before.soonest is None or before.soonest > commit.now:", "if True:")],
    ),
    "a commit in the memo forgets the ttls of other entries": (
        MEMO_TESTS,
        [Change(ROW, "if base.ttls is None and row.flags == 0 and", "if row.flags == 0 and")],
    ),
    "objects that grow in the memo are not counted against its budget": (
        MEMO_TESTS,
        [Change(MEMO, "if size > before.size and (", "if size > 1e9 and (")],
    ),
    "a commit changes in the memo what a session has too": (
        "tests/rules/test_memo_in_place.py",
        [Change(MEMO, "references(before) == 1 and references(old) == 2", "True")],
    ),
    "an object stays in the memo while its batch is published": (
        MEMO_TESTS,
        [Change(COMMIT, "memo.known.pop(change.name, None)", "memo.known.get(change.name)")],
    ),
    "the memo has a batch before the memtable has it": (
        MEMO_TESTS,
        [
            Change(
                COMMIT,
                "                    touched = True",
                "                    touched = True\n"
                "                    new = extend(change.known, decode(change.row))\n"
                "                    memo.replace(change.name, new)",
            )
        ],
    ),
    # Clears
    "a range clear hides as soon as it is appended": (
        CLEARS,
        [
            Change(
                MEMTABLE,
                "        return TombstoneState(marks, stamp, before) if ranges else None",
                "        if ranges:\n"
                "            published[TOMBSTONES] = TombstoneState(marks, stamp, before)\n"
                "        return TombstoneState(marks, stamp, before) if ranges else None",
            )
        ],
    ),
    "a cleared object is gone as soon as the clear is appended": (
        CLEARS,
        [
            Change(
                MEMTABLE,
                "                self._note(name, row, now)",
                "                self._note(name, row, now)\n"
                "            if flags & CLEARED:\n"
                "                published[name] = State(stamp, row, None, 1, current)",
            )
        ],
    ),
    "a failed sync shows what it did not make durable": (
        CLEARS,
        [
            Change(
                COMMIT,
                "            db.pending.clear()\n            db.unpublished.clear()\n\n\n"
                "def _after(",
                SHOWN_AFTER_A_FAILED_SYNC,
            )
        ],
    ),
    "the memo outlives a range clear": (
        CLEARS,
        [Change(COMMIT, "                memo.clear()", "                pass")],
    ),
    "walks know no range clear of the memtable": (
        CLEARS,
        [Change(WALK, "            memtable.tombstones(stamp),", "            (),")],
    ),
    "a snapshot applies a later range clear": (
        CLEARS,
        [Change(MEMTABLE, "while marks is not None and marks.stamp > stamp:", "while False:")],
    ),
    "a walk of a snapshot applies a later range clear": (
        CLEARS,
        [
            Change(
                MEMTABLE,
                "while state is not None and stamp is not None and state.stamp > stamp:",
                "while False:",
            )
        ],
    ),
    # Expiry
    "an extension counts from its publication": (
        EXPIRY,
        [
            Change(MEMTABLE, "            self.extended.add(name)", "            pass"),
            Change(MEMTABLE, f"{PUBLISHED}\n", NOTED_WHEN_PUBLISHED),
        ],
    ),
    "a flush does not ask the memtables above it": (
        EXPIRY,
        [Change(MAINTENANCE, "[m for m in view.tables if m not in frozen]", "[]")],
    ),
    "the ttl of an entry makes its object one that may expire": (
        EXPIRY,
        [
            Change(
                MEMTABLE,
                "        if flags & EXPIRES:",
                "        if flags & (EXPIRES | ENTRY_TTLS):",
            )
        ],
    ),
    "one ttl makes every commit look up": (
        EXPIRY,
        [
            Change(COMMIT, "not (active.expiring or view.expiring)", "not active.first_expiry"),
            Change(
                "storage/version.py",
                "if name in self.active.expiring:",
                "if self.active.first_expiry:",
            ),
        ],
    ),
    "a segment with a ttl states expiries of objects": (
        EXPIRY,
        [
            Change(
                TALLY,
                "        if row.expires_at is not None:\n            self.expiring += 1",
                "        self.expiring += row.flags & rows.ENTRY_TTLS != 0\n"
                "        if row.expires_at is not None:\n            self.expiring += 1",
            ),
            Change(
                ROW, "= CLEARED | EXPIRES | EXTENDS", "= CLEARED | EXPIRES | EXTENDS | ENTRY_TTLS"
            ),
        ],
    ),
    # Chains
    "a snapshot reads a folded state": (
        CHAINS,
        [
            Change(
                MEMTABLE,
                "while state is not None and state.stamp > stamp:",
                "while state is not None and state.stamp > stamp and state.fresh:",
            )
        ],
    ),
    "a folded state ends the chain": (
        CHAINS,
        [Change(MEMTABLE, "below, 0, current)", "below, 0, None)")],
    ),
    "a chain is cut at the newest snapshot and not at the oldest": (
        CHAINS,
        [
            Change(
                MEMTABLE,
                "elif prev.stamp <= oldest_snapshot:",
                "elif prev.stamp <= newest_snapshot:",
            )
        ],
    ),
    # Dead spans
    "a commit leaves spans as they are": (
        SPANS,
        [
            Change(
                WALK,
                "spans[at : at + 1] = [part for part in cut if part.start < part.stop]",
                "pass",
            )
        ],
    ),
    "walks are not told of commits": (
        SPANS,
        [Change(WALK, "            walk.touch(written)", "            pass")],
    ),
    "a walk begins without the commit lock": (
        SPANS,
        [Change(WALK, BEGUN_UNDER_THE_LOCK, BEGUN_WITHOUT_IT)],
    ),
    "walks are not told of a commit that was interrupted": (
        SPANS,
        [Change(COMMIT, "            db.spans.clear()", "            pass")],
    ),
    "the end of a walk stops the telling": (
        SPANS,
        [
            Change(
                WALK,
                "        self._walks.pop(id(walk), None)\n",
                "        self._walks.pop(id(walk), None)\n"
                "        if not self._spans and not self._walks:\n"
                "            self.watching = False\n",
            )
        ],
    ),
    "walks are not told of a refresh": (
        SPANS,
        [Change(WALK, "            walk.forget()", "            pass")],
    ),
    "a refresh of the log leaves spans as they are": (
        SPANS,
        [
            Change(
                REFRESH,
                "            db.spans.clear()\n            memtable",
                "            memtable",
            )
        ],
    ),
    "a refresh of the files leaves spans as they are": (
        SPANS,
        [Change(REFRESH, "        db.spans.clear()\n        kept", "        kept")],
    ),
    "a walk does not look for pending commits": (
        SPANS,
        [
            Change(
                WALK,
                "if db.last_stamp == self._moment.stamp:",
                "if db.published == self._moment.stamp:",
            )
        ],
    ),
    "an old snapshot leaves spans": (
        SPANS,
        [Change(WALK, "if db.last_stamp == self._moment.stamp:", "if db:")],
    ),
    "a snapshot uses spans of later commits": (
        SPANS,
        [Change(WALK, "span.stamp > moment.stamp or ", "")],
    ),
    "a snapshot uses spans of a later time": (
        SPANS,
        [Change(WALK, " or span.now > moment.now", "")],
    ),
    "a walk in reverse takes the living end into its span": (
        SPANS,
        [
            Change(
                WALK,
                "start, stop = names.after(name), self._first",
                "start, stop = name, self._first",
            )
        ],
    ),
    "spans that join are of the earlier moment": (
        SPANS,
        [
            Change(
                WALK,
                "stamp, now = max(stamp, span.stamp), max(now, span.now)",
                "stamp, now = min(stamp, span.stamp), min(now, span.now)",
            )
        ],
    ),
    # Frames
    "frames are keyed by the path of their segment": (
        FRAMES_TESTS,
        [
            Change(
                SEGMENT,
                "class SegmentReader(OpenSegment):",
                "_SHARED: dict[str, dict[int, object]] = {}\n\n\nclass SegmentReader(OpenSegment):",
            ),
            Change(
                SEGMENT,
                "super().__init__(self.footer.file_id)",
                "super().__init__(self.footer.file_id)\n"
                "        self.frames = _SHARED.setdefault(path, {})",
            ),
        ],
    ),
    "frames take twice their budget": (
        FRAMES_TESTS,
        [
            Change(
                FRAMES,
                "self.bytes += frame.size\n            while self.bytes > self.capacity and",
                "self.bytes += frame.size\n            while self.bytes > self.capacity * 2 and",
            )
        ],
    ),
    "chunks are not counted": (
        FRAMES_TESTS,
        [
            Change(
                SEGMENT,
                "self._frames.note(self, chunk.offset, found, chunk.length)",
                "self.frames[chunk.offset] = new_frame(chunk.offset, found, 9)",
            )
        ],
    ),
    "mapped blocks are not checked": (
        FRAMES_TESTS,
        [
            Change(
                "storage/segment/block.py",
                "    return checked_rows(data, 0, length, file_id, offset)\n",
                "    found = RowBlock(data)\n"
                "    found.file_id, found.offset = file_id, offset\n"
                "    return found\n",
            )
        ],
    ),
    "frames of replaced segments stay": (
        FRAMES_TESTS,
        [Change(INSTALL, "        db.frames.forget(segment)", "        pass")],
    ),
    "each block that is read becomes a frame": (
        FRAMES_TESTS,
        [Change(FRAMES, "if self._reads[slot] == trace:", "if True:")],
    ),
    "frames have no second chance": (
        FRAMES_TESTS,
        [Change(FRAMES, "if frame.used and", "if False and")],
    ),
    # Huge rows
    "a tombstone above a huge row leaves it alone": (
        HUGE_TESTS,
        [Change(APART, "if range_tombstones.covering(other.tombstones, name):", "if False:")],
    ),
    "a newer row of a huge object leaves the old one alone": (
        HUGE_TESTS,
        [Change(APART, "return other.find(name) is not None", "return False")],
    ),
    "an expired huge row is left alone": (
        HUGE_TESTS,
        [Change(APART, "or p.tombstones or expired)", "or p.tombstones)")],
    ),
    "outputs reach over what was left alone": (
        HUGE_TESTS,
        [Change(RUN, "while self.apart and self.apart[0] < name:", "while False:")],
    ),
    "a huge row shares its segment": (
        HUGE_TESTS,
        [Change(RUN, "if is_huge(len(encoded), size) or (", "if (")],
    ),
    # Jobs
    "a compaction installs what it is given": (
        JOBS,
        [Change(MAINTENANCE, "outputs = _checked(job, execute(job))", "outputs = execute(job)")],
    ),
    "a flush installs what it is given": (
        JOBS,
        [
            Change(
                MAINTENANCE,
                "install.install_flush(db, frozen, _checked(job, execute(job)))",
                "install.install_flush(db, frozen, execute(job))",
            )
        ],
    ),
    # Tokens
    "a commit that is sent again is made again": (
        TOKEN_CRASHES,
        [Change(COMMIT, "            self._check_once(once)\n", "")],
    ),
    "an owner that cannot know makes the commit": (
        TOKEN_CRASHES,
        [Change(COMMIT, "once.since < tokens.since:", "once.since < 0:")],
    ),
    "the token is asked for after the expectation": (
        TOKENS_TESTS,
        [
            Change(COMMIT, "            self._check_once(once)\n", ""),
            Change(
                COMMIT,
                "        stamp = now if now > db.last_stamp else _after(db.last_stamp)\n",
                "        if once is not None:\n            self._check_once(once)\n"
                "        stamp = now if now > db.last_stamp else _after(db.last_stamp)\n",
            ),
        ],
    ),
    "a commit that was finished after an interrupt has no token": (
        TOKENS_TESTS,
        [
            Change(
                COMMIT,
                "            self._accept(commit, db.wal.end)\n",
                "            commit.token = b''\n            self._accept(commit, db.wal.end)\n",
            )
        ],
    ),
    "a commit has its token before it is in the log": (
        TOKENS_TESTS,
        [
            Change(
                COMMIT,
                "        self._begun = commit\n",
                "        if token:\n            db.tokens.note(token, stamp)\n"
                "        self._begun = commit\n",
            )
        ],
    ),
    "a second attempt does not wait for the first": (
        TOKENS_TESTS,
        [Change(COMMIT, "            self.sync(pending[0])\n", "")],
    ),
    "a second attempt is not as durable as it asks for": (
        TOKENS_TESTS,
        [
            Change(
                COMMIT,
                "        elif synced and wal.synced < wal.end:\n            self.sync()\n",
                "",
            )
        ],
    ),
    "an owner that replays nothing believes that it knows all": (
        TOKEN_CRASHES,
        [
            Change(
                RECOVER, "            self.tokens.since = self.last_stamp\n", "            pass\n"
            )
        ],
    ),
    "an owner believes that it knows what left the log": (
        TOKEN_CRASHES,
        [Change(RECOVER, "max(self.tokens.since, content.first.stamp - 1)", "0")],
    ),
    "a token is forgotten before since tells": (
        TOKENS_TESTS,
        [
            Change(
                TOKENS,
                "            self.since = max(self.since, stamps[next(iter(stamps))])\n"
                "            stamps.popitem(last=False)\n",
                "            _, oldest = stamps.popitem(last=False)\n"
                "            self.since = max(self.since, oldest)\n",
            )
        ],
    ),
}


def test_the_copy_itself_is_sound(tmp_path: Path) -> None:
    """Without a planted bug the same tests pass, so that what fails below is the bug."""
    copy(tmp_path, [], JUDGES)
    status, output = run(tmp_path, "tests/rules")
    assert status == 0, output


@pytest.mark.parametrize("bug", BUGS)
def test_the_tests_of_the_rules_find(bug: str, tmp_path: Path) -> None:
    """Each of these makes a test of its rule fail."""
    judge, changes = BUGS[bug]
    must_find(tmp_path, changes, "assert|Error|Failed|VersionConflict", judge, judges=JUDGES)
