"""``kvengine kv patch``: a JSON Patch over the JSON entries of an object."""

from __future__ import annotations

import re
import sys
from typing import Any

import click
import msgspec

from kvengine.cli.completion import place_argument
from kvengine.cli.edits import Edit, apply, edit_options
from kvengine.cli.exits import USAGE, Exit
from kvengine.cli.tool import Tool, tool_command
from kvengine.cli.values import json_entries
from kvengine.inspection.escape import safe
from kvengine.inspection.search.value import same

_OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")


@click.command()
@place_argument("SERVICE/KEY")
@click.option("--patch", "given", help="The patch; without it, or for -, standard input.")
@edit_options
@tool_command
def command(tool: Tool, place: tuple[str, ...], given: str | None, **how: bool) -> None:
    """Change an object by a JSON Patch (RFC 6902).

    The document is an object of its entries that are JSON: "/count" is the entry
    count, "/user/name" lies within the entry user. Entries keep their expiry.
    """
    service, key = tool.names(place, 2, 2)
    text = given if given not in (None, "-") else sys.stdin.read()
    with tool.open(write=not how["dry_run"]) as access:
        found = access.store.load(service, key)
        edit = Edit(service, key, found)
        before, _ = json_entries(edit.before)
        after = patched(text, before)
        for name in before:
            if name not in after:
                edit.entries[name] = None
        for name, value in after.items():
            if name not in before or not _same(value, before[name]):
                edit.entries[name] = msgspec.json.encode(value)
        edit.keep_ttls()
        apply(tool, access, edit, asks=False, **how)


def patched(text: str, target: dict[str, Any]) -> dict[str, Any]:
    """The document after the patch; `Exit` where the patch is none, or does not apply."""
    from jsonpath import JSONPatch
    from jsonpath.exceptions import JSONPatchError, JSONPointerError

    try:
        operations = msgspec.json.decode(text)
        if not isinstance(operations, list):
            raise Exit(USAGE, "a JSON Patch is an array of operations")
        copy = msgspec.json.decode(msgspec.json.encode(target))
        result: Any = copy
        for one in operations:
            # Not as a whole: the library knows more operations and indices than the RFC, takes 1
            # for true in a test, and undoes \u in names.
            _check_form(one, result)
            _check_test(one, result)
            result = JSONPatch([one], unicode_escape=False).apply(result)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Exit(USAGE, f"the patch is not JSON: {safe(str(error))}") from None
    except (JSONPatchError, JSONPointerError, TypeError, KeyError, AttributeError) as error:
        raise Exit(USAGE, f"the patch does not apply: {safe(str(error))}") from None
    if not isinstance(result, dict):
        raise Exit(USAGE, "after the patch the document is no object of entries")
    return result


def _check_form(operation: Any, target: Any) -> None:
    """`Exit` for what is no operation of RFC 6902, or whose pointers are none of RFC 6901."""
    if not isinstance(operation, dict) or operation.get("op") not in _OPERATIONS:
        raise Exit(USAGE, f"no operation of RFC 6902: {safe(repr(operation)[:100])}")
    for member in ("path", "from"):
        pointer = operation.get(member, "")
        if not isinstance(pointer, str) or not _POINTER.fullmatch(pointer):
            raise Exit(USAGE, f"{member} is no JSON Pointer: {safe(repr(pointer)[:100])}")
        at = target
        for token in pointer.split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            if isinstance(at, dict):
                at = at.get(name)
            elif isinstance(at, list):
                if name != "-" and not _INDEX.fullmatch(name):
                    raise Exit(USAGE, f"{member} has an index that is none: {safe(repr(pointer))}")
                at = at[int(name)] if name != "-" and int(name) < len(at) else None


def _check_test(operation: Any, target: Any) -> None:
    """`Exit` where a test compares with something else, true and 1 told apart."""
    from jsonpath import JSONPointer

    if isinstance(operation, dict) and operation.get("op") == "test" and "value" in operation:
        found = JSONPointer(operation["path"], unicode_escape=False).resolve(target)
        if not same(found, operation["value"]):
            raise Exit(USAGE, f"the patch does not apply: test failed at {safe(operation['path'])}")


def _same(one: object, other: object) -> bool:
    return msgspec.json.encode(one) == msgspec.json.encode(other)
