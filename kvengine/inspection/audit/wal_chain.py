"""The WALs of a database, held against the manifest and against each other.

What holds of a sound chain, oldest first:

1. Each WAL that the manifest states is there, and is that WAL of that database.
2. Its commits reach exactly to where the manifest or the next header states their end,
   and nothing proves more than there is.
3. Each header names the WAL before it; only the last may have no header, and is empty. Epochs
   of owners do not go down.
4. Stamps grow, from each WAL to the next too, and are above those of all segments. Where
   the manifest states a WAL's end they are not above its last stamp.
5. No WAL that is newer than those the manifest states holds a commit.
"""

from __future__ import annotations

from collections.abc import Callable

from kvengine.fs.base import FileSystem
from kvengine.inspection.audit.findings import Audit, reason_of
from kvengine.inspection.dump.logs import Gap
from kvengine.inspection.dump.wal import WalFile
from kvengine.storage import filenames
from kvengine.storage.manifest.file import EPOCHS_END, Catalog
from kvengine.storage.row import items
from kvengine.storage.wal.format import EPOCH_AT, HEADER_SIZE, Commit


class WalChain:
    """The WALs of a catalog; without one, each by itself. Findings go to ``result``."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        catalog: Catalog | None,
        result: Audit,
        advance: Callable[[int], None],
    ) -> None:
        self._fs, self._directory, self._catalog = fs, directory, catalog
        self._result, self._advance = result, advance
        self._ends = catalog.wal_ends if catalog is not None else {}
        segments = catalog.segments.values() if catalog is not None else ()
        self._last = max((meta.properties.last_stamp for meta in segments), default=0)
        self._epoch = 0

    def check(self) -> None:
        """Rules 1 to 4."""
        wals = sorted(self._catalog.wals) if self._catalog is not None else []
        before: WalFile | None = None
        previous = 0
        for number in wals:
            found = self.read(number)
            if found is not None:
                self._check_epoch(found)
                self._check_begun(found, number, last=number == wals[-1])
                if previous:
                    self._check_link(found, previous, before)
            before, previous = found, number

    def check_unknown(self, number: int) -> bool:
        """Rule 5 for one file: whether it holds nothing, and may go."""
        at = len(self._result.findings)
        found = self._open(number)
        if found is None:
            return False
        for one in found.commits():
            if not isinstance(one, Gap) and one.kept:
                reason = "the manifest does not know this WAL, and it holds a commit"
                self._result.damaged(found.path, one.record.offset, reason)
                break
        self._result.take(found.damage, found.size)
        return len(self._result.findings) == at

    def read(self, number: int) -> WalFile | None:
        """A WAL, every commit of it checked; None where it cannot be opened."""
        found = self._open(number)
        if found is None:
            return None
        self._result.count(found.size)
        end = self._ends.get(number)
        found.limit = found.size if end is None else min(found.size, end)
        try:
            self._check_commits(found, end)
        except OSError as error:
            self._result.damaged(found.path, found.end, reason_of(error))
        self._result.take(found.damage, found.size)
        if found.gave_up:
            reason = "too much lies behind the commits: not all of it was searched"
            self._result.damaged(found.path, found.end, reason)
        self._advance(found.size)
        return found

    def _open(self, number: int) -> WalFile | None:
        """Rule 1."""
        path = filenames.join(self._directory, filenames.wal(number))
        database_id = self._catalog.database_id if self._catalog is not None else None
        try:
            found = WalFile(self._fs, path, database_id)
        except OSError as error:
            self._result.damaged(path, 0, reason_of(error))
            return None
        header = found.header
        if header is not None and (
            header.number != number or database_id not in (None, header.database_id)
        ):
            self._result.damaged(path, 0, f"WAL belongs elsewhere: it is number {header.number}")
        return found

    def _check_commits(self, found: WalFile, end: int | None) -> None:
        """Rules 2 and 4, as far as one file tells."""
        first = True
        for one in found.commits(end or 0):
            if isinstance(one, Gap):
                if one.torn:
                    size = f"{one.stop - one.start:,} bytes"
                    self._result.noted(found.path, one.start, f"a torn tail of {size}")
            elif one.kept and one.commit is not None:
                self._check_stamp(found, one.record.offset, one.commit, end, first=first)
                first = False
                self._result.objects += len(one.commit.rows)
                for _, _, row in one.commit.rows:
                    self._result.entries += sum(entry is not None for _, entry in items(row))

    def _check_stamp(
        self, found: WalFile, offset: int, commit: Commit, end: int | None, *, first: bool
    ) -> None:
        if first and commit.stamp <= self._last:
            reason = "commit is older than a WAL or segment before it"
            self._result.damaged(found.path, offset, reason)
        self._last = max(self._last, commit.stamp)
        limit = self._catalog.last_stamp if self._catalog is not None else None
        if end is not None and limit is not None and commit.stamp > limit:
            reason = (
                f"commit has stamp {commit.stamp}, the last that the manifest states is {limit}"
            )
            self._result.damaged(found.path, offset, reason)

    def _check_begun(self, found: WalFile, number: int, *, last: bool) -> None:
        """Rule 3: without a header, whether it may be a WAL that was never begun."""
        if found.header is not None or self._catalog is None:
            return
        if not last or not found.may_be_unbegun(self._catalog.database_id, number):
            self._result.damaged(found.path, 0, f"WAL header is damaged: {found.header_fault}")

    def _check_epoch(self, found: WalFile) -> None:
        """Rule 3: the owner that began a WAL is none from before the WALs that precede it."""
        epoch = found.header.epoch if found.header is not None else 0
        if epoch and not self._epoch <= epoch < EPOCHS_END:
            reason = f"WAL has epoch {epoch}, after epoch {self._epoch}"
            self._result.damaged(found.path, EPOCH_AT, reason)
        self._epoch = max(self._epoch, epoch)

    def _check_link(self, found: WalFile, previous: int, before: WalFile | None) -> None:
        """Rules 2 and 3 between a WAL and the one before it."""
        header = found.header
        if header is None:
            return
        if header.previous != previous:
            reason = f"follows WAL {header.previous}, not {previous}"
            self._result.damaged(found.path, 0, reason)
        elif before is not None and header.proven != max(before.end, HEADER_SIZE):
            at = min(before.end, header.proven)
            reason = f"log is damaged: it was sealed at {header.proven:,}"
            self._result.damaged(before.path, at, reason)
