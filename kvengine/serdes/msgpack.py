"""MessagePack by msgspec: smaller than JSON, and it has bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from kvengine.serdes.foreign import from_plain, to_plain

_encode = msgspec.msgpack.Encoder(enc_hook=to_plain).encode
_decode_any = msgspec.msgpack.Decoder().decode


class MsgpackSerde:
    """MessagePack. The types of `JSONSerde`, and bytes, NaN and infinity as they are."""

    def encode(self, value: Any, /) -> bytes:
        return _encode(value)

    def decode(self, data: bytes, type: Any, /) -> Any:
        if type is None:
            return _decode_any(data)
        try:
            decode = _remembered(type)
        except TypeError:  # unhashable, as Annotated with a list in it is; or no type at all
            decode = _make(type)
        return decode(data)


def _make(wanted: Any) -> Callable[[bytes], Any]:
    if wanted is object:
        return _decode_any
    return msgspec.msgpack.Decoder(wanted, dec_hook=from_plain).decode


_remembered = lru_cache(maxsize=1024)(_make)
