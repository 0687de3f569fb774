"""Tokens: names that clients give their commits, so that none is made twice.

A client whose connection breaks around a commit does not know whether it was made, and sends it
again, to this owner or to the next one. The token of a commit lies in its record in the log, so
the next owner knows the tokens of all that it replays. What has left the log is known no more:
`Tokens.since` says from where on an answer is complete.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from kvengine.storage.wal.format import MAX_TOKEN

MOST_TOKENS: Final = 65_536
"""How many tokens an owner remembers."""


class Once:
    """That a commit is to be made at most once.

    ``since``: None for the first attempt. For a later one, a stamp that the client knew before it
    sent the first: the stamp of what that may have made is greater.
    """

    __slots__ = ("since", "token")

    def __init__(self, token: bytes, since: int | None) -> None:
        """Raise TypeError or ValueError if ``token`` can be none."""
        self.token: bytes = check_token(token)
        self.since: int | None = since


class AlreadyCommitted(Exception):
    """The commit with this token is in the log, with ``stamp``; it may not be visible yet.

    It never reaches a user: `Committer.confirm` waits until the commit is visible and durable.
    """

    def __init__(self, stamp: int) -> None:
        super().__init__(stamp)
        self.stamp = stamp


class Tokens:
    """The tokens of commits that this owner has in its log or has made itself, with their stamps.

    ``since``: a commit with a greater stamp whose token is not here was never made. Whether one
    with this stamp or a smaller one was made is known only if its token is here.
    """

    __slots__ = ("_limit", "_stamps", "since")

    def __init__(self, limit: int = MOST_TOKENS) -> None:
        """``limit``: how many to remember. The oldest go first, and ``since`` follows."""
        self.since: int = 0
        self._limit = limit
        self._stamps: OrderedDict[bytes, int] = OrderedDict()

    def find(self, token: bytes) -> int | None:
        """Return the stamp of the commit with this token, None if it is not known here.

        The commit is in the log. That does not tell that it is visible or durable yet.
        """
        return self._stamps.get(token)

    def note(self, token: bytes, stamp: int) -> None:
        """Remember a commit. Stamps grow from one call to the next.

        An interrupt may break this off anywhere, and it may be repeated: it forgets no token that
        ``since`` does not tell of.
        """
        stamps = self._stamps
        stamps.setdefault(token, stamp)
        while len(stamps) > self._limit:
            self.since = max(self.since, stamps[next(iter(stamps))])
            stamps.popitem(last=False)


def check_token(token: bytes) -> bytes:
    """Return the token of a commit. Raise TypeError or ValueError if it can be none."""
    if not isinstance(token, bytes):
        raise TypeError(f"token must be bytes, not {type(token).__name__}")
    if not 0 < len(token) <= MAX_TOKEN:
        raise ValueError(f"token must have 1 to {MAX_TOKEN} bytes, not {len(token)}")
    return token
