"""A long run of mutated bytes through both forms of the twins; the tests run a short one.

    python -m tests.twins.fuzz [rounds] [seed] [module ...]

A round is ten mutations of one made input for each module of tests/twins that has `check_mutated`.
It ends at the first difference, and prints the seed of the round that shows it.
"""

from __future__ import annotations

import importlib
import random
import sys
import time
from pathlib import Path

from kvengine import compiled


def main(rounds: int = 100_000, first: int = 0, *modules: str) -> None:
    """Run so many rounds; each has a seed of its own, from ``first`` on."""
    assert compiled.form == "compiled", "a twin would be compared with itself"
    found = modules or sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
    loaded = [importlib.import_module(f"tests.twins.{name}") for name in found]
    checks = {module.__name__: getattr(module, "check_mutated", None) for module in loaded}
    for name, check in checks.items():
        if check is None:
            continue
        started = time.monotonic()
        for seed in range(first, first + rounds):
            try:
                check(random.Random(seed))
            except BaseException:
                print(f"{name}: seed {seed}", file=sys.stderr)
                raise
        print(f"{name}: {10 * rounds:,} inputs in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:3]]
    main(*numbers, *sys.argv[3:])
