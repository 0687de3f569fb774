"""pydantic's own JSON, for any type that it can validate. Needs the extra ``pydantic``."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from kvengine.serdes.foreign import refuse_not_finite


class PydanticSerde:
    """JSON as pydantic reads and writes it: with its coercions, validators and serializers.

    The default serde knows pydantic models too; this one is for code whose
    other types are validated by pydantic's rules. Raises ImportError when made
    without pydantic.
    """

    def __init__(self) -> None:
        try:
            import pydantic_core
        except ImportError:
            raise ImportError(
                'serde="pydantic" needs pydantic: pip install "kvengine[pydantic]"'
            ) from None
        self._to_json: Callable[..., bytes] = pydantic_core.to_json
        self._from_json: Callable[[bytes], Any] = pydantic_core.from_json

    def encode(self, value: Any, /) -> bytes:
        data = self._to_json(value, by_alias=True, round_trip=True)
        if any(text in data for text in (b"null", b"NaN", b"Infinity")):
            refuse_not_finite(value)
        return data

    def decode(self, data: bytes, type: Any, /) -> Any:
        if type is None:
            return self._from_json(data)
        try:
            adapter = _remembered(type)
        except TypeError:  # unhashable
            adapter = _adapter(type)
        return adapter.validate_json(data)


def _adapter(wanted: Any) -> Any:
    import pydantic

    return pydantic.TypeAdapter(wanted)


_remembered = lru_cache(maxsize=1024)(_adapter)
