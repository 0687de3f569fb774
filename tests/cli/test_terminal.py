"""The console script on a terminal, and without one: a pseudo-terminal of 80 columns."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import kvengine
from kvengine.cli.output import cells

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(sys.executable).parent / "kvengine"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the console script is not installed")

_STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A command of the console script on a pseudo-terminal."""

    def __init__(self, *words: str, columns: int = 80, **environment: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        given = {
            "PYTHONPATH": str(ROOT),
            "PATH": os.environ["PATH"],
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
        }
        self._process = subprocess.Popen(
            [str(SCRIPT), *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=given | environment,
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""

    def until(self, expected: str, seconds: float = 20) -> None:
        """Read until ``expected`` has been printed."""
        end = time.monotonic() + seconds
        while expected not in self.text and self._read(end):
            pass
        assert expected in self.text, self.text

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Like Ctrl-C; again if need be, for one that meets a finalizer is lost."""
        for _ in range(20):
            self._process.send_signal(signal.SIGINT)
            end = time.monotonic() + 1
            while self._process.poll() is None and time.monotonic() < end:
                self._read(time.monotonic() + 0.05)
            if self._process.poll() is not None:
                return

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read(time.monotonic() + 20):
            pass
        return self._process.wait(10)

    @property
    def plain(self) -> str:
        """What was printed without colours and movements, as lines."""
        return _STYLE.sub("", self.text).replace("\r\n", "\n")

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0, end - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side has closed
            return False
        self.text += data.decode()
        return bool(data)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "db"
    with kvengine.open(path, background="none") as made:
        made.object("Greeter", "alice").set("name", "Alice")
        made.object("Greeter", "alice").set("count", 3)
        for i in range(200):
            made.set("Wide", "w" * 60 + f"{i:04}", "n", b"1")
    return path


@pytest.fixture
def start(db: Path, tmp_path: Path) -> Iterator[object]:
    made: list[Terminal] = []

    def begun(*words: str, **environment: str) -> Terminal:
        made.append(Terminal("--db", str(db), *words, HOME=str(tmp_path), **environment))
        return made[-1]

    yield begun
    for one in made:
        one.close()


def test_an_edit_asks_and_a_no_writes_nothing(start, db: Path) -> None:  # type: ignore[no-untyped-def]
    """The change is shown in colour, the answer decides; the default is no."""
    for answer, code, count in (("n\n", 7, b"3"), ("\n", 7, b"3"), ("y\n", 0, b"4")):
        terminal = start("kv", "set", "Greeter", "alice", "count", "4")
        terminal.until("[y/N]")
        terminal.type(answer)
        assert terminal.end() == code
        assert "\x1b[3" in terminal.text, "no colour on a terminal"
        assert '- "count" 3\n+ "count" 4\n' in terminal.plain
        with kvengine.open(db, read_only=True) as made:
            assert made.get("Greeter", "alice", "count") == count


def test_an_interrupt_at_the_question_writes_nothing(start, db: Path) -> None:  # type: ignore[no-untyped-def]
    terminal = start("kv", "clear", "Greeter/alice")
    terminal.until("[y/N]")
    terminal.interrupt()
    assert terminal.end() == 130 and "Traceback" not in terminal.text
    with kvengine.open(db, read_only=True) as made:
        assert made.version("Greeter", "alice")


def test_watch_ends_by_an_interrupt_without_a_traceback(start) -> None:  # type: ignore[no-untyped-def]
    terminal = start("kv", "watch", "Greeter", "alice", "--interval", "50ms")
    terminal.until('"count"')
    terminal.interrupt()
    assert terminal.end() == 130 and "Traceback" not in terminal.text


def test_bad_text_from_the_editor_may_be_edited_again(  # type: ignore[no-untyped-def]
    start, db: Path, tmp_path: Path
) -> None:
    """The editor opens again on the text as it was left, and mends it."""
    (tmp_path / "editor.py").write_text(
        "import sys, pathlib\npath = pathlib.Path(sys.argv[-1])\ntext = path.read_text()\n"
        "path.write_text(text.replace('BROKEN', '4') if 'BROKEN' in text"
        " else text.replace('3', 'BROKEN'))\n"
    )
    terminal = start(
        "kv", "edit", "Greeter", "alice", EDITOR=f"{sys.executable} {tmp_path}/editor.py"
    )
    terminal.until("Edit again? [Y/n]")
    terminal.type("\n")
    terminal.until("[y/N]")
    terminal.type("y\n")
    assert terminal.end() == 0
    with kvengine.open(db, read_only=True) as made:
        assert made.get("Greeter", "alice", "count") == b"4"


@pytest.mark.parametrize(
    "words",
    [
        ["services"],
        ["objects", "Wide", "--limit", "3"],
        ["stats"],
        ["levels", "--long"],
        ["kv", "get", "Greeter", "alice"],
        ["--help"],
        ["kv", "--help"],
        ["verify"],
    ],
)
def test_eighty_columns_are_enough(start, words: list[str]) -> None:  # type: ignore[no-untyped-def]
    """No line of text is wider than the terminal, names longer than it apart."""
    terminal = start(*words)
    assert terminal.end() == 0
    for line in terminal.plain.splitlines():
        assert len(line) <= 80 or "w" * 60 in line, line


@pytest.mark.parametrize("columns", [40, 80, 132, 200])
def test_values_are_cut_to_the_width_of_the_terminal(start, db: Path, columns: int) -> None:  # type: ignore[no-untyped-def]
    """A wide terminal shows more of a value, a narrow one wraps no line; $COLUMNS counts too.

    Values were cut to 54 characters on every terminal, and those of an East Asian script, which
    take two columns a character, wrapped all the same.
    """
    with kvengine.open(db, background="none") as made:
        made.set("S", "k", "json", b'"' + b"x" * 500 + b'"')
        made.set("S", "k", "text", "\u6f22".encode() * 300)
        made.set("S", "k", "escaped", b"\x1b" * 500)
        made.set("S", "k", "bytes", b"\xff" * 500)
        made.set("S", "k", "ends", b'"' + b"1" * 400 + b'"', ttl=1000)
    for words in (["kv", "get", "S/k"], ["scan", "S"], ["kv", "clear", "S/k", "-n"]):
        terminal = start(*words, columns=columns)
        assert terminal.end() == 0
        lines = [line for line in terminal.plain.splitlines() if "\u2026" in line]
        assert len(lines) == 5 and all("bytes)" in line for line in lines)
        widths = [cells(line) for line in lines if "expires" not in line]
        assert columns - 1 <= max(widths) and min(widths) >= columns - 2, (words, lines)
        assert columns < 80 or all(cells(line) <= columns for line in lines), lines
    piped = run(db, "kv", "get", "S/k", COLUMNS=str(columns))
    assert max(map(cells, piped.stdout.splitlines())) <= max(columns, 80)
    assert "x" * 500 in run(db, "kv", "get", "S/k", "--full").stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("kvengine objects G", ["Greeter"]),
        ("kvengine kv get ", ["Greeter", "S%2F1", "Wide"]),
        ("kvengine kv get Gr", ["Greeter", "Greeter/alice"]),
        ("kvengine kv get Greeter/al", ["Greeter/alice"]),
        ("kvengine get Greeter/alice/c", ["Greeter/alice/count"]),
        ("kvengine rm Greeter al", ["alice"]),
        ("kvengine kv set Greeter alice c", ["count"]),
        ("kvengine kv get S%2F1/", ["S%2F1/a%20b"]),
        ("kvengine find --service W", ["Wide"]),
        ("kvengine --db /nowhere kv get Gr", []),
        ("kvengine --db /nowhere kv get Greeter/alice/", []),
    ],
)
def test_names_are_completed(db: Path, line: str, offered: list[str]) -> None:
    """A tab after `kv get Gr`; with no database, or one that cannot be read, nothing happens."""
    with kvengine.open(db, background="none") as made:
        made.set("S/1", "a b", "n", b"1")
    words = line.split(" ")
    done = run(
        db,
        _KVENGINE_COMPLETE="bash_complete",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) - 1),
        KVENGINE_DB=str(db),
    )
    found = [one.removeprefix("plain,") for one in done.stdout.split()]
    assert (found, done.stderr) == (offered, "")


def test_a_progress_bar_shows_on_a_terminal_alone(start, db: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """On a terminal it moves and goes; piped, nothing but the result is printed."""
    with kvengine.open(db, background="none") as made, made.batch() as batch:
        for i in range(5000):
            batch.set("Many", f"{i}", "n", b"x" * 50)
    terminal = start("find", "--contains", "y")
    assert terminal.end() == 1
    assert "searching" in terminal.plain
    done = run(db, "find", "--contains", "y")
    assert done.stdout == "" and done.stderr == "kvengine: nothing found\n"


def run(db: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {
        "PYTHONPATH": str(ROOT),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
    }
    return subprocess.run(
        [str(SCRIPT), "--db", str(db), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=given | environment,
        timeout=60,
        check=False,
    )


def test_piped_there_is_no_colour(db: Path) -> None:
    for words in (
        ["services"],
        ["kv", "get", "Greeter", "alice"],
        ["kv", "set", "Greeter", "alice", "count", "5"],
        ["verify"],
        ["stats"],
    ):
        done = run(db, *words)
        assert done.returncode == 0
        assert "\x1b" not in done.stdout + done.stderr


def test_no_color_is_heeded_on_a_terminal(start) -> None:  # type: ignore[no-untyped-def]
    terminal = start("kv", "get", "Greeter", "alice", NO_COLOR="1")
    assert terminal.end() == 0 and "\x1b[" not in terminal.text


def test_a_reader_that_has_seen_enough_ends_it_quietly(db: Path) -> None:
    """A closed pipe is no error: `kvengine scan | head`."""
    given = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{SCRIPT}' --db '{db}' scan Wide | head -n 1"],
        capture_output=True,
        text=True,
        env=given,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_utf8_locale_nothing_fails(db: Path) -> None:
    """Names beyond ASCII come out all the same: as they are, or escaped."""
    with kvengine.open(db, background="none") as made:
        made.set("Grüße", "é", "n", b'"\xc3\xa9"')
    done = run(db, "scan", LANG="C", LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "Gr\\xfc\\xdfe" in done.stdout or "Grüße" in done.stdout


def test_the_completion_script_completes_commands(db: Path) -> None:
    done = run(db, _KVENGINE_COMPLETE="bash_complete", COMP_WORDS="kvengine kv e", COMP_CWORD="2")
    assert done.stdout.split() == ["plain,edit", "plain,expire"]


def test_the_module_is_the_script(db: Path) -> None:
    """`python -m kvengine.cli` is the same, where scripts are not on the path."""
    done = subprocess.run(
        [sys.executable, "-m", "kvengine.cli", "--db", str(db), "services", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert [json.loads(line)["service"] for line in done.stdout.splitlines()] == ["Greeter", "Wide"]


def test_it_starts_in_a_blink(db: Path) -> None:
    """A command in a pipe imports little: what is only for terminals, pages and loops stays out.

    A time of a process says more about what else the machine is doing.
    """
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kvengine", "--db", str(db), "services"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"rich", "asyncio", "ssl", "starlette", "uvicorn", "jsonpath", "pydantic"}
    assert 100 < len(imported) < 450, len(imported)
