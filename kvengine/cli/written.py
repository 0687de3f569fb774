"""What an import or a copy wrote, told alike."""

from __future__ import annotations

from kvengine.cli.output import counted
from kvengine.cli.tool import Tool
from kvengine.inspection.transfer.writer import Written

MODES = ("replace", "merge", "skip", "new")


def report(tool: Tool, written: Written, *, dry_run: bool) -> None:
    """Counts, in a sentence or as JSON."""
    tool.out.record({**written._asdict(), "dry_run": dry_run})
    prefix = "dry run, nothing was written: " if dry_run else ""
    parts = [f"{counted(written.objects, 'object')}, {counted(written.entries, 'entry')}"]
    if written.skipped:
        parts.append(f"left alone, for they were there: {counted(written.skipped, 'object')}")
    if written.expired_objects or written.expired_entries:
        parts.append(
            f"left out as expired: {counted(written.expired_objects, 'object')},"
            f" {counted(written.expired_entries, 'other entry')}"
        )
    tool.out.say(prefix + "; ".join(parts))
