"""Passwords in addresses: never shown, wherever the address of a database is."""

from __future__ import annotations

import re

_OF_USER = re.compile(r"(postgres(?:ql)?://[^\s:/@]*):\S*@")
_IN_PARAMETER = re.compile(r"([?&](?:ssl)?password=)[^\s&'\")]*?(?=:?(?:[\s&'\")]|$))")


def without_passwords(text: str) -> str:
    """Return a text in which ``***`` stands for the passwords of PostgreSQL URLs."""
    return _IN_PARAMETER.sub(r"\1***", _OF_USER.sub(r"\1:***@", text))
