"""``kvengine find``: entries by name, by what their value holds, by a JSON path."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from kvengine.cli import absent
from kvengine.cli.completion import complete_service
from kvengine.cli.exits import NO, USAGE, Exit
from kvengine.cli.output import size
from kvengine.cli.tool import Tool, tool_command
from kvengine.inspection import escape
from kvengine.inspection.escape import safe
from kvengine.inspection.search.find import Hit, Searched


@click.command()
@click.option("--service", shell_complete=complete_service, help="Only in this one.")
@click.option("--key", "key_glob", metavar="GLOB", help="Object keys: * ? [...].")
@click.option("--state-key", "state_key_glob", metavar="GLOB", help="State keys: * ? [...].")
@click.option("--contains", metavar="TEXT", help="Values that hold this text.")
@click.option("--json-path", metavar="PATH", help="Values of which a JSON path selects something.")
@click.option("--equals", metavar="JSON", help="Values, or what the path selects, equal to it.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@tool_command
def command(
    tool: Tool, service: str | None, equals: str | None, limit: int | None, **criteria: Any
) -> None:
    """Find entries; every criterion that is given must hold. Ends with 1 where there is none.

    With --key alone it finds objects. JSON paths are those of RFC 9535: '$.user.name',
    '$[?@.price > 10]'.
    """
    if equals is None and not any(criteria.values()):
        raise Exit(USAGE, "find what? Give --key, --state-key, --contains, --json-path or --equals")
    from kvengine.inspection.search.find import find

    if equals is not None:
        try:
            criteria["equals"] = msgspec.json.decode(equals)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise Exit(USAGE, "--equals takes JSON; a string needs quotes of its own") from None
    count, searched = 0, Searched()
    with tool.open() as access, tool.out.progress("searching") as advance:

        def told(so_far: Searched) -> None:
            nonlocal searched
            searched = so_far
            advance(so_far.objects, 0)

        only = None if service is None else tool.name("--service", service)
        absent.check_service(access.store, only)
        try:
            hits = find(access.store, service=only, limit=limit, progress=told, **criteria)
        except ValueError as error:
            raise Exit(USAGE, str(error)) from None
        for hit in hits:
            count += 1
            _show(tool, hit)
    if searched.unread:
        tool.out.note(f"{searched.unread:,} values are nested too deeply for the JSON path")
    if not count:
        raise Exit(NO, "nothing found")


def _show(tool: Tool, hit: Hit) -> None:
    tool.out.record(
        {
            "service": hit.service,
            "key": hit.key,
            "state_key": hit.state_key,
            "bytes": hit.size,
            "where": hit.where,
            "excerpt": hit.excerpt,
        }
    )
    names = [hit.service, hit.key, *([] if hit.state_key is None else [hit.state_key])]
    where = "" if hit.where == "name" else f", {safe(hit.where)}: {escape.text(hit.excerpt)}"
    tool.out.say(f"{' '.join(map(escape.text, names))}  ({size(hit.size)}{where})")
