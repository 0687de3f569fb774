"""What a serde is: two methods."""

from __future__ import annotations

from typing import Any, Protocol


class Serde(Protocol):
    """Values to bytes and back. Whatever either method raises becomes a SerdeError.

    Called from any thread, so an implementation keeps no state between calls.
    ``b""`` is a value like any other; an absent entry never reaches a serde.
    """

    def encode(self, value: Any, /) -> bytes:
        """The bytes to store."""
        ...

    def decode(self, data: bytes, type: Any, /) -> Any:
        """The value of stored bytes; ``type`` is what the caller expects, None for anything."""
        ...
