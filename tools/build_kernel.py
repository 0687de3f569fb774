"""Builds the compiled kernel (kvengine/kernel): a hook of the package's build, or run by itself.

Without a compiler, without Python's headers, or with KVENGINE_KERNEL=off, the
package is built all the same, in plain Python, and says so.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

SOURCES = (
    "module",
    "layout",
    "methods",
    "errors",
    "record",
    "handles",
    "block",
    "session",
    "commit",
)
FLAGS = ("-O2", "-fPIC", "-Wno-deprecated-declarations")
SECONDS = 300


class NotBuilt(Exception):
    """Why there is no kernel."""


def compiler() -> list[str]:
    """The command of a C compiler: $CC, the one that built this Python, or what is there."""
    for command in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"):
        words = shlex.split(command or "")
        if words and shutil.which(words[0]):
            return words
    raise NotBuilt("there is no C compiler")


def file_name() -> str:
    """The name under which this Python finds the module."""
    return f"_kernel{sysconfig.get_config_var('EXT_SUFFIX')}"


def build(folder: Path) -> Path:
    """Compile the sources in ``folder`` into the module beside them; NotBuilt where it fails."""
    if os.environ.get("KVENGINE_KERNEL") == "off":
        raise NotBuilt("KVENGINE_KERNEL is off")
    target = folder / file_name()
    made = target.with_name(f"{target.name}.{os.getpid()}")
    shared = (
        ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    )
    command = [
        *compiler(),
        *FLAGS,
        *shared,
        f"-I{sysconfig.get_path('include')}",
        *(str(folder / f"{each}.c") for each in SOURCES),
        "-o",
        str(made),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
        made.replace(target)
    except subprocess.CalledProcessError as error:
        first = next((line for line in error.stderr.splitlines() if "error" in line), error.stderr)
        raise NotBuilt(f"{command[0]} failed: {first.strip()}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotBuilt(str(error)) from None
    finally:
        made.unlink(missing_ok=True)
    return target


def get_build_hook() -> type[Any]:
    """What hatchling asks for."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class KernelHook(BuildHookInterface):  # type: ignore[type-arg,misc]
        """Puts the kernel into the wheel, or beside its sources for an editable install."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            try:
                built = build(Path(self.root, "kvengine", "kernel"))
            except NotBuilt as reason:
                self.app.display_warning(f"kvengine without its compiled kernel: {reason}")
                return
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            if version != "editable":
                build_data["artifacts"].append(f"/kvengine/kernel/{built.name}")

    return KernelHook


if __name__ == "__main__":
    try:
        print(build(Path(__file__).parents[1] / "kvengine" / "kernel"))
    except NotBuilt as reason:
        sys.exit(f"no kernel: {reason}")
