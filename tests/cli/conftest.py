"""A database of a few objects, and the command line run in this process."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

import kvengine
from kvengine.cli.__main__ import main


class Told(NamedTuple):
    """What a command printed, and its code."""

    code: int
    out: str
    err: str


Run = Callable[..., Told]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database, which $KVENGINE_DB names."""
    path = tmp_path / "db"
    with kvengine.open(path, background="none") as db:
        db.object("Greeter", "alice").set("name", "Alice")
        db.object("Greeter", "alice").set("count", 3)
        db.object("Greeter", "bob").set("name", "Bob")
    monkeypatch.setenv("KVENGINE_DB", str(path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line as the console script runs it, but for the process.

    ``full``: what it prints goes to a disk that is full.
    """

    def called(*words: str, stdin: bytes = b"", full: bool = False) -> Told:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
        lost = open("/dev/full", "w") if full else None  # noqa: SIM115
        monkeypatch.setattr(sys, "argv", ["kvengine", *words])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        with (
            redirect_stdout(lost or out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        if lost is not None:
            lost.close()
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
        return Told(ended.value.code or 0, *texts)  # type: ignore[arg-type]

    return called
