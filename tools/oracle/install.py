"""Make a virtual environment with release 0.1.0 in it, from the history of this repository."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

COMMIT = "10322776e06317d9bffa13e463102d720bc49baf"
"""Release 0.1.0."""

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-oracle"


class NoRelease(Exception):
    """0.1.0 cannot be had; the message says why."""


def in_history() -> bool:
    """Return whether the commit of 0.1.0 is in this clone."""
    if shutil.which("git") is None:
        return False
    command = ["git", "-C", str(ROOT), "cat-file", "-e", f"{COMMIT}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def install() -> Path:
    """Return the Python that has 0.1.0, after installing it if need be; or raise NoRelease."""
    python = FOLDER / "bin" / "python"
    stamp = FOLDER / f".stamp-{COMMIT[:12]}"
    if stamp.exists() and python.exists():
        return python
    if not in_history():
        raise NoRelease(f"commit {COMMIT[:12]} (release 0.1.0) is not in this clone: fetch it")
    venv.EnvBuilder(clear=True, with_pip=True).create(FOLDER)
    source = FOLDER / "source"
    command = ["git", "-C", str(ROOT), "archive", "--format=zip", COMMIT]
    archive = subprocess.run(command, capture_output=True, check=True).stdout
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(source)
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", str(source)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoRelease(f"pip cannot install 0.1.0: {done.stderr.strip() or done.stdout.strip()}")
    stamp.touch()
    return python


if __name__ == "__main__":
    try:
        print(install())
    except NoRelease as error:
        sys.exit(str(error))
