"""Which interpreters are supported."""

from __future__ import annotations

import sysconfig

from kvengine.errors import KVEngineError


def refuse_untested() -> None:
    """KVEngineError on builds of CPython without the interpreter lock.

    Publication of commits relies on one ``dict.update`` being atomic to other
    threads, which has not been tested there.
    """
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise KVEngineError(
            "this build of Python has no interpreter lock; kvengine is not yet tested on it:"
            " use a standard build"
        )
