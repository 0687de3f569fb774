"""Owners come and go while a page is open: it follows them, says so, and takes nobody's place."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import kvengine
from kvengine.errors import DatabaseLocked
from kvengine.ui.serve import CannotServe, Site
from tests.ui.site import Client

OPTIONS: dict[str, Any] = {"durability": "os", "background": "thread"}


def read_until(client: Client, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Poll, as the page does, until it is told so."""
    until = time.monotonic() + 20
    while True:
        found: dict[str, Any] = client.read("pulse")
        if what(found):
            return found
        assert time.monotonic() < until, found
        time.sleep(0.05)


def values(client: Client) -> list[str]:
    return [e["text"] for e in client.read("object", service="s", key="k")["entries"]]


def test_a_page_follows_an_owner_that_ends_and_the_next_one(tmp_path: Path) -> None:
    """Through its socket while it lives, then by the files, then through the next owner.

    With --write too the page leaves the directory to whoever opens it next.
    """
    path = tmp_path / "state"
    owner = kvengine.open(path, **OPTIONS)
    owner.set("s", "k", "v", b"1")
    with Site(str(path), write=True) as site:
        site.start()
        with Client(site) as client:
            first = client.read("pulse")
            assert (first["mode"], first["writable"]) == ("live", True)
            owner.set("s", "k", "v", b"2")
            owner.close()
            alone = read_until(client, lambda found: found["mode"] == "files")
            assert alone["writable"] is False and values(client) == ["2"]
            change = {"verb": "clear_object"}
            assert client.edit("s", "k", "0", change, force=True).status_code == 503
            with kvengine.open(path, **OPTIONS) as second:
                second.set("s", "k", "v", b"3")
                found = read_until(client, lambda found: found["mode"] == "live")
                assert found["writable"] is True and values(client) == ["3"]
                assert client.edit("s", "k", "0", change, force=True).status_code == 200
                assert second.load("s", "k") is None


def test_a_page_beside_an_owner_without_a_socket_reads_and_follows(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with kvengine.open(path, live_access=False, **OPTIONS) as owner:
        owner.set("s", "k", "v", b"1")
        with Site(str(path)) as site:
            site.start()
            with Client(site) as client:
                assert client.read("pulse")["mode"] == "files" and values(client) == ["1"]
                owner.set("s", "k", "v", b"2")
                until = time.monotonic() + 20
                while values(client) != ["2"]:
                    assert time.monotonic() < until
                    time.sleep(0.05)
        with pytest.raises(DatabaseLocked):
            Site(str(path), write=True)


def test_a_page_that_may_write_owns_what_nobody_owns(tmp_path: Path) -> None:
    """As long as it runs a second owner is refused; when it ends all is there."""
    path = tmp_path / "state"
    kvengine.open(path).close()
    with Site(str(path), write=True) as site:
        site.start()
        with Client(site) as client:
            assert client.read("pulse")["mode"] == "own"
            change = {"verb": "set", "state_key": "v", "entry": {"text": "1"}}
            assert client.edit("s", "k", "0", change).status_code == 200
            with pytest.raises(DatabaseLocked):
                kvengine.open(path)
    with kvengine.open(path) as db:
        assert db.get("s", "k", "v") == b"1"


def test_a_read_only_page_leaves_the_directory_alone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with kvengine.open(path) as db:
        db.set("s", "k", "v", b"1")
    before = {one.name: one.read_bytes() for one in path.iterdir()}
    with Site(str(path)) as site:
        site.start()
        with Client(site) as client:
            assert values(client) == ["1"]
            client.read("storage")
    assert {one.name: one.read_bytes() for one in path.iterdir()} == before


RUN = "import sys; from kvengine.ui.serve import Site, serve; serve(Site(sys.argv[1], write=True))"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_says_where_it_is_and_ends_by_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    """One link with a code, the audit on standard error, and a clean end: nothing is lost."""
    path = tmp_path / "state"
    kvengine.open(path).close()
    command = [sys.executable, "-u", "-c", RUN, str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = iter(process.stdout.readline, "")
        link = next(filter(None, (re.search(r"(http://\S+)/#launch=(\S+)", x) for x in lines)))
        with httpx.Client(base_url=link[1], headers={"Origin": link[1]}) as client:
            csrf = client.post("/api/launch", json={"code": link[2]}).json()["csrf"]
            client.headers["X-KVEngine-CSRF"] = csrf
            change = {"verb": "set", "state_key": "v", "entry": {"text": "1"}}
            body = {"service": "s", "key": "k", "version": "0", "changes": [change]}
            assert client.post("/api/edit", json=body).status_code == 200
            process.send_signal(number)
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert 'set "v" to 1 bytes: applied' in errors and link[2] not in errors
    with kvengine.open(path) as db:
        assert db.get("s", "k", "v") == b"1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org", "224.0.0.1", ""])
def test_it_is_served_at_one_address_alone(tmp_path: Path, host: str) -> None:
    """Otherwise the Host check would have to let any name through."""
    kvengine.open(tmp_path / "state").close()
    with pytest.raises(ValueError, match="host must be"):
        Site(str(tmp_path / "state"), host=host)


def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    kvengine.open(tmp_path / "state").close()
    with Site(str(tmp_path / "state")) as site, pytest.raises(CannotServe, match="is in use"):
        Site(str(tmp_path / "state"), port=site.port)


def test_answers_do_not_wait_for_acknowledgements(tmp_path: Path) -> None:
    """Each answer was 44 ms late: asyncio leaves Nagle's algorithm on for sockets whose protocol
    is not stated, and a browser acknowledges the headers only when nothing else is to be sent."""
    kvengine.open(tmp_path / "state").close()
    with Site(str(tmp_path / "state")) as site:
        site.start()
        with Client(site) as client:
            client.read("pulse")
            (connection,) = site._server.server_state.connections
            found = connection.transport.get_extra_info("socket")
            assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
