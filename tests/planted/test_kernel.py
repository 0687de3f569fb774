"""Planted bugs in the compiled shortcuts: the tests of sessions find each."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvengine import kernel
from tests.planted.patched import Change, must_find

pytestmark = [
    pytest.mark.planted,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not kernel.COMPILED, reason="the kernel is not built, or is off"),
]

JUDGES = ("sessions", "kernel", "api", "durability")
PROGRAMS = ("tests/sessions/test_programs.py",)
EXCLUSIVE = ("tests/sessions/test_exclusive.py", "--timeout=20")
HOT = ("tests/sessions/test_hot.py", "--timeout=20")
MISUSE = ("tests/sessions/test_bad_use.py", "--timeout=20")
KERNEL = ("tests/kernel",)
COMMIT = "kernel/commit.c"
RECORD = "kernel/record.c"
BLOCK = "kernel/block.c"
SESSION = "kernel/session.c"

BUGS: dict[str, tuple[tuple[str, ...], str, str, str]] = {
    "a value is missing from the checksum": (KERNEL, RECORD, "CHECKED = 8 }", "CHECKED = 9 }"),
    "a long name loses its upper byte": (KERNEL, RECORD, "value >> (8 * (size - 1 - i))", "value"),
    "reads do not see the session's own changes": (
        PROGRAMS,
        SESSION,
        "SLOT(state, Working, changes), args[0]);\n    if (!data && !PyErr_Occurred())",
        "SLOT(state, Working, base), args[0]);\n    if (!data && !PyErr_Occurred())",
    ),
    "what was cleared is read from below": (
        PROGRAMS,
        SESSION,
        "    if (data == Py_None)\n        goto otherwise;",
        "    if (data == Py_None)\n"
        "        data = PyDict_GetItemWithError(SLOT(state, Working, base), args[0]);\n"
        "    if (!data)\n        Py_RETURN_NONE;",
    ),
    "the ttl of a set stays when it is set again": (
        HOT,
        SESSION,
        "SLOT(self, Session, _settings) != the_usual || SLOT(state, Working, ttls) != Py_None ||",
        "SLOT(self, Session, _settings) != the_usual ||",
    ),
    "changes with an expiry take the shortest way": (
        HOT,
        BLOCK,
        "SLOT(state, Working, ttls) != Py_None || SLOT(state, Working, _expire) != Py_None)",
        "SLOT(state, Working, ttls) != Py_None)",
    ),
    "clear_all is forgotten by the commit": (
        PROGRAMS,
        BLOCK,
        "           SLOT(state, Working, cleared) == Py_False && SLOT(state, Working, _expire)",
        "           SLOT(state, Working, _expire)",
    ),
    "the expiry of an object is not seen": (
        HOT,
        BLOCK,
        "if (is_a(found, Resolved_type) && SLOT(found, Resolved, expires_at) == Py_None)",
        "if (is_a(found, Resolved_type))",
    ),
    "a session commits over what others changed": (
        HOT,
        BLOCK,
        "PyObject_Vectorcall(commit_sets, args, 3, NULL)",
        "PyObject_Vectorcall(commit_sets, args, 2, NULL)",
    ),
    "a session is not exclusive": (EXCLUSIVE, BLOCK, "holder == me : -1", "1 : -1"),
    "a session keeps its object": (
        EXCLUSIVE,
        BLOCK,
        "(holder == me && PyDict_DelItem(holders, name) < 0)",
        "0",
    ),
    "a session can be used after its end": (
        MISUSE,
        BLOCK,
        "    PUT(open, Session, _working, end);\n",
        "    Py_DECREF(end);\n",
    ),
    "values may be too large": (HOT, SESSION, "PyBytes_GET_SIZE(data) > limit", "limit < 0"),
    "the expected version is ignored": (
        KERNEL,
        COMMIT,
        "    if (expected != Py_None &&",
        "    if (0 &&",
    ),
    "a snapshot sees what came later": (
        KERNEL,
        COMMIT,
        "INIT(state, State, prev, current);",
        "INIT(state, State, prev, Py_None);",
    ),
    "two commits have one stamp": (HOT, COMMIT, "now > last ? now : last + 1", "now"),
    "a commit is not in the log": (
        KERNEL,
        COMMIT,
        "write(fd, PyBytes_AS_STRING(record), (size_t)size)",
        "lseek(fd, size, SEEK_CUR) < 0 ? -1 : size",
    ),
    "a failed write is taken for done": (
        KERNEL,
        COMMIT,
        "int failed = written < 0;",
        "int failed = 0; if (written < 0) written = size;",
    ),
    "a state leaks": (
        KERNEL,
        COMMIT,
        "    Py_XDECREF(work->state);\n",
        "",
    ),
    "what is raised while the clock is read is dropped": (
        KERNEL,
        COMMIT,
        "< 0 && PyErr_Occurred()) {",
        "< 0 && 0) {",
    ),
    "a block is entered twice": (
        KERNEL,
        BLOCK,
        "    PUT(self, SessionContext, _session, Py_NewRef(the_entering));\n",
        "",
    ),
    "an error loses the one before it": (
        KERNEL,
        "kernel/errors.c",
        "    PyErr_SetHandledException(handling->error);\n",
        "",
    ),
    "a reference is kept": (
        KERNEL,
        BLOCK,
        "PUT(self, SessionContext, _session, Py_NewRef(result));",
        "PUT(self, SessionContext, _session, Py_NewRef(Py_NewRef(result)));",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_tests_find(bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these makes a test fail, or stand still until its time is over."""
    monkeypatch.setenv("KVENGINE_PROGRAMS", "1500")
    arguments, file, old, new = BUGS[bug]
    changes = [Change(file, old, new)]
    kind = r"assert|Error|Failed|Conflict|NotFound"
    must_find(tmp_path, changes, kind, *arguments, judges=JUDGES, kernel="on")
