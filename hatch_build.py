"""Compile the hot modules of kvengine (kvengine/compiled.py says which those are).

hatchling calls the hook when it builds a wheel, an editable installation or an sdist. A checkout
calls `python hatch_build.py`, which is `make build`. Only what changed is compiled again.

Where there is no compiler the installation runs plain, and its wheel is named `py3-none-any`, which
pip prints; `kvengine --version` says why. With KVENGINE_COMPILED=require the build fails instead,
and with off nothing is compiled. A build of CPython without the interpreter lock is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "kvengine"
BUILT = PACKAGE / "_built"
RECORD = BUILT / f"{sys.implementation.cache_tag}.json"
REASON = BUILT / "plain.txt"
"""Why nothing was compiled, for kvengine/compiled.py to tell."""

DIRECTIVES = {
    "language_level": 3,
    # What an annotation promises to a type checker is not checked at run time in plain Python
    # either: the types that count stand in the .pxd.
    "annotation_typing": False,
    # Nothing here is pickled.
    "auto_pickle": False,
    # A private attribute may be set to None: an exception, not a crash, must follow.
    "nonecheck": True,
}
# Without debugging information, which takes a third of the time; a profile asks for it with -g.
FLAGS = ["-O2", "-g0", "-fno-strict-aliasing", "-Wno-unreachable-code"]
FLAGS += shlex.split(os.environ.get("KVENGINE_CFLAGS", ""))  # `make test-sanitized` adds some


class BuildError(Exception):
    """A hot module could not be compiled."""


def hot_modules() -> dict[str, Path]:
    """Return the sources that are compiled, by module name."""
    beside = {
        path.with_suffix("") for kind in ("pxd", "pyx") for path in PACKAGE.rglob(f"*.{kind}")
    }
    found = {}
    for stem in sorted(beside):
        source = stem.with_suffix(".pyx")
        if not source.exists():
            source = stem.with_suffix(".py")
        if source.exists():  # a .pxd alone declares what is in C
            found[".".join(stem.relative_to(ROOT).parts)] = source
    return found


def sources() -> list[Path]:
    """Return every file that what is compiled depends on."""
    shared = [path for kind in ("pxd", "pyx", "h") for path in PACKAGE.rglob(f"*.{kind}")]
    return sorted({*shared, *hot_modules().values()})


_CIMPORT = re.compile(r"^from (kvengine[.\w]*) cimport (?:\(([^)]*)\)|(.*))", re.MULTILINE)
_HEADER = re.compile(r'"(kvengine/[^"]*\.h)"')


def read_by(source: Path) -> set[Path]:
    """Return the files of which the C of a module is made: its own, and the types that it uses."""
    found: set[Path] = set()
    due = [source, source.with_suffix(".pxd")]
    while due:
        path = due.pop()
        if path in found or not path.exists():
            continue
        found.add(path)
        text = path.read_text()
        due += [ROOT / header for header in _HEADER.findall(text)]
        for package, listed, line in _CIMPORT.findall(text):
            stem = ROOT.joinpath(*package.split("."))
            names = re.findall(r"\w+", listed or line)
            due += [stem.with_suffix(".pxd"), *(stem / f"{name}.pxd" for name in names)]
    return found


def build() -> list[Path]:
    """Compile what changed; return the files that an installation needs. Raise BuildError."""
    BUILT.mkdir(exist_ok=True)
    old = _record()
    modules = hot_modules()
    shared = repr((_cython_version(), sys.version, DIRECTIVES, FLAGS)).encode()
    keys = {
        name: hashlib.sha256(
            shared + b"".join(path.read_bytes() for path in sorted(read_by(source)))
        ).hexdigest()
        for name, source in modules.items()
    }
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    files = {name: f"{name}{suffix}" for name in modules}
    due = [
        name
        for name in modules
        if old.get("keys", {}).get(name) != keys[name] or not (BUILT / files[name]).exists()
    ]
    if due:
        check_compiler()
    RECORD.unlink(missing_ok=True)  # a build that breaks off leaves nothing that seems whole
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        # Cython writes the next file while compilers work on those before it.
        compiling = []
        for name in due:
            print(f"compiling {name}", file=sys.stderr, flush=True)
            translate(name, modules[name])
            compiling.append(pool.submit(_compile, c_file(name), BUILT / files[name]))
        for each in compiling:
            each.result()
    finally:
        pool.shutdown(cancel_futures=True)
    for path in BUILT.glob(f"*{suffix}"):
        if path.name not in files.values():
            path.unlink()
    state = {str(path.relative_to(PACKAGE)): zlib.crc32(path.read_bytes()) for path in sources()}
    sizes = {file: (BUILT / file).stat().st_size for file in files.values()}
    record = {"files": files, "sizes": sizes, "sources": state, "keys": keys}
    RECORD.write_text(json.dumps(record, indent=1))
    REASON.unlink(missing_ok=True)
    return [RECORD, *(BUILT / file for file in files.values())]


def check_compiler() -> None:
    """Raise BuildError, before minutes are spent, if there is nothing to compile with."""
    compiler = shlex.split(sysconfig.get_config_var("LDSHARED"))[0]
    if shutil.which(compiler) is None:
        raise BuildError(f"there is no C compiler: {compiler} is not installed")
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        raise BuildError("there are no headers of Python: python3-dev, or alike, is not installed")


def c_file(name: str) -> Path:
    """Return where the C of a module goes."""
    return BUILT / f"{name}.c"


def translate(name: str, source: Path) -> None:
    """Write the C of a module, unless it was carried here without Cython to make it."""
    try:
        from Cython.Compiler.Main import CompilationOptions, compile_single
    except ImportError:
        if c_file(name).exists():
            return
        raise BuildError("Cython is not installed") from None
    options = CompilationOptions(
        compiler_directives=dict(DIRECTIVES),
        output_file=str(c_file(name)),
        include_path=[str(ROOT)],
    )
    if compile_single(str(source), options, name).num_errors:
        raise BuildError(f"{source.relative_to(ROOT)} was refused by Cython")


def _compile(source: Path, target: Path) -> None:
    variable = sysconfig.get_config_var
    include = sysconfig.get_paths()["include"]
    command = shlex.split(variable("LDSHARED")) + shlex.split(variable("CFLAGS") or "")
    command += shlex.split(variable("CCSHARED") or "") + FLAGS
    command += [f"-I{include}", f"-I{ROOT}", str(source), "-o", f"{target}.new"]
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"the C compiler failed: {error}") from None
    os.replace(f"{target}.new", target)


def _record() -> dict[str, Any]:
    try:
        found = json.loads(RECORD.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _cython_version() -> str:
    try:
        from Cython import __version__
    except ImportError:
        return ""
    return str(__version__)


class HotModules(BuildHookInterface):  # type: ignore[type-arg]
    """Puts compiled modules into wheels, and their C into the sdist."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before hatchling collects the files. ``version``: "standard" or "editable"."""
        del version
        if os.name != "posix":
            raise BuildError(
                "kvengine runs on Linux: it locks and syncs directories, which this system cannot;"
                " on Windows use WSL"
            )
        if sysconfig.get_config_var("Py_GIL_DISABLED"):
            raise BuildError(
                "this build of Python has no interpreter lock; kvengine is not yet tested on it:"
                " use a standard build"
            )
        wanted = os.environ.get("KVENGINE_COMPILED", "auto")
        if wanted == "off":
            return
        try:
            if self.target_name == "sdist":
                BUILT.mkdir(exist_ok=True)
                for name, source in hot_modules().items():
                    translate(name, source)
                    build_data["artifacts"].append(f"/{c_file(name).relative_to(ROOT)}")
                return
            built = build()
        except BuildError as error:
            if wanted == "require":
                raise
            self.app.display_warning(f"kvengine will run uncompiled, several times slower: {error}")
            REASON.write_text(f"{error}\n")
            build_data["artifacts"].append(f"/{REASON.relative_to(ROOT)}")
            return
        build_data["artifacts"] += [f"/{path.relative_to(ROOT)}" for path in built]
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


if __name__ == "__main__":
    try:
        build()
    except BuildError as error:
        sys.exit(f"not compiled: {error}; make test-plain tests kvengine without a compiler")
