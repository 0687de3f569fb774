"""A client in a process of its own: ``python -m tests.postgres.session_worker URL LEASE``.

It begins a session of ("S", "k"), says so, and ends it when a line comes in; then it prints what
came of that.
"""

from __future__ import annotations

import sys

import kvengine

with kvengine.connect(sys.argv[1], lease=float(sys.argv[2])) as db:
    try:
        with db.object("S", "k").session() as state:
            state.set("by", "worker")
            print("begun", flush=True)
            sys.stdin.readline()
        print("committed", flush=True)
    except kvengine.KVEngineError as error:
        print(type(error).__name__, flush=True)
