"""How a session runs, checked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from kvengine.arguments import check_limit, timeout_of, warn_deprecated
from kvengine.objects.state.base import State
from kvengine.options import Durability
from kvengine.storage.names import check_name

Preload = bool | Iterable[str]


class Settings:
    """The arguments of ``session(...)``, documented there. ``preload``: a bool, or state keys."""

    __slots__ = ("durability", "preload", "preload_limit", "read_only", "timeout")

    def __init__(
        self,
        preload: bool | tuple[str, ...] = True,
        preload_limit: int | None = None,
        read_only: bool = False,
        timeout: float | None = None,
        durability: Durability | None = None,
    ) -> None:
        self.preload: bool | tuple[str, ...] = preload
        self.preload_limit: int | None = preload_limit
        self.read_only: bool = read_only
        self.timeout: float | None = timeout
        self.durability = durability


USUAL = Settings()
READ_ONLY = Settings(read_only=True)
LAZY = Settings(preload=False)
READ_ONLY_LAZY = Settings(preload=False, read_only=True)


def check(
    state: type[State] | None,
    preload: Preload,
    preload_limit: int | None,
    read_only: bool,
    timeout: float | timedelta | None,
    durability: Durability | None,
    shared: bool | None,
) -> Settings:
    """TypeError or ValueError for arguments of ``session(...)`` that make no sense."""
    if state is not None and not (isinstance(state, type) and issubclass(state, State)):
        raise TypeError(f"session() takes a subclass of kvengine.State, not {state!r}")
    if shared is not None:
        warn_deprecated("shared= is called read_only= since kvengine 0.2")
        read_only = read_only or bool(shared)
    if preload_limit is None and timeout is None and durability is None:
        if preload is True:
            return READ_ONLY if read_only else USUAL
        if preload is False:
            return READ_ONLY_LAZY if read_only else LAZY
    if durability is not None and durability not in ("sync", "os"):
        raise ValueError(f"durability must be 'sync' or 'os', not {durability!r}")
    chosen = _preload(preload)
    _check_limit(preload_limit, chosen)
    return Settings(chosen, preload_limit, bool(read_only), timeout_of(timeout), durability)


def _preload(preload: Preload) -> bool | tuple[str, ...]:
    if isinstance(preload, bool):
        return preload
    if isinstance(preload, (str, bytes)) or not isinstance(preload, Iterable):
        raise TypeError(f"preload must be True, False or state keys, not {type(preload).__name__}")
    return tuple(check_name("preload", name) for name in preload)


def _check_limit(preload_limit: int | None, preload: bool | tuple[str, ...]) -> None:
    check_limit(preload_limit, "preload_limit")
    if preload_limit is not None and preload is not True:
        raise ValueError("preload_limit is of preload=True: nothing else loads what is there")


def check_walk(prefix: str, start: str, limit: int | None) -> None:
    """TypeError or ValueError for bounds of a listing that are none."""
    check_name("prefix", prefix)
    check_name("start", start)
    check_limit(limit)
