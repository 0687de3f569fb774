"""SQLite through apsw: the same statements as through the standard library, and its own SQLite."""

from __future__ import annotations

import apsw

from benchmarks.peers.sqlite import SQLite


class APSW(SQLite):
    """For the record. It promises what SQLite does, so it may be the best peer."""

    @staticmethod
    def _connect(path: str) -> apsw.Connection:
        return apsw.Connection(path)

    @staticmethod
    def version() -> str:
        return f"apsw {apsw.apsw_version()}, SQLite {apsw.sqlite_lib_version()}"


PEER = APSW
