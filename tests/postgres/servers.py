"""Servers for the tests of the PostgreSQL back end, from Debian's packages, on loopback only.

They run as an unprivileged user where the tests run as root, because PostgreSQL refuses root. They
end with the tests, also if these are killed: `keeper.py` sees to it.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.postgres import keeper

START_SECONDS = 60.0
STOP_SECONDS = 60.0
# Below the ports that the system gives to clients: none of those takes the port of a server that
# is down for a moment, or connects to itself there.
PORTS = range(20_000, 32_000)

STOP_SIGNALS = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
    "kill": signal.SIGKILL,
}


def find_program(name: str, package: str) -> str:
    """Return the path of a server's program; skip the test if the Debian package is missing."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version_of, reverse=True)
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", ""), "/usr/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"there is no {name}: apt-get install {package}")
    return found


def _version_of(place: Path) -> float:
    return float(place.parent.name)


def find_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            # As servers do: a port counts as free although closed connections linger on it.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until(
    condition: Callable[[], bool], seconds: float, problem: Callable[[], str] | str
) -> None:
    """Return once the condition holds; raise TimeoutError with the problem after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(problem if isinstance(problem, str) else problem())
        time.sleep(0.02)


class Keeper:
    """The processes of servers and the directory they live in, which both end with the tests."""

    def __init__(self) -> None:
        self.user = _unprivileged_user()
        # Another session than the tests': an interrupt from the terminal is not for the servers.
        self._process = subprocess.Popen(
            [sys.executable, keeper.__file__, self.user],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.directory = Path(self._read())

    @property
    def prefix(self) -> list[str]:
        """Return what runs a command as the unprivileged user, until its parent ends."""
        prefix = [find_program("setpriv", "util-linux"), "--pdeathsig", "KILL"]
        if self.user:
            group = str(pwd.getpwnam(self.user).pw_gid)
            prefix += ["--reuid", self.user, "--regid", group, "--clear-groups"]
        return prefix

    def run(self, command: Sequence[str]) -> None:
        """Run a command as the unprivileged user to its end; raise with its output if it fails."""
        done = subprocess.run(
            [*self.prefix, "--", *command],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}")

    def start(
        self,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        privileges: Sequence[str] = (),
    ) -> psutil.Process:
        """Start a server as the unprivileged user, with what it prints appended to `log`."""
        request = {
            "command": [*self.prefix, *privileges, "--", *command],
            "log": str(log),
            "environment": dict(environment or {}),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return psutil.Process(self._read())

    def close(self) -> None:
        """Kill all servers and remove the directory; return when that is done."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(STOP_SECONDS)
        self._process.stdout.close()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the keeper of the servers has ended; its error is above")
        return json.loads(line)


def _unprivileged_user() -> str:
    """Return the user for servers where this process is root, or "" where it is not."""
    if os.geteuid() != 0:
        return ""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def tail(log: Path, lines: int = 30) -> str:
    """Return the last lines of a log, for the message of a failure."""
    if not log.exists():
        return f"{log} does not exist"
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:])


class Postgres:
    """One PostgreSQL server. `settings` are those of postgresql.conf.

    Without `fsync` commits do not wait for the disk: a killed server keeps them all the same.
    """

    def __init__(
        self, keeper: Keeper, *, fsync: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        self.port = find_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.data = keeper.directory / f"postgres-{self.port}"
        self.log = keeper.directory / f"postgres-{self.port}.log"
        self._keeper = keeper
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "on" if fsync else "off",
            # In the data directory, so that a killed server leaves nothing in /dev/shm.
            "dynamic_shared_memory_type": "mmap",
            **(settings or {}),
        }
        initdb = find_program("initdb", "postgresql")
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"]
        keeper.run([initdb, *options, "--no-sync", f"--pgdata={self.data}"])
        self.process = self._start()

    def start(self) -> None:
        """Start the server if it does not run; return when it takes connections."""
        if not self.process.is_running():
            self.process = self._start()

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: "smart", "fast" or "immediate", as pg_ctl names them, or "kill".

        Return when all its processes are gone. "smart" waits for clients to disconnect.
        """
        if self.process.is_running():
            processes = [self.process, *self.process.children(recursive=True)]
            self.process.send_signal(STOP_SIGNALS[mode])
            _, alive = psutil.wait_procs(processes, STOP_SECONDS)
            if alive:
                raise TimeoutError(f"PostgreSQL does not stop:\n{tail(self.log)}")

    def restart(self, mode: str = "fast") -> None:
        """Stop the server and start it again, on the same port and with the same data."""
        self.stop(mode)
        self.start()

    def psql(self, sql: str) -> list[tuple[Any, ...]]:
        """Run statements as the superuser, in one transaction; return the rows of the last one."""
        return run_sql(self.url, sql)

    def _start(self) -> psutil.Process:
        settings = [f"-c{name}={value}" for name, value in self._settings.items()]
        command = [find_program("postgres", "postgresql"), "-D", str(self.data), *settings]
        process = self._keeper.start(command, self.log)

        def ready() -> bool:
            if not process.is_running():
                raise RuntimeError(f"PostgreSQL has ended:\n{tail(self.log)}")
            return answers(self.url)

        wait_until(ready, START_SECONDS, lambda: f"PostgreSQL does not start:\n{tail(self.log)}")
        return process


def answers(url: str) -> bool:
    """Return whether a server takes connections and answers a query."""
    try:
        run_sql(url, "SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def run_sql(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Run statements on a new connection, in one transaction; return the rows of the last one."""
    # A lock that a test has forgotten fails the statement instead of stopping the tests.
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        connection.execute("SET lock_timeout = '10s'")
        cursor = connection.execute(sql.encode())
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []
