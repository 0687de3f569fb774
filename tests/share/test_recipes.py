"""docs/processes.md runs: its examples, and its recipes against the real servers.

A block of Python that begins with a name is a file. The other blocks of Python run as those of
docs/state.md do. A line of a ``sh`` block is started as it stands, as a module of this Python and
on a free port, in a folder that holds the files; ``kvengine serve`` beside it.
"""

from __future__ import annotations

import configparser
import http.client
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import kvengine
from tests.docs.examples import Block, Remarks, programs
from tests.docs.test_state_guide import module, remarks  # noqa: F401 - fixtures
from tests.share.test_web_servers import free_port

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "processes.md"
TEXT = GUIDE.read_text("utf-8")
VISITS, CLIENTS = 80, 4

_PART = re.compile(r"^##+ ([^\n]*)$|^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# ([\w.]+\.(?:py|service))\n")


class Fenced(NamedTuple):
    """A fenced block: under which heading, of which kind, what it holds, and as which file."""

    heading: str
    kind: str
    code: str
    file: str


def fenced(text: str) -> Iterator[Fenced]:
    heading = ""
    for part in _PART.finditer(text):
        if part[1] is not None:
            heading = part[1]
            continue
        named = _NAMED.match(part[3])
        yield Fenced(heading, part[2], part[3], named[1] if named else "")


BLOCKS = list(fenced(TEXT))
FILES = {block.file: block.code for block in BLOCKS if block.file}
COMMANDS = [block.code for block in BLOCKS if block.kind == "sh"]
WEB = [code for code in COMMANDS if "uvicorn" in code or "gunicorn" in code]
EXAMPLES = {
    heading or "beginning": blocks
    for heading, found in programs(TEXT).items()
    if (blocks := [block for block in found if not _NAMED.match(block.code)])
}


def test_every_block_is_of_a_kind_that_runs() -> None:
    """A block of another kind would be shown and never tried."""
    assert {block.kind for block in BLOCKS} == {"python", "sh", "ini"}
    rest = [code for code in COMMANDS if code not in WEB]
    assert [shlex.split(code)[0] for code in rest] == ["celery", "pytest"]
    assert len(WEB) == 4
    assert [block.file for block in BLOCKS if block.kind == "ini"] == ["kvengine.service"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(remarks: Remarks, name: str) -> None:  # noqa: F811
    """Every example gives the values that it shows, and raises what it says it raises."""
    blocks: list[Block] = EXAMPLES[name]
    remarks.run(GUIDE, blocks)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of the guide."""
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)
    (tmp_path / "queue").mkdir()
    return tmp_path


@contextmanager
def started(folder: Path, command: str, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of the guide until the block ends, then end it by SIGTERM."""
    words = [sys.executable, "-m", *shlex.split(command), *more]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *_inherited()])},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _inherited() -> list[str]:
    return [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]


def needs(*modules: str) -> None:
    """Skip, loudly, if one of them is not installed."""
    for name in modules:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")


def visit(port: int) -> Any:
    """Visit once; return the answer, None if nobody answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/visits/ada")
        response = connection.getresponse()
        return json.loads(response.read()) if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("code", WEB, ids=lambda code: code.splitlines()[-1])
def test_a_web_server(folder: Path, code: str) -> None:
    """Each visit gets a number of its own, whichever worker answers, and none is left out."""
    beside, last = code.splitlines()[:-1], code.splitlines()[-1]
    needs(last.split()[0], next(name for name in ("flask", "django", "fastapi") if name in code))
    port = free_port()
    where = ("--port", str(port)) if "uvicorn" in last else ("-b", f"127.0.0.1:{port}")
    numbers: list[int] = []
    with ExitStack() as running:
        for command in beside:
            running.enter_context(started(folder, command.removesuffix(" &")))
            with kvengine.connect(folder / "state") as db:  # it is there first
                owner = db.owner_pid
        server = running.enter_context(started(folder, last, *where))
        until = time.monotonic() + 60
        while (first := visit(port)) is None:
            assert server.poll() is None and time.monotonic() < until, said(folder)
            time.sleep(0.05)
        numbers.append(first["visits"])

        def visits() -> None:
            for _ in range(VISITS // CLIENTS):
                numbers.append(visit(port)["visits"])

        threads = [threading.Thread(target=visits) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        with kvengine.connect(folder / "state") as db:
            now = db.owner_pid
        if beside:
            assert now == owner, "kvengine serve owns the directory"
        assert (now == server.pid) == ("--preload" in last), "a worker owns it, or the master"
    assert sorted(numbers) == list(range(1, VISITS + 2)), said(folder)
    with kvengine.open(folder / "state", create=False, lock_timeout=30) as db:
        assert db.object("Visitor", "ada").get("visits") == VISITS + 1


@pytest.mark.slow
def test_celery(folder: Path) -> None:
    """Each task counts once, whichever process of the pool runs it."""
    needs("celery")
    (command,) = (code for code in COMMANDS if code.startswith("celery"))
    (folder / "send.py").write_text("import tasks\nfor _ in range(20): tasks.visit.delay('ada')\n")
    with started(folder, command) as worker, kvengine.connect(folder / "state") as db:
        assert db.owner_pid == worker.pid
        with started(folder, "send") as sender:
            assert sender.wait(60) == 0, said(folder)
        until = time.monotonic() + 60
        while (found := db.object("Visitor", "ada").get("visits", 0)) < 20:
            assert worker.poll() is None and time.monotonic() < until, said(folder)
            time.sleep(0.05)
        assert found == 20


@pytest.mark.slow
def test_pytest_xdist(folder: Path) -> None:
    """The tests of the guide pass, in two processes."""
    (command,) = (code for code in COMMANDS if code.startswith("pytest"))
    with started(folder, command, "-p", "no:cacheprovider", "--rootdir", str(folder)) as tests:
        assert tests.wait(60) == 0, said(folder)
    assert "2 passed" in said(folder)


def test_systemd(folder: Path) -> None:
    """What the unit starts owns the directory, and SIGTERM closes it."""
    unit = configparser.ConfigParser()
    unit.read(folder / "kvengine.service")
    command = unit["Service"]["ExecStart"].removeprefix("/usr/bin/env ")
    assert command != unit["Service"]["ExecStart"] and unit["Service"]["Restart"] == "always"
    place = folder / "shop"
    with started(folder, command.replace("/var/lib/shop/state", str(place))) as service:
        with kvengine.connect(place) as db:
            assert db.owner_pid == service.pid
            db.set("s", "k", "n", b"1")
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0, said(folder)
    with kvengine.open(place, create=False) as db:
        assert db.get("s", "k", "n") == b"1"


def said(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")[-3000:]


def test_the_tests_that_the_promises_name_exist() -> None:
    """Each promise has its row, and each test in it is there."""
    table = TEXT.split("## Promises")[1]
    rows = re.findall(r"^\| (P\d+) \|.*\|([^|]*)\|$", table, re.MULTILINE)
    assert [name for name, _ in rows] == [f"P{number}" for number in range(1, 11)]
    for _, shown in rows:
        named = re.findall(r"`([\w/.]+)(?:::(\w+))?`", shown)
        assert named
        for path, test in named:
            assert f"def {test}" in (ROOT / path).read_text("utf-8")
