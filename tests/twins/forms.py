"""Both forms of a twin in one process, and what one does compared with the other."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kvengine import compiled

ROOT = Path(__file__).resolve().parents[2]

only_compiled = pytest.mark.skipif(
    compiled.form != "compiled", reason="compares the compiled form with the plain one"
)
"""In plain form a twin would be compared with itself."""


def plain(name: str) -> ModuleType:
    """Return the plain form of a module, whichever form the engine runs in."""
    spec = spec_from_file_location(f"plain_{name}", ROOT / f"{name.replace('.', '/')}.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def twins(name: str) -> tuple[ModuleType, ModuleType]:
    """Return the module that the engine runs, and its plain form."""
    return importlib.import_module(name), plain(name)


def outcome(function: Callable[..., Any], *args: Any) -> tuple[str, Any]:
    """Return what a call comes to: its result, or the class of its error."""
    try:
        result = function(*args)
    except Exception as error:
        return "raises", ValueError if isinstance(error, ValueError) else type(error)
    if isinstance(result, memoryview):
        result = bytes(result)
    return "returns", result


def mutate(data: bytes, choice: Any) -> bytes:
    """Return bytes that differ from ``data`` in a few places. ``choice``: a random.Random."""
    found = bytearray(data)
    for _ in range(choice.randint(1, 3)):
        kind = choice.randrange(5)
        at = choice.randrange(len(found) + 1)
        if kind == 0 and at < len(found):
            found[at] = choice.randrange(256)
        elif kind == 1 and at < len(found):
            found[at] = choice.choice(MARKERS)
        elif kind == 2:
            found[at:at] = bytes(choice.choice(MARKERS) for _ in range(choice.randint(1, 3)))
        elif kind == 3:
            del found[at : at + choice.randint(1, 4)]
        elif at < len(found):
            found[at] ^= 1 << choice.randrange(8)
    if not choice.randrange(8):
        del found[choice.randrange(len(found) + 1) :]
    return bytes(found)


MARKERS = bytes.fromhex("00017f8081828f9091929394959697a0a1bfc0c1c2c3c4c5c6c7cacbcccdcecfd0d3d4")
MARKERS += bytes.fromhex("d9dadbdcdddedfe0ff")
"""Bytes that mean something in MessagePack."""
