"""A cluster of three PostgreSQL servers that Patroni runs, with etcd to agree on the leader.

A commit is acknowledged when the leader and one of the two others have it, whichever comes first.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.request
from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.postgres.servers import (
    SETTINGS,
    STOP_SECONDS,
    SUPERUSER,
    Keeper,
    Server,
    find_port,
    find_program,
    run_sql,
    wait_until,
)

SCOPE = "kvengine"
HEALTHY_SECONDS = 120.0
# On the leader: how many other nodes count for the acknowledgement of a commit.
STANDBYS = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'"
# The shortest that Patroni takes. A leader that is lost is replaced when its lease has run out.
LEASE_SECONDS = 20
LOOP_SECONDS = 1
RETRY_SECONDS = 3


class Etcd(Server):
    """One etcd, which keeps the leases of a cluster."""

    title = "etcd"

    def __init__(self, keeper: Keeper) -> None:
        super().__init__(keeper)
        self._peers = f"http://127.0.0.1:{find_port()}"
        self._clients = f"http://127.0.0.1:{self.port}"
        self._data = keeper.directory / f"etcd-{self.port}"
        self.start()

    def expire_lease(self, key: str) -> None:
        """End the lease of a key now, as its time to live would; the key is gone then."""
        name = base64.b64encode(key.encode()).decode()
        for found in self._call("kv/range", {"key": name}).get("kvs", []):
            self._call("lease/revoke", {"ID": found["lease"]})

    def _call(self, verb: str, arguments: dict[str, str]) -> Any:
        return fetch(f"{self._clients}/v3/{verb}", json.dumps(arguments).encode())

    def _launch(self) -> psutil.Process:
        options = {
            "name": SCOPE,
            "data-dir": str(self._data),
            "listen-client-urls": self._clients,
            "advertise-client-urls": self._clients,
            "listen-peer-urls": self._peers,
            "initial-advertise-peer-urls": self._peers,
            "initial-cluster": f"{SCOPE}={self._peers}",
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        return self._keeper.start([find_program("etcd", "etcd-server"), *arguments], self.log)

    def _answers(self) -> bool:
        try:
            return bool(fetch(f"{self._clients}/health")["health"] == "true")
        except OSError:
            return False


class Node(Server):
    """A machine of the cluster: Patroni, and the PostgreSQL that it starts and watches."""

    title = "patroni"

    def __init__(self, keeper: Keeper, name: str, etcd: Etcd) -> None:
        super().__init__(keeper)
        self.name = name
        self.postgres_port = find_port()
        self.url = f"postgresql://{SUPERUSER}@127.0.0.1:{self.postgres_port}/postgres"
        self.api = f"http://127.0.0.1:{self.port}"
        self._data = keeper.directory / name
        self._configuration = keeper.directory / f"{name}.json"
        # YAML reads JSON.
        self._configuration.write_text(json.dumps(self._settings(etcd), indent=1))

    def lose(self) -> None:
        """Kill Patroni and PostgreSQL, as if the machine had lost its power."""
        self.stop("kill")
        self.crash()

    def crash(self) -> None:
        """Kill PostgreSQL alone; return when its processes are gone."""
        postmaster = self._postmaster()
        if postmaster is not None:
            processes = [postmaster, *postmaster.children(recursive=True)]
            postmaster.kill()
            psutil.wait_procs(processes, STOP_SECONDS)

    def _postmaster(self) -> psutil.Process | None:
        try:
            identifier = (self._data / "postmaster.pid").read_text("ascii").split("\n")[0]
            process = psutil.Process(int(identifier))
            return process if process.name() == "postgres" else None
        except (FileNotFoundError, psutil.NoSuchProcess):
            return None

    def _launch(self) -> psutil.Process:
        # The interpreter may lie in a place that is closed to the user of the servers.
        capability = "+dac_override"
        privileges = ["--inh-caps", capability, "--ambient-caps", capability]
        return self._keeper.start(
            [sys.executable, "-m", "patroni", str(self._configuration)],
            self.log,
            privileges=privileges if os.geteuid() == 0 else [],
        )

    def _answers(self) -> bool:
        try:
            fetch(f"{self.api}/patroni")
        except OSError:
            return False
        return True

    def _settings(self, etcd: Etcd) -> dict[str, Any]:
        superuser = {"username": SUPERUSER}
        programs = Path(find_program("postgres", "postgresql")).parent
        return {
            "scope": SCOPE,
            "name": self.name,
            "restapi": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
            },
            "etcd3": {"host": f"127.0.0.1:{etcd.port}"},
            "bootstrap": {
                "dcs": {
                    "ttl": LEASE_SECONDS,
                    "loop_wait": LOOP_SECONDS,
                    "retry_timeout": RETRY_SECONDS,
                    # A leader whose PostgreSQL dies does not wait for it to come back.
                    "primary_start_timeout": 0,
                    "synchronous_mode": "quorum",
                    # Without another machine that has it, no commit is acknowledged.
                    "synchronous_mode_strict": True,
                    "postgresql": {"use_pg_rewind": True},
                },
                "initdb": [{"encoding": "UTF8"}, "no-locale", "no-sync", {"auth": "trust"}],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.postgres_port}",
                "connect_address": f"127.0.0.1:{self.postgres_port}",
                "bin_dir": str(programs),
                "data_dir": str(self._data),
                "pgpass": str(self._data.with_suffix(".pgpass")),
                "authentication": {"superuser": superuser, "replication": superuser},
                "pg_hba": [
                    "host all all 127.0.0.1/32 trust",
                    "host replication all 127.0.0.1/32 trust",
                ],
                "parameters": {**SETTINGS, "fsync": "off"},
            },
        }


class Cluster:
    """Three nodes, of which one is the leader and takes writes."""

    def __init__(self, keeper: Keeper) -> None:
        if util.find_spec("patroni") is None:
            pytest.skip("there is no Patroni: pip install kvengine[test]")
        self.etcd = Etcd(keeper)
        self.nodes: Sequence[Node] = [Node(keeper, name, self.etcd) for name in ("a", "b", "c")]
        hosts = ",".join(f"127.0.0.1:{node.postgres_port}" for node in self.nodes)
        self.url = f"postgresql://{SUPERUSER}@{hosts}/postgres?target_session_attrs=read-write"
        for node in self.nodes:
            node.start()
        self.wait_healthy()

    def leader(self, timeout: float = HEALTHY_SECONDS) -> Node:
        """Return the node that takes writes; wait up to `timeout` seconds until there is one."""
        wait_until(lambda: any(map(is_leader, self.nodes)), timeout, self._failure)
        return next(filter(is_leader, self.nodes))

    def kill_leader(self, *, expire: bool = False) -> Node:
        """Kill the leader's processes, as if its machine were lost; return the node.

        Another node takes over when the leader's lease has run out, `LEASE_SECONDS` later. With
        `expire` the lease ends at once.
        """
        leader = self.leader()
        leader.lose()
        if expire:
            self.etcd.expire_lease(f"/service/{SCOPE}/leader")
        return leader

    def crash_leader(self) -> Node:
        """Kill the leader's PostgreSQL and nothing else; return the node.

        Its Patroni sees that at once and gives up the lease, and later revives the node by itself.
        """
        leader = self.leader()
        leader.crash()
        return leader

    def revive(self, node: Node) -> None:
        """Start a killed node; it follows the leader once it has caught up with it."""
        node.start()

    def wait_healthy(self, timeout: float = HEALTHY_SECONDS) -> None:
        """Return once there is a leader and both other nodes count for its commits."""
        wait_until(self._healthy, timeout, self._failure)

    def stop(self) -> None:
        """Kill all nodes and etcd; the cluster is of no use after that."""
        for node in self.nodes:
            node.lose()
        self.etcd.stop("kill")

    def psql(self, sql: str) -> list[tuple[Any, ...]]:
        """Run statements on the leader, in one transaction; return the rows of the last one."""
        return run_sql(self.url, sql)

    def _healthy(self) -> bool:
        for node in self.nodes:
            if not node.running:
                raise RuntimeError(node.failure("has ended"))
        # Both have to know of the two others: PostgreSQL waits for one of them in each commit, and
        # Patroni lets none of them take over that it has not noted in etcd, a second later.
        try:
            members = fetch(f"{self.nodes[0].api}/cluster")["members"]
            streaming = self.psql(STANDBYS)
        except (OSError, psycopg.OperationalError):
            return False
        roles = sorted(member["role"] for member in members)
        return roles == ["leader", "quorum_standby", "quorum_standby"] and streaming == [(2,)]

    def _failure(self) -> str:
        return "\n".join(node.failure("has not the state that is awaited") for node in self.nodes)


def is_leader(node: Node) -> bool:
    """Return whether a node takes writes."""
    try:
        return run_sql(node.url, "SELECT NOT pg_is_in_recovery()") == [(True,)]
    except psycopg.OperationalError:
        return False


def fetch(url: str, body: bytes | None = None) -> Any:
    """Return the JSON that a server answers; raise OSError where it does not, or refuses."""
    with urllib.request.urlopen(url, body, timeout=5) as answer:
        return json.loads(answer.read() or b"null")
