"""An application at full speed and tools that edit the same objects: no update is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import kvengine

ROOT = Path(__file__).resolve().parents[2]

APPLICATION = """
import json, sys, time, kvengine
from kvengine import Batch, VersionConflict
db = kvengine.open(sys.argv[1], durability="os")
mine = [0] * 4
commits = conflicts = 0
print("ready", flush=True)
stop = sys.argv[2]
import os
began = time.monotonic()
while not os.path.exists(stop):
    for _ in range(10):  # about 1,000 commits a second
        k = commits % 4
        while True:
            found = db.load("Counter", f"c{k}")
            count = int(found.entries.get("count", b"0")) if found else 0
            batch = Batch()
            batch.set("Counter", f"c{k}", "count", b"%d" % (count + 1))
            try:
                db.write(batch, expect={("Counter", f"c{k}"): found.version if found else 0})
                break
            except VersionConflict:
                conflicts += 1
        mine[k] += 1
        commits += 1
    time.sleep(max(0.0, began + commits / 1000 - time.monotonic()))
took = time.monotonic() - began
print(json.dumps({"mine": mine, "commits": commits, "conflicts": conflicts, "seconds": took}))
db.close()
"""

TOOL = """
import io, json, sys, contextlib
from kvengine.cli.app import root
from kvengine.cli.exits import Exit

def run(*words):
    out = io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out):
        try:
            root.main(list(words), prog_name="kvengine", standalone_mode=False)
        except Exit as ended:
            code = ended.code
    return code, json.loads(out.getvalue())

db, seed, wanted = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
mine, conflicts, applied = [0] * 4, 0, 0
while applied < wanted:
    k = (seed + applied) % 4
    code, seen = run("--db", db, "kv", "get", "Counter", f"c{k}", "--json")
    assert code == 0
    count = seen["entries"]["count"]["value"]
    code, told = run("--db", db, "kv", "set", "Counter", f"c{k}", "count", str(count + 1),
                     "--version", str(seen["version"]), "--json")
    if code == 3:
        assert told["result"] == "conflict" and told["version"] != seen["version"], told
        assert told["now"]["version"] == told["version"]
        conflicts += 1
        continue
    assert code == 0 and told["result"] == "applied", (code, told)
    assert told["read_version"] == seen["version"]
    mine[k] += 1
    applied += 1
    if applied % 10 == 0:  # an object of its own, cleared again
        code, told = run("--db", db, "kv", "set", "Scratch", f"t{seed}", "n", "1", "--json")
        assert told["result"] == "applied"
        code, told = run("--db", db, "kv", "clear", f"Scratch/t{seed}", "--yes", "--json")
        assert code == 0 and told["result"] == "applied", told
print(json.dumps({"mine": mine, "conflicts": conflicts}))
"""


def start(text: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", text, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_no_update_is_lost_between_an_application_and_tools(tmp_path: Path) -> None:
    """Four tools make 1,000 edits of the counters that an application also counts, at 1,000
    commits a second. Every count is there in the end, and each edit that met another version
    was reported as a conflict, by a code and with what is there now."""
    path, stop = tmp_path / "db", tmp_path / "stop"
    application = start(APPLICATION, path, stop)
    assert application.stdout is not None and application.stdout.readline() == "ready\n"
    tools = [start(TOOL, path, seed, 250) for seed in range(4)]
    outputs = [tool.communicate(timeout=200)[0] for tool in tools]
    assert [tool.returncode for tool in tools] == [0] * 4
    stop.touch()
    theirs = json.loads(application.communicate(timeout=30)[0])
    assert application.returncode == 0
    told = [json.loads(one) for one in outputs]
    with kvengine.open(path, read_only=True) as db:
        for k in range(4):
            mine = sum(one["mine"][k] for one in told)
            assert db.object("Counter", f"c{k}").get("count") == theirs["mine"][k] + mine
        assert db.services() == ["Counter"]
    assert sum(sum(one["mine"]) for one in told) == 1000
    assert sum(one["conflicts"] for one in told) > 0, "no edit ever met another: no race"
    assert theirs["commits"] > 1000, "the application stood still"
