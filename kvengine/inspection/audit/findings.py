"""What an audit returns: findings, and how much was checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from kvengine.errors import CorruptionError
from kvengine.inspection.dump.logs import MAX_FOUND

Kind = Literal["damage", "note"]


@dataclass(frozen=True)
class Finding:
    """Something found at a byte of a file.

    ``kind``: "damage" changes what can be read, or makes an open fail or refuse; a "note"
    is what an open drops or leaves alone.
    """

    path: str
    offset: int
    reason: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.path}, offset {self.offset:,}: {self.reason}"


@dataclass
class Audit:
    """What an audit found in a directory, in order of the files.

    ``objects`` and ``entries`` are counted as files hold them: one that several segments
    hold counts in each. Of one file's damage the first thousand findings stand for all.
    """

    directory: str
    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    objects: int = 0
    entries: int = 0

    @property
    def damage(self) -> list[Finding]:
        return [one for one in self.findings if one.kind == "damage"]

    @property
    def notes(self) -> list[Finding]:
        return [one for one in self.findings if one.kind == "note"]

    def damaged(self, path: str, offset: int, reason: str) -> None:
        self._add(Finding(path, offset, reason, "damage"))

    def noted(self, path: str, offset: int, reason: str) -> None:
        self._add(Finding(path, offset, reason, "note"))

    def take(self, errors: Iterable[CorruptionError], size: int) -> None:
        """Damage found by a reader of one file of ``size`` bytes."""
        for number, error in enumerate(errors):
            offset = min(error.offset, size)  # something may be missing behind the end
            if number == MAX_FOUND:
                self.damaged(error.path, offset, "and more damage behind")
                return
            self.damaged(error.path, offset, error.reason)

    def count(self, size: int) -> None:
        """One more file was read."""
        self.files += 1
        self.bytes += size

    def add(self, other: Audit) -> None:
        """The audit of a part."""
        self.findings += other.findings
        self.files += other.files
        self.bytes += other.bytes
        self.objects += other.objects
        self.entries += other.entries

    def _add(self, finding: Finding) -> None:
        if finding not in self.findings[-MAX_FOUND:]:
            self.findings.append(finding)


def reason_of(error: OSError) -> str:
    """Why a file cannot be read, as a finding says it."""
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    return f"the file cannot be read: {error.strerror or error}"
