"""``kvengine objects``: the objects of a service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import click

from kvengine.cli import absent
from kvengine.cli.completion import place_argument
from kvengine.cli.output import expiry, moment, size
from kvengine.cli.tool import Tool, tool_command
from kvengine.inspection import escape
from kvengine.store import Reads

_LINE = "{:<20}  {:>7}  {:>9}  {}{}"
_HEADER = _LINE.format("changed", "entries", "bytes", "key", "")


class Listed(NamedTuple):
    """An object of a listing, in the terms of its JSON."""

    key: str
    version: int
    expires_at: float | None
    entries: int
    bytes: int


ORDERS: dict[str, Callable[[Any], Any]] = {
    "key": lambda one: one.key.encode(),
    "changed": lambda one: one.version,
    "expires": lambda one: (one.expires_at is None, one.expires_at or 0),
    "entries": lambda one: one.entries,
    "bytes": lambda one: one.bytes,
}


@click.command()
@place_argument("SERVICE")
@click.option("--prefix", default="", help="Only keys that begin with it.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@click.option("--after", help="Only keys behind this one, in the direction of the listing.")
@click.option("-l", "--long", is_flag=True, help="With change, expiry, entries and bytes.")
@click.option("--sort", type=click.Choice(list(ORDERS)), help="Not by key; reads all objects.")
@click.option("-r", "--reverse", is_flag=True, help="The other way round.")
@tool_command
def command(
    tool: Tool,
    place: tuple[str, ...],
    prefix: str,
    limit: int | None,
    after: str | None,
    long: bool,
    sort: str | None,
    reverse: bool,
) -> None:
    """List the objects of a service, in order of their keys."""
    (service,) = tool.names(place, 1, 1)
    by_key = sort in (None, "key")
    bounds: dict[str, Any] = {"prefix": tool.name("--prefix", prefix)}
    if after is not None:
        bounds["start"] = tool.name("--after", after)
    if limit is not None and by_key:
        bounds["limit"] = limit + (after is not None)  # ``after`` itself may be there
    with tool.open() as access, access.store.snapshot() as reads:
        absent.check_service(reads, service)
        found = reads.object_keys(service, reverse=reverse and by_key, **bounds)
        keys = (key for key in found if key != bounds.get("start"))
        if not long and by_key:
            for key in islice(keys, limit):
                tool.out.record({"key": key})
                tool.out.say(escape.text(key))
            return
        listed = _listed(reads, service, keys)
        if not by_key:
            listed = iter(sorted(listed, key=ORDERS[sort or "key"], reverse=reverse))
        for number, one in enumerate(islice(listed, limit)):
            if not long:
                tool.out.record({"key": one.key})
                tool.out.say(escape.text(one.key))
                continue
            if not number:
                tool.out.say(_HEADER, bold=True)
            tool.out.record(one._asdict())
            tool.out.say(
                _LINE.format(
                    moment(one.version),
                    f"{one.entries:,}",
                    size(one.bytes),
                    escape.text(one.key),
                    f"  expires {expiry(one.expires_at)}" if one.expires_at is not None else "",
                )
            )


def _listed(reads: Reads, service: str, keys: Iterator[str]) -> Iterator[Listed]:
    for key in keys:
        found = reads.load(service, key)
        if found is not None:
            held = sum(len(name.encode()) + len(value) for name, value in found.entries.items())
            yield Listed(key, found.version, found.expires_at, len(found.entries), held)
