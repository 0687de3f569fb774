"""Where a database is: a PostgreSQL URL, with what kvengine adds to it."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from kvengine.errors import BadAddress
from kvengine.passwords import without_passwords

SCHEMES = ("postgresql://", "postgres://")

DEFAULT_SCHEMA = "kvengine"

_SCHEMA = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")

_PORT = re.compile(r"^[^:\]]*$|:[0-9]*$|\]$")
"""A host without a port, or with one that is a number; an IPv6 address is in brackets."""

_DEFAULTS = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "application_name": "kvengine",
}
"""Parameters of libpq, if the URL does not set them: a server that is gone is noticed in 30 s."""

_CONNECT_TIMEOUT_OF_MANY = "3"
"""Seconds for each of several hosts. They are tried in turn, so as long as one without power is
gone, each new connection waits for it."""


class Address(NamedTuple):
    """What `parse` makes of a URL. ``conninfo``: for libpq. ``shown``: without the password."""

    conninfo: str
    schema: str
    shown: str

    @property
    def quoted_schema(self) -> str:
        """Return the schema as SQL has it: it may be a word of SQL."""
        return f'"{self.schema}"'


def is_postgres(address: str) -> bool:
    """Return whether an address is a PostgreSQL URL, and no path."""
    return address.startswith(SCHEMES)


def parse(url: str, *, read_only: bool = False) -> Address:
    """Return the parts of ``postgresql://user@host1,host2/db?kv_schema=state``.

    Everything but ``kv_schema`` is libpq's. Of several hosts the one that takes writes is used, as
    if the URL said ``target_session_attrs=read-write``; with ``read_only`` a replica, if one is
    there (``prefer-standby``). Raise BadAddress if it makes no sense.
    """
    if not is_postgres(url):
        raise BadAddress(f"not a PostgreSQL URL: {url!r}; one begins with postgresql://")
    try:
        parts = urlsplit(url)
        query = parts.query.replace("+", "%2B")  # for libpq it is no space
        given = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise BadAddress(f"not a PostgreSQL URL: {without_passwords(url)}: {error}") from None
    for host in parts.netloc.rpartition("@")[2].split(","):
        if not _PORT.search(host):
            raise BadAddress(f"{without_passwords(url)}: no port: {host!r}")
    ours = {name: value for name, value in given if name.startswith("kv_")}
    schema = ours.pop("kv_schema", DEFAULT_SCHEMA)
    if ours:
        raise BadAddress(f"{without_passwords(url)}: no such parameter: {', '.join(sorted(ours))}")
    if not _SCHEMA.fullmatch(schema):
        raise BadAddress(
            f"kv_schema must be lower-case letters, digits and _, at most 63 and not pg_ first,"
            f" not {schema!r}"
        )
    parameters = {name: value for name, value in given if name != "kv_schema"}
    if "," in parts.netloc or "," in parameters.get("host", ""):
        wanted = "prefer-standby" if read_only else "read-write"
        parameters.setdefault("target_session_attrs", wanted)
        parameters.setdefault("connect_timeout", _CONNECT_TIMEOUT_OF_MANY)
    query = urlencode({**_DEFAULTS, **parameters}, quote_via=quote)
    # Not by `urlunsplit`, which leaves the slashes out if there is no host.
    conninfo = f"{parts.scheme}://{parts.netloc}{parts.path}?{query}"
    return Address(conninfo, schema, without_passwords(url))
