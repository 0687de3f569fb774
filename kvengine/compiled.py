"""Which form of the hot modules runs: compiled or plain. Decided once, when kvengine is imported.

A module is hot if a `.pxd` (types for it) or a `.pyx` (a twin that is compiled in its place) stands
beside it. `hatch_build.py` compiles all hot modules when the package is built, into `_built`, and
records there which sources they were made from. All of them run compiled or none does: a mixture
of old and new, or of compiled and plain, would be nobody's tested program.

The environment variable KVENGINE_COMPILED chooses: "auto" (the default) takes the compiled modules
if they are there, fit the sources and can be loaded; if they are there and cannot be used, a
RuntimeWarning says why. "require" raises ImportError instead of running plain. "off" runs plain.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
import zlib
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_BUILT = os.path.join(_PACKAGE, "_built")
RECORD = f"{sys.implementation.cache_tag}.json"
"""The file in `_built` that names what was compiled for this Python, and from which sources."""

Form = Literal["compiled", "plain Python"]
form: Form = "plain Python"
"""What runs in this process."""


def description() -> str:
    """Return what runs, and if that is plain Python, why: ``plain Python (there is no ...)``."""
    if form == "compiled":
        return form
    if os.environ.get("KVENGINE_COMPILED") == "off":
        return f"{form} (KVENGINE_COMPILED=off)"
    try:
        with open(os.path.join(_BUILT, "plain.txt"), encoding="utf-8") as file:
            return f"{form} (when it was installed: {file.read().strip()})"
    except OSError:
        return f"{form} (nothing was compiled for {sys.implementation.cache_tag})"


class Unusable(Exception):
    """Why the compiled modules cannot be used, and what to do; both are for the user."""

    def __init__(
        self, reason: str, advice: str = "reinstall kvengine, or run `make build` in a checkout"
    ) -> None:
        super().__init__(reason)
        self.advice = advice


class _Finder:
    """Finds the compiled form of hot modules, before Python looks for their `.py`."""

    def __init__(self, files: dict[str, str]) -> None:
        """``files``: the path of each module's extension."""
        self._files = files

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where to load a hot module from, None for any other."""
        del path, target
        file = self._files.get(name)
        if file is None:
            return None
        return spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))

    def probe(self) -> None:
        """Load each extension without running it. ImportError if one cannot be loaded."""
        for name in self._files:
            spec = self.find_spec(name)
            assert spec is not None
            module_from_spec(spec)


def checksum(path: str) -> int:
    """Return the checksum by which a source is recognized. OSError if it is not there."""
    with open(path, "rb") as file:
        return zlib.crc32(file.read())


def _found() -> _Finder | None:
    """Return a finder of what was compiled for this Python, None if nothing was.

    Unusable if that does not fit the sources or cannot be loaded.
    """
    try:
        with open(os.path.join(_BUILT, RECORD), "rb") as file:
            record: dict[str, dict[str, Any]] = json.load(file)
    except (FileNotFoundError, NotADirectoryError):  # the latter if kvengine is run out of a zip
        return None
    except (OSError, ValueError) as error:
        raise Unusable(f"the record of what was compiled cannot be read: {error}") from None
    try:
        for source, crc in record["sources"].items():
            if checksum(os.path.join(_PACKAGE, source)) != crc:
                raise Unusable(f"{source} has changed since it was compiled")
        for extension, size in record["sizes"].items():
            # Before one is loaded: to map a file that was cut short ends the process.
            if os.path.getsize(os.path.join(_BUILT, extension)) != size:
                raise Unusable(f"{extension} is not as long as it was when it was compiled")
        files: dict[str, str] = record["files"]
        finder = _Finder({name: os.path.join(_BUILT, file) for name, file in files.items()})
        finder.probe()
    except (OSError, ImportError, KeyError, AttributeError, TypeError) as error:
        if isinstance(error, ImportError) and "interpreter" in str(error).lower():
            raise Unusable(
                "this is a sub-interpreter, and compiled modules serve one of a process",
                "use kvengine in the main interpreter",
            ) from None
        raise Unusable(f"what was compiled is damaged or incomplete: {error!r}") from None
    return finder


def choose() -> Form:
    """Choose the form of the hot modules, as the environment asks; return it. Call it once."""
    global form  # noqa: PLW0603 - one decision of the process
    wanted = os.environ.get("KVENGINE_COMPILED", "auto")
    if wanted not in ("require", "auto", "off"):
        raise ImportError(f"KVENGINE_COMPILED must be require, auto or off, not {wanted!r}")
    if wanted == "off":
        return form
    try:
        finder = _found()
        if finder is None and wanted == "require":
            raise Unusable("nothing was compiled for this Python")
    except Unusable as error:
        if wanted == "require":
            raise ImportError(
                f"KVENGINE_COMPILED=require, but {error}: {error.advice}, or set it to auto"
            ) from None
        warnings.warn(
            f"kvengine runs uncompiled, several times slower: {error}. To mend it, {error.advice};"
            " KVENGINE_COMPILED=off silences this",
            RuntimeWarning,
            stacklevel=2,
        )
        return form
    if finder is not None:
        sys.meta_path.insert(0, finder)
        form = "compiled"
    return form
