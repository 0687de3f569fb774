"""Paths as callers give them."""

from __future__ import annotations

import os


def check_path(what: str, path: str | os.PathLike[str]) -> str:
    """``path`` as ``str``; TypeError for anything but a str or a path of str."""
    name = path if isinstance(path, (str, bytes)) else getattr(path, "__fspath__", lambda: path)()
    if not isinstance(name, str):
        raise TypeError(f"{what} must be str or a path of str, not {type(name).__name__}")
    return name
