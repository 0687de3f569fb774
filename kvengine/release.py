"""Which release this is. The one place that says so beside pyproject.toml."""

from __future__ import annotations

VERSION = "0.2.0.dev0"
