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
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import psutil
import psycopg
import pytest

from tests.postgres import keeper

START_SECONDS = 60.0
STOP_SECONDS = 60.0
# Below the ports that the system gives to clients: none of those takes the port of a server that
# is down for a moment, or connects to itself there.
PORTS = range(20_000, 32_000)

SUPERUSER = "postgres"
# Of every PostgreSQL here: no sockets in the file system, and no shared memory in /dev/shm that a
# killed server would leave behind.
SETTINGS = {"unix_socket_directories": "", "dynamic_shared_memory_type": "mmap"}


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


class Server(ABC):
    """A server of the tests: one process with its children, on `port` of 127.0.0.1."""

    title: ClassVar[str]
    signals: ClassVar[Mapping[str, int]] = {"fast": signal.SIGTERM, "kill": signal.SIGKILL}

    def __init__(self, keeper: Keeper) -> None:
        self.port = find_port()
        self.log = keeper.directory / f"{self.title}-{self.port}.log"
        self._keeper = keeper
        self._process: psutil.Process | None = None

    @property
    def process(self) -> psutil.Process:
        """Return the process that was started last; it may have ended."""
        if self._process is None:
            raise RuntimeError(f"{self.title} was never started")
        return self._process

    @property
    def running(self) -> bool:
        """Return whether the process runs."""
        return self._process is not None and self._process.is_running()

    def start(self) -> None:
        """Start the server if it does not run; return when it is ready."""
        if not self.running:
            try:
                self._process = self._launch()
            except psutil.NoSuchProcess:
                raise RuntimeError(self.failure("has ended at once")) from None
            wait_until(self._ready, START_SECONDS, lambda: self.failure("is not ready"))

    def stop(self, mode: str = "fast") -> None:
        """Stop the server in one of the ways of `signals`; return when its processes are gone."""
        if self.running:
            processes = [self.process, *self.process.children(recursive=True)]
            self.process.send_signal(self.signals[mode])
            _, alive = psutil.wait_procs(processes, STOP_SECONDS)
            if alive:
                raise TimeoutError(self.failure("does not stop"))

    def restart(self, mode: str = "fast") -> None:
        """Stop the server and start it again, on the same port and with the same data."""
        self.stop(mode)
        self.start()

    @abstractmethod
    def _launch(self) -> psutil.Process:
        """Start the process."""

    @abstractmethod
    def _answers(self) -> bool:
        """Return whether the server does what it is for."""

    def _ready(self) -> bool:
        if not self.running:
            raise RuntimeError(self.failure("has ended"))
        return self._answers()

    def failure(self, what: str) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.exists() else []
        return "\n".join([f"{self.title} {what}:", *lines[-30:]])


class Postgres(Server):
    """One PostgreSQL server. `settings` are those of postgresql.conf.

    Without `fsync` commits do not wait for the disk: a killed server keeps them all the same.
    It stops in the ways of pg_ctl, "smart" (when its clients are gone), "fast" and "immediate", or
    by "kill".
    """

    title = "postgres"
    signals = {
        "smart": signal.SIGTERM,
        "fast": signal.SIGINT,
        "immediate": signal.SIGQUIT,
        "kill": signal.SIGKILL,
    }

    def __init__(
        self, keeper: Keeper, *, fsync: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(keeper)
        self.url = f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/postgres"
        self._data = keeper.directory / f"postgres-{self.port}"
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "fsync": "on" if fsync else "off",
            **SETTINGS,
            **(settings or {}),
        }
        initdb = find_program("initdb", "postgresql")
        options = [f"--username={SUPERUSER}", "--auth=trust", "--encoding=UTF8", "--no-locale"]
        keeper.run([initdb, *options, "--no-sync", f"--pgdata={self._data}"])
        self.start()

    def psql(self, sql: str) -> list[tuple[Any, ...]]:
        """Run statements as the superuser, in one transaction; return the rows of the last one."""
        return run_sql(self.url, sql)

    def _launch(self) -> psutil.Process:
        settings = [f"-c{name}={value}" for name, value in self._settings.items()]
        command = [find_program("postgres", "postgresql"), "-D", str(self._data), *settings]
        return self._keeper.start(command, self.log)

    def _answers(self) -> bool:
        return answers(self.url)


class PgBouncer(Server):
    """A pgbouncer in front of a server: a client has a connection for the time of a transaction."""

    title = "pgbouncer"

    def __init__(self, keeper: Keeper, postgres: Postgres) -> None:
        super().__init__(keeper)
        self.url = f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/postgres"
        users = keeper.directory / f"pgbouncer-{self.port}.users"
        users.write_text(f'"{SUPERUSER}" ""\n')
        self._settings = keeper.directory / f"pgbouncer-{self.port}.ini"
        self._settings.write_text(
            f"""
            [databases]
            * = host=127.0.0.1 port={postgres.port}

            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = trust
            auth_file = {users}
            pool_mode = transaction
            max_client_conn = 200
            default_pool_size = 10
            """
        )
        self.start()

    def _launch(self) -> psutil.Process:
        command = [find_program("pgbouncer", "pgbouncer"), str(self._settings)]
        return self._keeper.start(command, self.log)

    def _answers(self) -> bool:
        return answers(self.url)


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
