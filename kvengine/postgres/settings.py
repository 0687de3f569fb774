"""How a store connects: the arguments of `kvengine.connect`, checked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from kvengine.arguments import check_limit
from kvengine.options import Durability, Options
from kvengine.postgres.address import parse
from kvengine.postgres.client import Client
from kvengine.postgres.reads import NAMES
from kvengine.serdes.registry import SerdeChoice, Serdes
from kvengine.storage.clock import SECOND
from kvengine.storage.times import duration
from kvengine.store import Limits


class Settings(NamedTuple):
    """What a store is made of, as `kvengine.connect` has it; ``timeout`` in seconds."""

    client: Client
    create: bool
    serdes: Serdes
    retention: Mapping[str, float | timedelta]
    pool_size: int
    timeout: float


def check(
    url: str,
    *,
    create: bool,
    read_only: bool,
    durability: Durability,
    max_value_size: int,
    max_commit_size: int,
    serde: SerdeChoice,
    serdes: Mapping[str, SerdeChoice] | None,
    retention: Mapping[str, float | timedelta] | None,
    pool_size: int,
    timeout: float | timedelta,
    lease: float | timedelta,
) -> Settings:
    """Return the settings. Raise BadAddress, TypeError or ValueError if they make no sense."""
    if not isinstance(url, str):
        raise TypeError(f"url must be str, not {type(url).__name__}")
    options = Options(
        durability=durability,
        create=create,
        read_only=read_only,
        max_value_size=max_value_size,
        max_commit_size=max_commit_size,
        serde=serde,
        serdes={} if serdes is None else serdes,
        retention={} if retention is None else retention,
    )
    check_limit(pool_size, "pool_size")
    if not pool_size:
        raise ValueError("pool_size must be above zero")
    client = Client(
        parse(url, read_only=read_only),
        read_only=read_only,
        durability=durability,
        limits=Limits(NAMES, NAMES, max_value_size, max_commit_size),
        lease=duration("lease", lease) / SECOND,
    )
    return Settings(
        client,
        create,
        Serdes(options.serde, options.serdes),
        options.retention,
        pool_size,
        duration("timeout", timeout) / SECOND,
    )
