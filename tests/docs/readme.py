"""README.md as a newcomer follows it: each fenced block runs, in order, in one empty folder.

    python -m tests.docs.readme BIN      with `python`, `pip` and `kvengine` of the folder BIN

``sh`` blocks must succeed. ``python`` blocks are saved as the file that the line before them names,
for ``console`` blocks to run, which must print what they show (tests/cli/golden.py).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.cli import golden

README = golden.ROOT / "README.md"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(\w+\.py)\W*$")
KINDS = ("sh", "python", "console")


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """The fenced blocks: the kind of each, what it holds, and the file to save it as, or ""."""
    for block in _BLOCK.finditer(text):
        named = _FILE.search(text[: block.start()])
        yield block[1], block[2], named[1] if named else ""


def follow(text: str, place: Path, home: Path, **environment: str) -> list[str]:
    """Run every block in ``place``; what went otherwise than the text says.

    ``environment``: variables beside those of `golden.run`, PATH above all.
    """
    environment = {"KVENGINE_DB": "", "PYTHONPATH": "", **environment}
    wrong = []
    for kind, code, file in blocks(text):
        if kind == "console":
            commands = list(golden.steps(f"```console\n{code}```"))
        elif kind == "python":
            (place / file).write_text(code, "utf-8")
            commands = []
        else:
            commands = [
                golden.Step(f"set -e\n{{\n{code}}} >log 2>&1 || {{ cat log; exit 1; }}", "")
            ]
        for command, expected in commands:
            printed = golden.run(command, place, home, **environment)
            if golden.steady(printed) != golden.steady(expected):
                wrong.append(f"$ {command}\n--- documented\n{expected}--- printed\n{printed}")
    return wrong


def main(folder: str) -> None:
    """Follow README.md with the Python in a folder; end with 1 where it does not hold."""
    with tempfile.TemporaryDirectory() as made:
        place, home = Path(made).resolve() / "empty", Path(made).resolve() / "home"
        place.mkdir()
        home.mkdir()
        path = f"{os.path.abspath(folder)}:{os.environ['PATH']}"
        wrong = follow(README.read_text("utf-8"), place, home, PATH=path)
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
