"""Servers that are away for a while: verbs go on by themselves, or say in time that they cannot."""

from __future__ import annotations

import pytest

import kvengine
from tests.postgres.servers import Postgres

NAME = ("Cart", "c-1")


def test_sessions_exclude_each_other_as_soon_as_a_server_is_back(
    database: str, postgres: Postgres
) -> None:
    """A crash takes all leases away; a client that claims an object then has one again at once.

    Else another client would take the object, for until the first one renews its lease.
    """
    with (
        kvengine.connect(database, lease=60) as db,
        kvengine.connect(database, lease=60) as other,
    ):
        for each in (db, other):
            with each.object(*NAME).session() as state:
                state.increment("n")
        postgres.restart("kill")
        with db.object(*NAME).session() as state:
            with pytest.raises(kvengine.SessionTimeout):
                with other.object(*NAME).session(timeout=0.2):
                    pass
            state.increment("n")
        assert db.object(*NAME).get("n") == 3
