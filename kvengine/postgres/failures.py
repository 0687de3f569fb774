"""What the errors of the driver mean: which are tried again, and what users are told."""

from __future__ import annotations

import re

import psycopg
from psycopg import errors

from kvengine.errors import (
    AccessDenied,
    BadAddress,
    KVEngineError,
    OutcomeUnknown,
    StatementTimeout,
    Unavailable,
    ValueTooLarge,
)

_NOT_APPLIED = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.ReadOnlySqlTransaction,  # the server was demoted: the next connection finds another one
    errors.CannotConnectNow,
    errors.TooManyConnections,
    errors.LockNotAvailable,
)
"""The server says that it has done nothing, and may do it if it is asked again."""

_NO_DATABASE = re.compile(r'FATAL:  database ".*" does not exist')

_UNPREPARED = (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement)
"""A pooler gave the connection another server: statements cannot be prepared through it."""


def is_retryable(error: psycopg.Error) -> bool:
    """Return whether nothing was done, and the same may work if it is tried again."""
    return isinstance(error, _NOT_APPLIED)


def is_unprepared(error: psycopg.Error) -> bool:
    """Return whether a statement that was prepared is not there any more. Nothing was done."""
    return isinstance(error, _UNPREPARED)


def is_broken(error: psycopg.Error) -> bool:
    """Return whether the connection is gone, and with it the answer."""
    if isinstance(error, (errors.AdminShutdown, errors.CrashShutdown, errors.IdleSessionTimeout)):
        return True
    return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)) and (
        error.sqlstate is None or error.sqlstate.startswith("08")
    )


def translated(error: psycopg.Error, shown: str) -> KVEngineError:
    """Return the error of kvengine that an error of the driver stands for.

    ``shown``: the database, for people.
    """
    said = _said(error)
    if isinstance(error, errors.InsufficientPrivilege):
        return AccessDenied(f"{shown}: {said}; grant it, or connect as the owner of the schema")
    if isinstance(error, errors.QueryCanceled):
        return StatementTimeout(f"{shown}: {said}; nothing was written")
    if isinstance(error, (errors.ProgramLimitExceeded, errors.OutOfMemory)):
        return ValueTooLarge(f"{shown}: {said}")
    if isinstance(
        error, (errors.UndefinedTable, errors.UndefinedFunction, errors.InvalidSchemaName)
    ):
        return Unavailable(f"{shown}: {said}; was the schema dropped? connect again to make it")
    return Unavailable(f"{shown}: {said}")


def refused(error: psycopg.Error, shown: str) -> KVEngineError:
    """Return the error for a connection that could not be made."""
    said = _said(error)
    if isinstance(error, psycopg.ProgrammingError) or _NO_DATABASE.search(said):
        return BadAddress(f"{shown}: {said}")
    if re.search(
        r"authentication|no password supplied|permission denied|role .* does not exist", said
    ):
        return AccessDenied(f"{shown}: {said}")
    return Unavailable(f"{shown}: {said}")


def gone(error: Exception, shown: str) -> Unavailable:
    """Return the error for a snapshot whose connection broke."""
    return Unavailable(
        f"{shown}: the snapshot went with its connection; take another: {_said(error)}"
    )


def unknown(error: Exception) -> OutcomeUnknown:
    """Return the error for a commit whose answer was lost with ``error``."""
    return OutcomeUnknown(
        f"the connection broke around a commit: {_said(error)}; the commit is in whole or not at"
        " all: read the object again before you repeat it"
    )


def note_unconfirmed(noted: list[str], notice: errors.Diagnostic) -> None:
    """Take down a notice if it says that a commit is in, and the standbys may not have it.

    The server waits for them and is told to stop that, by ``pg_cancel_backend`` or Ctrl-C. Then it
    answers as ever. Its message has the language of the server, and no code of its own.
    """
    if notice.source_function == "SyncRepWaitForLSN":
        noted.append("; ".join(filter(None, (notice.message_primary, notice.message_detail))))


def unconfirmed(notice: str) -> OutcomeUnknown:
    """Return the error for a commit of which a notice says that the standbys may not have it."""
    return OutcomeUnknown(
        f"the commit is in, but no standby is known to have it: {notice}; a failover may lose it"
    )


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return "; ".join(lines) or type(error).__name__
