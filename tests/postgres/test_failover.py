"""The leader of a cluster is killed under writers: nothing acknowledged is lost, all go on."""

from __future__ import annotations

import os

import pytest

from tests.postgres.cluster import Cluster
from tests.postgres.failover import campaign

KILLS = int(os.environ.get("KVENGINE_LEADER_KILLS", "2"))


@pytest.mark.slow
@pytest.mark.timeout(120 + 60 * KILLS)
def test_no_acknowledged_commit_is_lost_torn_or_applied_twice(cluster: Cluster) -> None:
    """Writers go on by themselves, and the data is what they were told, whoever leads."""
    report = campaign(cluster, kills=KILLS, writers=8)
    assert not report.problems, "\n".join(report.lines())
    assert len(report.kills) == KILLS
