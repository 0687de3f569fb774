"""Real web servers with several workers on one directory: what they count adds up.

Requests go on while the server restarts its workers, the owner of the directory among them. A
client whose request got no answer sends it again with the same id. ``KVENGINE_REQUESTS`` makes it
more than 2,000 requests.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import kvengine
from tests.share.webapps import COUNTERS

ROOT = Path(__file__).resolve().parents[2]
REQUESTS = int(os.environ.get("KVENGINE_REQUESTS", "2000"))
CLIENTS = 8

GUNICORN = [
    "-m",
    "gunicorn",
    "-w",
    "4",
    "-k",
    "gthread",
    "--threads",
    "2",
    "--graceful-timeout",
    "5",
]
SERVERS = {
    "uvicorn": ["-m", "uvicorn", "tests.share.webapps:asgi", "--workers", "4", "--lifespan", "on"],
    "gunicorn": [*GUNICORN, "tests.share.webapps:wsgi()"],
    "gunicorn --preload": [*GUNICORN, "--preload", "tests.share.webapps:wsgi()"],
}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def served(server: str, path: Path, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a web server; give its first process and its port."""
    port = free_port()
    words = [sys.executable, *SERVERS[server]]
    words += ["--port", str(port)] if server == "uvicorn" else ["-b", f"127.0.0.1:{port}"]
    with log.open("wb") as told:
        process = subprocess.Popen(
            words,
            cwd=ROOT,
            env={**os.environ, "COUNTERS": str(path)},
            stdout=told,
            stderr=told,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 60
        while ask(port, "") is None:
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ask(port: int, name: str) -> str | None:
    """Send one request, and return who answered, None if nobody did."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST" if name else "GET", f"/{name}")
        response = connection.getresponse()
        body = response.read().decode()
        return body if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
def test_increments_over_several_workers_add_up(server: str, tmp_path: Path) -> None:
    """Each of the requests counts once, through a rolling restart in the midst of them."""
    log = tmp_path / "log"
    answered: set[str] = set()
    with served(server, tmp_path / "db", log) as (process, port):

        def send(first: int) -> None:
            for number in range(first, REQUESTS, CLIENTS):
                end = time.monotonic() + 60
                while (who := ask(port, str(number))) is None:
                    assert time.monotonic() < end, "nobody answers"
                answered.add(who)

        threads = [threading.Thread(target=send, args=(n,), daemon=True) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGHUP)
        for thread in threads:
            thread.join(240)
            assert not thread.is_alive(), log.read_text()[-3000:]
    with kvengine.open(tmp_path / "db", create=False) as db:
        counted = [db.object("Counter", str(number)).get("n", 0) for number in range(COUNTERS)]
    assert sum(counted) == REQUESTS, log.read_text()[-3000:]
    assert len(answered) > 4, "the workers were restarted, and all of them answered"
