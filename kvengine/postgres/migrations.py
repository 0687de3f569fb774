"""The schema of a database: made, brought up to date, or refused. Versioned, under a lock.

1. Read the version that is there. It is the library's: done.
2. It is newer: UnsupportedFormat. It is older, or there is none: begin a transaction.
3. Take an advisory lock of the schema, so that of many clients that begin at once one does the
   work, and read the version again.
4. Run what is missing, note the version, commit. What is cut off before leaves nothing.
"""

from __future__ import annotations

import zlib
from importlib import resources

import psycopg
from psycopg import errors

from kvengine.errors import NotADatabase, UnsupportedFormat
from kvengine.postgres import failures
from kvengine.postgres.connections import Connections

VERSION = 1
"""The schema that this release works with: that of ``schema_1.sql`` to ``schema_VERSION.sql``."""

OLDEST_SERVER = 130_000


def prepare(connections: Connections, *, create: bool, read_only: bool) -> None:
    """Make the database ready: check the server, and bring the schema up to date.

    ``create``: whether a schema may be made. ``read_only``: whether nothing may be written. Raise
    what `migrate` and connecting raise.
    """
    address = connections.address
    connection = connections.connect()
    try:
        check_server(connection, address.shown)
        writes = not read_only
        migrate(connection, address.schema, address.shown, create=create, writes=writes)
    except psycopg.Error as error:
        raise failures.translated(error, address.shown) from error
    finally:
        connection.close()


def check_server(connection: psycopg.Connection, shown: str) -> None:
    """Raise UnsupportedFormat if the server is older than PostgreSQL 13."""
    version = connection.info.server_version
    if version < OLDEST_SERVER:
        raise UnsupportedFormat(
            f"{shown}: the server is PostgreSQL {version // 10_000}; kvengine needs"
            f" {OLDEST_SERVER // 10_000} or newer"
        )


def migrate(
    connection: psycopg.Connection, schema: str, shown: str, *, create: bool, writes: bool = True
) -> None:
    """Make the schema, or bring it up to date. ``create``: whether one may be made.

    Raise UnsupportedFormat if a later release has made it, NotADatabase if there is none.
    """
    found = _version(connection, schema)
    if found == VERSION:
        return
    if found > VERSION:
        raise UnsupportedFormat(
            f"{shown}: schema {schema!r} was made by a later release (version {found}, this one"
            f" knows {VERSION}): upgrade kvengine here"
        )
    if found and not writes:
        raise UnsupportedFormat(
            f"{shown}: schema {schema!r} was made by an earlier release: connect without read_only"
            " once, which brings it up to date"
        )
    if not found and not (create and writes):
        raise NotADatabase(f"{shown}: no schema {schema!r} of kvengine is there")
    with connection.transaction():
        connection.execute(
            "SELECT pg_advisory_xact_lock(%s)", (zlib.crc32(f"kvengine {schema}".encode()),)
        )
        found = _version(connection, schema)
        if not found:
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
            connection.execute(f'CREATE TABLE "{schema}".schema_version (version bigint NOT NULL)')
            connection.execute(f'INSERT INTO "{schema}".schema_version VALUES (0)')
        for number in range(found + 1, VERSION + 1):
            text = resources.files(__package__).joinpath(f"schema_{number}.sql").read_text("utf-8")
            connection.execute(text.replace("{schema}", f'"{schema}"'), prepare=False)
            connection.execute(f'UPDATE "{schema}".schema_version SET version = {number}')


def _version(connection: psycopg.Connection, schema: str) -> int:
    """Return the version of the schema, 0 if there is none."""
    # By a query: `to_regclass` may remember that there was none, after the wait for the lock too.
    row = connection.execute(
        "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = 'schema_version'", (schema,)
    ).fetchone()
    if row is None:
        return 0
    try:
        row = connection.execute(f'SELECT version FROM "{schema}".schema_version').fetchone()
    except errors.UndefinedTable:
        return 0
    return int(row[0]) if row is not None else 0
