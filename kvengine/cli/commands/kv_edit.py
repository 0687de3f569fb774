"""``kvengine kv edit``: a whole object as JSON in the user's editor."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import Any

import click
import msgspec

from kvengine.cli.completion import place_argument
from kvengine.cli.edits import Edit, apply, edit_options
from kvengine.cli.exits import DECLINED, FAILED, USAGE, Exit
from kvengine.cli.tool import Tool, tool_command
from kvengine.inspection.document import BadDocument, document, json_of, line, value_of
from kvengine.inspection.escape import safe
from kvengine.store import StoredObject


@click.command()
@place_argument("SERVICE/KEY")
@edit_options
@tool_command
def command(tool: Tool, place: tuple[str, ...], **how: bool) -> None:
    """Edit an object as JSON in $VISUAL or $EDITOR.

    Entries that are removed from the text are cleared. What was replaced is kept
    beforehand in a file, whose name is printed. Entries keep their expiry.
    """
    service, key = tool.names(place, 2, 2)
    with tool.open(write=not how["dry_run"]) as access:
        found = access.store.load(service, key)
        text = editable(found)
        entries: dict[str, bytes | None] | None = None
        while entries is None:
            edited = _in_editor(text)
            try:
                entries = changed(edited, found)
            except BadDocument as error:
                tool.out.note(f"kvengine: {error}")
                if not sys.stdin.isatty():
                    raise Exit(USAGE, "the edited text is not taken; nothing was written") from None
                if not click.confirm("Edit again?", default=True, err=True):
                    raise Exit(DECLINED, "nothing was written") from None
                text = edited
        edit = Edit(service, key, found, entries)
        edit.keep_ttls()
        if found is not None and not edit.is_empty() and not how["dry_run"]:
            tool.out.note(f"what was there is kept in {_kept(found)}")
        apply(tool, access, edit, asks=False, **how)


def editable(found: StoredObject | None) -> str:
    """The entries as indented JSON: {"name": {"value": ...}}, other bytes as text or base64."""
    forms = document(found)["entries"] if found is not None else {}
    for form in forms.values():
        form.pop("expires_at", None)
        if "value" in form:
            form.pop("text", None)  # one thing to edit; an unchanged value keeps its bytes
    return msgspec.json.format(msgspec.json.encode(forms), indent=2).decode() + "\n"


def changed(text: str, found: StoredObject | None) -> dict[str, bytes | None]:
    """What the edited text changes, by state key; BadDocument says what is wrong with it."""
    try:
        forms: Any = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadDocument(f"not JSON: {safe(str(error))}") from None
    if not isinstance(forms, dict):
        raise BadDocument('the text must be one JSON object: {"name": {"value": ...}, ...}')
    before = found.entries if found is not None else {}
    made: dict[str, bytes | None] = {name: None for name in before if name not in forms}
    for name, form in forms.items():
        after = value_of(form, f"entry {name!r}")
        if name in before and not _differs(form, after, before[name]):
            continue
        made[name] = after
    return made


def _differs(form: dict[str, Any], after: bytes, before: bytes) -> bool:
    """Whether an entry says something else than it did; how its JSON is spaced says nothing."""
    if set(form) == {"value"}:
        known, is_json = json_of(before)
        if is_json:
            return msgspec.json.encode(known) != after
    return after != before


def _in_editor(text: str) -> str:
    try:
        edited = click.edit(text, extension=".json", require_save=False)
    except click.ClickException as error:
        raise Exit(FAILED, f"{error.message}; nothing was written") from None
    except UnicodeDecodeError:
        raise Exit(USAGE, "the edited text is not UTF-8; nothing was written") from None
    if edited is None:
        raise Exit(DECLINED, "the editor returned nothing; nothing was written")
    return edited


def _kept(found: StoredObject) -> str:
    """Write the document as it was into the user's state directory; the file.

    Where there is none, into the directory for temporary files. `Exit` if that fails too.
    """
    stem = f"{time.strftime('%Y%m%dT%H%M%S')}-{found.version}-"
    try:
        folder = os.path.join(_state_directory(), "kvengine", "replaced")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        descriptor, path = tempfile.mkstemp(".json", stem, folder)
    except OSError:
        try:
            descriptor, path = tempfile.mkstemp(".json", f"kvengine-replaced-{stem}")
        except OSError as error:
            why = f"what would be replaced cannot be kept: {error.strerror}"
            raise Exit(FAILED, f"{why}; nothing was written") from None
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(line(document(found)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return path


def _state_directory() -> str:
    """Where programs keep such things for this user; OSError where no place is known."""
    state = os.environ.get("XDG_STATE_HOME", "")
    home = os.path.expanduser("~")
    if os.path.isabs(state):
        return state
    if os.path.isabs(home) and os.environ.get("HOME") != "":
        return os.path.join(home, ".local", "state")
    raise FileNotFoundError("no home directory")
