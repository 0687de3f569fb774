"""The contract itself: it has every test of its themes, and none of what only one home has."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from kvengine.testing import StoreContract

FOLDER = Path(__file__).resolve().parents[2] / "kvengine" / "testing" / "contract"
OF_THE_ENGINE = {"flush", "compact", "checkpoint", "verify", "estimate", "segments", "refresh"}


def test_no_test_of_a_theme_hides_that_of_another() -> None:
    """Themes are joined in one class: of two tests with one name only one would run."""
    names = Counter(
        name for theme in StoreContract.__mro__ for name in vars(theme) if name.startswith("test_")
    )
    assert len(names) > 100 and names.most_common(1)[0][1] == 1


def test_it_asks_for_public_verbs_alone() -> None:
    """No verb that the embedded engine adds, and nothing that begins with an underscore."""
    for path in FOLDER.glob("*.py"):
        asked = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Attribute)
            and not (isinstance(node.value, ast.Name) and node.value.id == "self")
        }
        private = {name for name in asked if name.startswith("_") and not name.endswith("__")}
        assert not asked & OF_THE_ENGINE and not private, path.name
