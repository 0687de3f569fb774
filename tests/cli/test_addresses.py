"""PostgreSQL URLs on the command line, as far as no server is needed: what they are refused for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kvengine.cli.exits import UNAVAILABLE, USAGE
from kvengine.passwords import without_passwords
from tests.cli.conftest import Run

URL = "postgresql://user:secret@127.0.0.1:1/db?sslpassword=secret"

FOR_DIRECTORIES = (
    f"-d {URL} backup there",
    f"-d {URL} checkpoint there",
    f"-d {URL} compact",
    f"-d {URL} levels",
    f"-d {URL} repair there",
    f"-d {URL} verify",
    f"verify {URL}",
    f"restore there {URL}",
    f"dump segment {URL}",
)


@pytest.mark.parametrize("line", FOR_DIRECTORIES)
def test_commands_about_files_name_what_a_server_has_instead(run: Run, line: str) -> None:
    """What is about files of a directory says so in a sentence, and asks no server."""
    told = run(*line.split())
    (sentence,) = told.err.splitlines()
    assert told.code == USAGE
    assert " is for directories; of a PostgreSQL database " in sentence


@pytest.mark.parametrize(
    "line",
    [
        f"ls -d {URL}&kv_nonsense=1",
        f"ui -d {URL}&kv_nonsense=1",
        f"ls -d {URL} a b c",
        f"ls {URL} a b",
        f"stats {URL}",
        f"stats --{URL}",
        f"{URL} ls",
        f"verify {URL}",
        f"stats --db {URL} --json",
        f"-d {URL.replace('secret@', 'se:cr@et@')} stats",
    ],
)
def test_no_password_is_shown(run: Run, line: str) -> None:
    """A command that fails shows the URL it was given without passwords, wherever that stands."""
    told = run(*line.split())
    assert told.code in (USAGE, UNAVAILABLE)
    assert "secret" not in told.out + told.err and "cr@et" not in told.err
    assert "***" in told.err or "://" not in told.err


def test_what_stands_around_a_password_is_left() -> None:
    said = "postgresql://u:p@h/db?password=p&x=1: cannot connect ('postgres://:p@h?password=p')"
    assert without_passwords(said) == (
        "postgresql://u:***@h/db?password=***&x=1: cannot connect"
        " ('postgres://:***@h?password=***')"
    )
    for plain in ("postgresql://u@h:5432/db?kv_schema=x", "a: b@c", "password=hidden is a value"):
        assert without_passwords(plain) == plain


def test_the_extra_is_asked_for_where_a_url_is_given() -> None:
    """Without psycopg a URL is answered by what to install, with code 4."""
    script = (
        "import sys; sys.modules['psycopg'] = None; from kvengine.cli.__main__ import main;"
        f"sys.argv = ['kvengine', '-d', {URL!r}, 'ls']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (UNAVAILABLE, "")
    assert done.stderr.splitlines()[0].endswith("pip install 'kvengine[postgres]'")
