"""What an import or a copy wrote, told alike."""

from __future__ import annotations

from kvengine.cli.tool import Tool
from kvengine.inspection.transfer_write import Written

MODES = ("replace", "merge", "skip", "new")


def report(tool: Tool, written: Written, *, dry_run: bool) -> None:
    """Counts, in a sentence or as JSON."""
    tool.out.record({**written._asdict(), "dry_run": dry_run})
    prefix = "dry run, nothing was written: " if dry_run else ""
    parts = [f"{written.objects:,} objects, {written.entries:,} entries"]
    if written.skipped:
        parts.append(f"{written.skipped:,} objects were there and left alone")
    if written.expired_objects or written.expired_entries:
        parts.append(
            f"left out as expired: {written.expired_objects:,} objects,"
            f" {written.expired_entries:,} other entries"
        )
    tool.out.say(prefix + "; ".join(parts))
