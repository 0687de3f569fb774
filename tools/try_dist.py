"""Try what is published as a newcomer would: `python -m tools.try_dist SDIST FOLDER`.

With each supported Python that is found by its name: a wheel is built of the sdist, is checked by
twine, and is installed with its extras into an empty environment in FOLDER. There the command line
runs in its three forms, tells one version, and README.md is followed from top to bottom.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PYTHONS = ("python3.11", "python3.12", "python3.13", "python3.14")
ROOT = Path(__file__).resolve().parents[1]


def run(*command: str | Path, **environment: str) -> str:
    """Return what a command prints; end with what it says where it fails."""
    without = {name: os.environ[name] for name in os.environ if not name.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=ROOT / "build",
        env=without | environment,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stdout}")
    return done.stdout.strip()


def runs(python: str) -> bool:
    """Return whether there is a Python of that name. Some names lead to a script that refuses."""
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def attempt(python: str, sdist: Path, folder: Path) -> str:
    """Build, install and use it with one Python; return what the installed one says it is."""
    run(python, "-m", "venv", "--clear", folder)
    bin_, wheels = folder / "bin", folder / "wheels"
    pip = [bin_ / "python", "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--wheel-dir", wheels, sdist)
    (wheel,) = wheels.glob("*.whl")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel)
    run(*pip, "install", wheel)
    run(*pip, "check")
    bare = run(bin_ / "kvengine", "--version")  # without any extra
    run(*pip, "install", f"{wheel}[cli,ui,pydantic]")
    ways = [
        [bin_ / "kvengine"],
        *([bin_ / "python", "-m", each] for each in ("kvengine", "kvengine.cli")),
    ]
    said = {run(*way, "--version") for way in ways}
    if said != {bare}:
        sys.exit(f"{python}: one version in several words: {sorted({bare, *said})}")
    run(bin_ / "python", "-c", "import kvengine.ui.serve, kvengine.cli.app")
    run(sys.executable, "-m", "tests.docs.readme", bin_, PYTHONPATH=str(ROOT))
    return f"{bare}, {wheel.name}"


def main(sdist: str, folder: str) -> None:
    """Try an sdist with every Python that is found; end with 1 where one fails, or none is."""
    found = [python for python in PYTHONS if runs(python)]
    for python in found:
        place = Path(folder).resolve() / python
        print(f"{python}: {attempt(python, Path(sdist).resolve(), place)}", flush=True)
    for python in PYTHONS:
        if python not in found:
            print(f"{python}: NOT TRIED, it is not on the path", flush=True)
    if not found:
        sys.exit("no Python to try it with")


if __name__ == "__main__":
    main(*sys.argv[1:])
