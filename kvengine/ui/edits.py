"""What an edit asks for, checked, and as a batch."""

from __future__ import annotations

from typing import Any

import msgspec

from kvengine.inspection.document import expiry_of, value_of
from kvengine.storage.batch import Batch
from kvengine.store import Reads
from kvengine.ui import audit
from kvengine.ui.refusal import Refused


class SetEntry(msgspec.Struct, tag_field="verb", tag="set", forbid_unknown_fields=True):
    """Set an entry. ``entry``: a form of a document; ``ttl`` in seconds, or its ``expires_at``."""

    state_key: str
    entry: dict[str, Any]
    ttl: float | None = None


class ClearEntry(msgspec.Struct, tag_field="verb", tag="clear", forbid_unknown_fields=True):
    """Clear an entry."""

    state_key: str


class ClearObject(msgspec.Struct, tag_field="verb", tag="clear_object", forbid_unknown_fields=True):
    """Clear the object."""


class Expire(msgspec.Struct, tag_field="verb", tag="expire", forbid_unknown_fields=True):
    """Let the object expire: ``at`` a time, or after ``ttl`` seconds; neither: never."""

    at: float | None = None
    ttl: float | None = None


class ExpireNow(msgspec.Struct, tag_field="verb", tag="expire_now", forbid_unknown_fields=True):
    """Let the object expire at once."""


Change = SetEntry | ClearEntry | ClearObject | Expire | ExpireNow


class Edit(msgspec.Struct, forbid_unknown_fields=True):
    """Changes of one object, of ``version`` (digits; 0: absent), or of any with ``force``."""

    service: str
    key: str
    version: str
    changes: list[Change]
    force: bool = False

    def expected(self) -> int:
        """The version as a number; Refused where it is none."""
        if not (self.version.isascii() and self.version.isdigit() and len(self.version) <= 19):
            raise Refused(400, "The version must be a string of digits.")
        return int(self.version)

    def batch(self) -> Batch:
        """The changes in order; Refused with 400 for one that makes no sense."""
        if not self.changes:
            raise Refused(400, "An edit needs at least one change.")
        batch = Batch()
        for change in self.changes:
            _add(batch, self.service, self.key, change)
        return batch

    def touched(self) -> list[str]:
        """The state keys that the edit names."""
        return [c.state_key for c in self.changes if isinstance(c, SetEntry | ClearEntry)]

    def changes_nothing(self, reads: Reads) -> bool:
        """Whether all that it asks for is so already: what it clears is absent."""
        return all(_is_so(reads, self.service, self.key, change) for change in self.changes)

    def __str__(self) -> str:
        """What the audit says of it."""
        forced = ", forced" if self.force else f" of version {self.version}"
        what = "; ".join(_told(change) for change in self.changes)
        return f"edit {audit.name(self.service)} {audit.name(self.key)}{forced}: {what}"


class ClearService(msgspec.Struct, forbid_unknown_fields=True):
    """Clear a service. ``confirm``: its name, once more. ``seen``: the stamp the page knew.

    Objects changed behind ``seen`` stop it, unless ``force``.
    """

    service: str
    confirm: str
    seen: str
    force: bool = False


def _add(batch: Batch, service: str, key: str, change: Change) -> None:
    if isinstance(change, SetEntry):
        value, at = value_of(change.entry), expiry_of(change.entry)
        if at is not None and change.ttl is not None:
            raise Refused(400, "An entry has a ttl or an expires_at, not both.")
        batch.set(service, key, change.state_key, value, ttl=change.ttl, expires_at=at)
    elif isinstance(change, ClearEntry):
        batch.clear(service, key, change.state_key)
    elif isinstance(change, ClearObject):
        batch.clear_all(service, key)
    elif isinstance(change, ExpireNow):
        batch.expire(service, key, at=0)
    else:
        batch.expire(service, key, at=change.at, ttl=change.ttl)


def _is_so(reads: Reads, service: str, key: str, change: Change) -> bool:
    if isinstance(change, SetEntry):
        return False
    if isinstance(change, ClearEntry):
        first = reads.state_keys(service, key, prefix=change.state_key, limit=1)
        return first != [change.state_key]
    if isinstance(change, Expire) and change.at is None and change.ttl is None:
        return reads.expires_at(service, key) is None
    return reads.version(service, key) == 0


def _told(change: Change) -> str:
    if isinstance(change, SetEntry):
        return f"set {audit.name(change.state_key)} to {len(value_of(change.entry)):,} bytes"
    if isinstance(change, ClearEntry):
        return f"clear {audit.name(change.state_key)}"
    if isinstance(change, ClearObject):
        return "clear the object"
    if isinstance(change, ExpireNow):
        return "expire now"
    if change.ttl is not None:
        return f"expire in {change.ttl:,g} seconds"
    return "never expire" if change.at is None else f"expire at {change.at:.3f}"
