"""docs/cli.md as a session: each console block is run, and prints what the document says.

    python -m tests.cli.golden --update     writes what it prints into the document

A block is commands, each after "$ ", and what they print; "[exit N]" where a command does not
end with 0. All run one after the other, in a directory that holds the database `shop`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.cli import shop

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "cli.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)

_VARYING = [
    (re.compile(r"\b1[78]\d{14}\b"), "<stamp>"),
    (re.compile(r"\b1[78]\d{8}\.\d+\b"), "<time>"),
    (re.compile(r"20[23]\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"), "<time>"),
    (re.compile(r"(?<=/replaced/)\S+(?=\.json)"), "<time>"),
    (re.compile(r"0x[0-9a-f]{15,16}\b"), "<identity>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<database>"),
    (re.compile(r"(?<=in )\d+\.\d s"), "<seconds>"),
    (re.compile(r'(?<="seconds":)[\d.e-]+'), "<seconds>"),
    (re.compile(r"(?<=bytes_on_disk) +[\d,]+ B"), "<bytes>"),
    (re.compile(r"(?<=: )\d+ files?, [\d,]+ B"), "<files>"),
    (re.compile(r"(?<=copied )\d+ files?, [\d,]+ B"), "<files>"),
    (re.compile(r"^( +\d+  <time> +)\d+ +[\d,]+ B", re.MULTILINE), r"\1<files>"),
    (re.compile(r"[\d.]+ KiB -> [\d.]+ KiB"), "<sizes>"),
    (re.compile(r"^operation +us$", re.MULTILINE), "operation <us>"),
    (re.compile(r"process \d+"), "process <pid>"),
    (re.compile(r"CPython [\d.]+\w*"), "CPython <version>"),
    (re.compile(r"(?<=, )(compiled|plain Python)"), "<form>"),
    (re.compile(r"^compiled +(yes|no|True|False)$", re.MULTILINE), "compiled <form>"),
    (re.compile(r"(?<=127\.0\.0\.1:)\d+"), "<port>"),
    (re.compile(r"(?<=launch=)[\w-]+"), "<code>"),
    (re.compile(r"^([a-z1, ]+?)  +[\d,]+\.\d\d$", re.MULTILINE), r"\1  <us>"),
]


class Step(NamedTuple):
    """A command, and what the document says that it prints."""

    command: str
    printed: str


def steps(text: str) -> Iterator[Step]:
    for block in _BLOCK.finditer(text):
        command, printed = "", ""
        for one in block[1].splitlines():
            if one.startswith("$ "):
                if command:
                    yield Step(command, printed)
                command, printed = one[2:], ""
            elif command.endswith("\\"):
                command += f"\n{one}"
            else:
                printed += one + "\n"
        if command:
            yield Step(command, printed)


def run(command: str, place: Path, home: Path, **environment: str) -> str:
    """What a command prints, as the document shows it: by default, with the code of this checkout.

    ``environment``: more variables.
    """
    given = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "KVENGINE_DB": "shop",
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
        "COLUMNS": "80",
        "EDITOR": f"{sys.executable} {place}/edit.py",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env=given | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    printed = done.stdout.decode().replace(str(place), "/srv").replace(str(home), "/home/me")
    if printed and not printed.endswith("\n"):
        printed += "\n"
    return printed + (f"[exit {done.returncode}]\n" if done.returncode else "")


def prepare(place: Path, home: Path) -> None:
    """The database, and an editor that changes a text without asking."""
    shop.make(place / "shop")
    (place / "edit.py").write_text(
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[-1])\n"
        "path.write_text(path.read_text().replace('\"value\": 3', '\"value\": 4'))\n"
    )
    home.mkdir()


def steady(printed: str) -> str:
    """What is printed without what differs from run to run."""
    for pattern, instead in _VARYING:
        printed = pattern.sub(instead, printed)
    return printed


def update() -> None:
    """Run the document and write down what is printed; what only varies stays as it is."""
    text = DOCUMENT.read_text("utf-8")
    with tempfile.TemporaryDirectory() as made:
        place, home = Path(made).resolve() / "work", Path(made).resolve() / "home"
        place.mkdir()
        prepare(place, home)

        def rewritten(block: re.Match[str]) -> str:
            out = ""
            for step in steps(block[0]):
                printed = run(step.command, place, home)
                kept = steady(printed) == steady(step.printed)
                out += f"$ {step.command}\n" + (step.printed if kept else printed)
            return f"```console\n{out}```"

        text = _BLOCK.sub(rewritten, text)
    DOCUMENT.write_text(text, "utf-8")


if __name__ == "__main__" and sys.argv[1:] == ["--update"]:
    update()
