"""What kvengine raises.

    KVEngineError
    ├── CorruptionError      bytes on disk that are not what was written   (path, offset, reason)
    ├── DatabaseLocked       another process owns the directory            (path, pid, waited)
    ├── OwnerLost            the directory changed its owner               (path, reason)
    ├── DatabaseClosed       used after close()
    ├── ForkedError          used in a child forked after open()
    ├── WriteFailed          an I/O error stopped writes until reopen      (its cause: the OSError)
    ├── ReadOnly             a write where only reads are allowed: read_only=True
    ├── VersionConflict      expect= did not hold; nothing was written     (.expected, .actual)
    ├── ValueTooLarge        a name, value or commit over its limit        (also a ValueError)
    ├── NotADatabase         a directory that holds no kvengine database
    ├── UnsupportedFormat    written in a format that this release does not read
    ├── BadAddress           no URL that can be connected to               (also a ValueError)
    ├── Unavailable          no server, no connection, no permission: nothing was written
    │   ├── AccessDenied     the server refused the user, or the user may not do it
    │   ├── PoolExhausted    all connections were in use for too long      (also a TimeoutError)
    │   └── StatementTimeout the server gave a statement up                (also a TimeoutError)
    ├── OutcomeUnknown       a connection broke around a commit: it is there, or it is not
    ├── SerdeError           a value that does not encode or decode        (service, key, state_key)
    │   └── FieldError       a field set to what is not of its type        (also a TypeError)
    └── SessionError         a session nested, used after its end, ...
        ├── SessionTimeout   another session kept the object for too long  (also a TimeoutError)
        └── SessionLost      another client has the object since: nothing was written

Arguments of the wrong type raise TypeError and arguments that make no sense
ValueError, before anything is written.
"""

from __future__ import annotations

import os


class KVEngineError(Exception):
    """Base of every error that kvengine defines."""


class CorruptionError(KVEngineError):
    """Bytes on disk are not what was written there.

    ``path`` is the file, ``offset`` the byte in it where the damage was found
    and ``reason`` says what did not hold.
    """

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(path, offset, reason)
        self.path = path
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}, offset {self.offset}: {self.reason}"


class DatabaseLocked(KVEngineError):
    """Another owner has the directory open; ``pid`` is its process, None where unknown.

    ``waited``: the seconds for which the open has waited for it to leave.
    """

    def __init__(self, path: str, pid: int | None, waited: float = 0.0) -> None:
        super().__init__(path, pid, waited)
        self.path = path
        self.pid = pid
        self.waited = waited

    def __str__(self) -> str:
        waited = f", still after {self.waited:.1f} seconds" if self.waited else ""
        if self.pid == os.getpid():
            return (
                f"{self.path} is open in this process ({self.pid}) already{waited};"
                " use the Engine that has it, or close that first"
            )
        holder = f"process {self.pid}" if self.pid is not None else "another process"
        return (
            f"{self.path} is open in {holder}{waited}; close it there, wait"
            f"{' longer' if waited else ''} for that with lock_timeout=, let both have it with"
            " share=True, or only read it here with read_only=True"
        )


class OwnerLost(KVEngineError):
    """The directory has changed its owner under what was begun.

    This process no longer owns the directory that it opened, because somebody renamed, removed or
    replaced it or its LOCK file: writes have stopped. Or, of a directory that several processes
    share, the owner ended that held a session, snapshot, walk or watch. ``reason`` says what of the
    directory at ``path``.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


class DatabaseClosed(KVEngineError):
    """The store, or the snapshot an iterator reads, has been closed."""


class ForkedError(KVEngineError):
    """A forked child used its parent's store; open the database in one process only."""


class WriteFailed(KVEngineError):
    """An I/O error stopped writes; reads go on, writes are refused until reopen."""


class ReadOnly(KVEngineError):
    """A write to a store opened with ``read_only=True``, or in a session with it."""


class VersionConflict(KVEngineError):
    """An object's version was not the expected one; nothing was written."""

    def __init__(self, service: str, key: str, expected: int, actual: int) -> None:
        super().__init__(service, key, expected, actual)
        self.service = service
        self.key = key
        self.expected = expected
        self.actual = actual

    def __str__(self) -> str:
        return (
            f"object ({self.service!r}, {self.key!r}) is at version {self.actual},"
            f" not {self.expected}: read it again and retry"
        )


class ValueTooLarge(KVEngineError, ValueError):
    """A name, a value or a commit is over its limit; nothing was written."""


class NotADatabase(KVEngineError):
    """The path exists and does not hold a kvengine database."""


class UnsupportedFormat(KVEngineError):
    """The database is in a format that this release does not read; the message names the way."""


def is_io_error(error: BaseException) -> bool:
    """Whether the operating system refused something: not what a signal handler raised.

    A handler may well raise an OSError of its own (TimeoutError); those have no errno.
    """
    return isinstance(error, OSError) and error.errno is not None


class BadAddress(KVEngineError, ValueError):
    """What was given to `kvengine.connect` is no address of a database."""


class Unavailable(KVEngineError):
    """A server could not be reached, or did not do what was asked. Nothing was written.

    It may be tried again; kvengine has done so for as long as ``timeout=`` allows.
    """


class AccessDenied(Unavailable):
    """The server does not know the user, or the user lacks a privilege; the message names it."""


class PoolExhausted(Unavailable, TimeoutError):
    """All connections of a store were in use for as long as ``timeout=`` allows to wait."""


class StatementTimeout(Unavailable, TimeoutError):
    """The server gave a statement up: its own ``statement_timeout``, or somebody cancelled it."""


class OutcomeUnknown(KVEngineError):
    """A connection broke around a commit, and whether the commit is in could not be found out.

    It is in whole or not at all. Read the object again before you repeat the commit. A commit that
    is in, but that the server did not wait for its standbys to have, is reported so too.
    """


class SerdeError(KVEngineError):
    """A value did not encode or decode; names where it belongs."""

    def __init__(self, service: str, key: str, state_key: str, reason: str) -> None:
        super().__init__(service, key, state_key, reason)
        self.service = service
        self.key = key
        self.state_key = state_key
        self.reason = reason

    def __str__(self) -> str:
        return f"({self.service!r}, {self.key!r}, {self.state_key!r}): {self.reason}"


class FieldError(SerdeError, TypeError):
    """A field of a typed state was given a value that is not of its type; nothing was written."""


class SessionError(KVEngineError):
    """A session was used in a way that cannot work: nested, after its end, against its kind."""


class SessionTimeout(SessionError, TimeoutError):
    """The object was in other sessions for as long as ``timeout=`` allowed to wait."""


class SessionLost(SessionError):
    """Another client has the object since: this one did not renew its lease in time."""
