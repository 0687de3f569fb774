"""Edits: what will change, a question, one commit that expects the version read, the outcome.

Every command that writes ends here, so that all of them show, ask, refuse and report alike.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from kvengine.cli.exits import CONFLICT, DECLINED, USAGE, Exit
from kvengine.cli.output import cells, columns, expiry
from kvengine.cli.values import shown
from kvengine.errors import VersionConflict
from kvengine.inspection import escape
from kvengine.inspection.document import document, form
from kvengine.real_time import wall
from kvengine.storage.batch import Batch
from kvengine.store import StoredObject

if TYPE_CHECKING:
    from kvengine.cli.tool import Tool
    from kvengine.inspection.access import AnyAccess

Entries = Mapping[str, bytes]


@dataclass
class Edit:
    """A change of one object that was read; ``found`` None: it was absent.

    ``entries``: new values by state key, None to clear. ``ttls``: seconds from now of those
    that get one. ``expires``: the object's new expiry where ``sets_expiry``.
    """

    service: str
    key: str
    found: StoredObject | None
    entries: dict[str, bytes | None] = field(default_factory=dict)
    ttls: dict[str, float] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    """When entries that keep their expiry end, in seconds since the epoch."""
    sets_expiry: bool = False
    expires: float | None = None
    clears: bool = False

    @property
    def version(self) -> int:
        return self.found.version if self.found is not None else 0

    @property
    def before(self) -> Entries:
        return self.found.entries if self.found is not None else {}

    def changes(self) -> list[tuple[str, bytes | None, bytes | None]]:
        """State key, value before, value after; those that stay as they are left out."""
        if self.clears:
            return [(name, value, None) for name, value in self.before.items()]
        made = []
        for name, after in sorted(self.entries.items()):
            before = self.before.get(name)
            if after != before or self._changes_ttl(name):
                made.append((name, before, after))
        return made

    def _changes_ttl(self, name: str) -> bool:
        had = self.found is not None and name in (self.found.expiries or {})
        return name in self.ttls or (had and self.entries[name] is not None)

    def is_empty(self) -> bool:
        had = self.found.expires_at if self.found is not None else None
        return not self.changes() and not (self.sets_expiry and self.expires != had)

    def keep_ttls(self) -> None:
        """Let entries that are set again keep the expiry that they have."""
        for name, at in ((self.found.expiries or {}) if self.found is not None else {}).items():
            if self.entries.get(name) is not None:
                self.ends[name] = at
                self.ttls[name] = max(at - wall(), 1e-6)

    def batch(self) -> Batch:
        """The commit. What has expired since it was read stays gone; the rest keeps its time."""
        batch, now = Batch(), wall()
        if self.clears:
            batch.clear_all(self.service, self.key)
        for name, before, after in [] if self.clears else self.changes():
            if after is None and before is not None:
                batch.clear(self.service, self.key, name)
            elif after is not None and self.ends.get(name, now + 1) > now:
                ends = self.ends.get(name)
                ttl = self.ttls.get(name) if ends is None else None
                batch.set(self.service, self.key, name, after, ttl=ttl, expires_at=ends)
        if self.sets_expiry:
            batch.expire(self.service, self.key, at=self.expires)
        return batch


def edit_options(callback: Callable[..., Any]) -> Callable[..., Any]:
    """--dry-run, --yes, --force and --version, which every edit takes."""
    for option in (
        click.option(
            "--version",
            type=click.IntRange(min=0),
            metavar="N",
            help="Expect this version (0: absent) instead of the one read now.",
        ),
        click.option("--force", is_flag=True, help="Write whatever the version is by now."),
        click.option("-y", "--yes", is_flag=True, help="Do not ask."),
        click.option(
            "-n", "--dry-run", is_flag=True, help="Show what would change, write nothing."
        ),
    ):
        callback = option(callback)
    return callback


def apply(
    tool: Tool,
    access: AnyAccess,
    edit: Edit,
    *,
    dry_run: bool,
    yes: bool,
    force: bool,
    version: int | None,
    asks: bool,
) -> int:
    """Show, ask, commit, report; the version after it. ``asks``: too grave to do unasked.

    `Exit` CONFLICT where somebody changed the object since it was read, DECLINED after a no.
    """
    out = tool.out
    result = _result(edit)
    if version is not None and version != edit.version and not force:
        raise _conflict(tool, access, edit, result)
    if edit.is_empty():
        out.say("nothing to do")
        out.record({**result, "result": "nothing to do", "version": edit.version})
        return edit.version
    _show(tool, edit)
    if dry_run:
        out.say("dry run: nothing was written")
        out.record({**result, "result": "dry run", "version": edit.version})
        return edit.version
    confirm(tool, "Apply?", yes=yes, asks=asks)
    batch = edit.batch()
    if not len(batch):
        out.say("nothing to do: what was to be set has expired meanwhile")
        out.record({**result, "result": "nothing to do", "version": edit.version})
        return edit.version
    expect = None if force else {(edit.service, edit.key): edit.version}
    try:
        stamp = access.store.write(batch, expect=expect)
    except VersionConflict:
        raise _conflict(tool, access, edit, result) from None
    out.say(f"applied, version {stamp}")
    out.record({**result, "result": "applied", "version": stamp})
    return stamp


def confirm(tool: Tool, question: str, *, yes: bool, asks: bool) -> None:
    """Ask on a terminal. Elsewhere: go on, or refuse what is too grave (``asks``) without --yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        if asks:
            raise Exit(USAGE, "nobody can be asked here: give --yes to do it, or --dry-run to see")
        return
    if not click.confirm(question, default=False, err=True):
        tool.out.record({"result": "declined"})
        raise Exit(DECLINED, "nothing was written")


def show_difference(tool: Tool, before: Entries, after: Entries) -> None:
    """Entries that differ, old value and new."""
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new:
            _line(tool, "-", name, old)
            _line(tool, "+", name, new)


def _show(tool: Tool, edit: Edit) -> None:
    tool.out.say(f"{escape.text(edit.service)} {escape.text(edit.key)}, {_as_read(edit)}")
    for name, before, after in edit.changes():
        _line(tool, "-", name, before)
        note = f", expires in {edit.ttls[name]:,.0f} s" if name in edit.ttls else ""
        _line(tool, "+", name, after, note)
    if edit.sets_expiry:
        had = edit.found.expires_at if edit.found is not None else None
        tool.out.say(f"  expires: {expiry(had)} -> {expiry(edit.expires)}")


def _as_read(edit: Edit) -> str:
    return f"read at version {edit.version}" if edit.version else "absent so far"


def _line(tool: Tool, sign: str, name: str, value: bytes | None, note: str = "") -> None:
    if value is not None:
        colour = "red" if sign == "-" else "green"
        begin = f"{sign} {escape.text(name)} "
        room = columns() - cells(begin) - len(note)
        tool.out.say(f"{begin}{shown(value, room=room)}{note}", fg=colour)


def _result(edit: Edit) -> dict[str, Any]:
    changes = [
        {
            "state_key": name,
            "before": None if before is None else form(before),
            "after": None if after is None else form(after),
        }
        for name, before, after in edit.changes()
    ]
    made: dict[str, Any] = {
        "service": edit.service,
        "key": edit.key,
        "read_version": edit.version,
        "changes": changes,
    }
    if edit.sets_expiry:
        made["expires_at"] = edit.expires
    return made


def _conflict(tool: Tool, access: AnyAccess, edit: Edit, result: dict[str, Any]) -> Exit:
    """Say what somebody else did meanwhile."""
    out = tool.out
    now = access.store.load(edit.service, edit.key)
    version = now.version if now is not None else 0
    if version == edit.version:
        out.say(f"conflict: it is at version {version}, not the one expected", fg="yellow")
    else:
        out.say(f"conflict: now at version {version}; since it was read here:", fg="yellow")
    show_difference(tool, edit.before, now.entries if now is not None else {})
    if now is None:
        out.say("  the object is gone")
    out.record(
        {
            **result,
            "result": "conflict",
            "version": version,
            "now": None if now is None else document(now),
        }
    )
    return Exit(CONFLICT, "nothing was written: run it again on what is there now, or give --force")
