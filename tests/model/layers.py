"""Layers as values: the law on whole layers, which the engine applies an object at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from kvengine.storage import range_tombstones
from kvengine.storage import row as rows
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.row import Row


class Layer(NamedTuple):
    """Tombstones, which reach strictly older layers, and rows by encoded object."""

    tombstones: Tombstones
    rows: Mapping[bytes, Row]


def overlay(new: Layer, old: Layer) -> Layer:
    """Return the layer that reads as ``new`` over ``old``."""
    found = {
        name: row
        for name, row in old.rows.items()
        if not range_tombstones.covering(new.tombstones, name)
    }
    for name, row in new.rows.items():
        found[name] = rows.overlay(row, found[name]) if name in found else row
    return Layer(range_tombstones.union(new.tombstones, old.tombstones), found)
