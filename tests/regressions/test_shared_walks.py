"""A walk that several threads read. In processes of their own: at worst the interpreter crashed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, threading
import kvengine

with kvengine.open(sys.argv[1], durability="os", memtable_size=20_000, background="none") as db:
    for turn in range(12):
        with db.batch() as batch:
            for number in range(2000):
                batch.set("A", f"{number:05}", "n", b"%d" % number)
        if turn % 3 == 0:
            db.compact()
        walk = {walk}
        taken, raised = [], []

        def take():
            try:
                for one in walk:
                    taken.append(getattr(one, "key", one))
            except Exception as error:
                raised.append(error)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not raised, raised
        assert sorted(taken) == [f"{number:05}" for number in range(2000)]
        assert db.stats().open_snapshots == 0
"""


@pytest.mark.parametrize(
    "walk", ['db.scan("A")', 'db.object_keys("A")', 'db.scan("A", reverse=True)']
)
def test_threads_share_a_walk(tmp_path: Path, walk: str) -> None:
    """Each object goes to one of them. A thread that came while another was within got "generator
    already executing", at which `itertools.chain` freed that generator: the interpreter crashed.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{walk}", walk), str(tmp_path / "db")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
