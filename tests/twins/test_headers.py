"""What is in C headers gives the same on ARM64 as here, at any alignment.

No test runs on an ARM64 machine. What could differ there, the instruction for CRC32C, unaligned
words and the sign of `char`, is in headers that need no Python, so an emulator can run them.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("headers.c")
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-sign-compare"]


def result(compiler: str, place: Path, *flags: str, runner: tuple[str, ...] = ()) -> str:
    """Compile for a machine, run, and return the sum over all that was computed."""
    if shutil.which(compiler) is None or any(shutil.which(each) is None for each in runner):
        pytest.skip(f"NOT TESTED: it takes {compiler} {' '.join(runner)}")
    program = place / "program"
    command = [compiler, "-O2", *WARNINGS, *flags, f"-I{ROOT}", str(SOURCE), "-o", str(program)]
    subprocess.run(command, check=True)
    return subprocess.run(
        [*runner, str(program)], check=True, capture_output=True, text=True
    ).stdout


SUM = "03da8df61fca8bfa\n"


def test_here(tmp_path: Path) -> None:
    assert result("cc", tmp_path) == SUM


def test_no_word_is_read_where_it_is_not_aligned(tmp_path: Path) -> None:
    """x86-64 allows it, and so hides it."""
    flags = "-fsanitize=alignment,undefined", "-fno-sanitize-recover=all"
    assert result("cc", tmp_path, *flags) == SUM


@pytest.mark.parametrize("flags", [(), ("-mstrict-align",), ("-march=armv8-a+nocrc",)])
def test_on_arm64(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """With the processor's CRC instruction, chosen as it runs, and whatever is aligned."""
    found = result("aarch64-linux-gnu-gcc", tmp_path, "-static", *flags, runner=("qemu-aarch64",))
    assert found == SUM
