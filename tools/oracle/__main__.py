"""The campaign: `python -m tools.oracle`."""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.oracle import programs
from tools.oracle.compare import Comparison
from tools.oracle.install import NoRelease, install
from tools.oracle.releases import Release

IMAGES_PER_PROGRAM = 5
MOST_DIFFERENCES = 5
"""After so many the campaign ends: they are likely the same one."""
PROGRESS = 500
"""Programs after which a line tells how far it is."""


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.oracle", description="Compare this checkout with release 0.1.0."
    )
    parser.add_argument("--programs", type=int, default=5000, help="random programs to compare")
    parser.add_argument("--images", type=int, default=1000, help="crash images to judge")
    parser.add_argument("--seed", type=int, default=1, help="of the first program")
    parser.add_argument("--steps", type=int, default=50, help="steps of a program besides reads")
    return parser.parse_args(given)


class Campaign:
    """Runs programs and images, and reports what it finds as it goes."""

    def __init__(self, comparison: Comparison, chosen: argparse.Namespace) -> None:
        self.comparison = comparison
        self.chosen = chosen
        self.differences = 0

    def run(self) -> int:
        """Return 1 if there was a difference without an explanation, else 0."""
        began, chosen = time.monotonic(), self.chosen
        for number in range(chosen.programs):
            if self.differences < MOST_DIFFERENCES:
                self._compare(chosen.seed + number)
                self.comparison.figures["programs"] += 1
                if not (number + 1) % PROGRESS:
                    seconds = time.monotonic() - began
                    print(f"{number + 1:,} programs in {seconds:.0f} s", flush=True)
        middle = time.monotonic()
        for number in range(-(-chosen.images // IMAGES_PER_PROGRAM)):
            if self.differences < MOST_DIFFERENCES:
                self._lose_power(chosen.seed + number)
        seconds = time.monotonic() - middle
        print(f"programs took {middle - began:.0f} s, images {seconds:.0f} s", flush=True)
        self._summary()
        return 1 if self.differences else 0

    def _compare(self, seed: int) -> None:
        program = programs.make(seed, self.chosen.steps)
        self.comparison.figures["steps"] += len(program["steps"])
        found = self.comparison.difference(program)
        if found is not None:
            short = copy.deepcopy(program)
            short["steps"] = short["steps"][: found.number + 1]
            short = self._quietly_shrunk(short, crashes=False)
            again = self.comparison.difference(short)
            self._report(f"program of seed {seed}: {found}\nshortened: {again}", short)

    def _lose_power(self, seed: int) -> None:
        done = self.comparison.judge.figures["images"]
        count = min(IMAGES_PER_PROGRAM, self.chosen.images - done)
        if count <= 0:
            return
        program = programs.make_crashes(seed, self.chosen.steps, count)
        found = self.comparison.lost(program)
        if found is not None:
            short = self._quietly_shrunk(program, crashes=True)
            again = self.comparison.lost(short)
            self._report(f"images of seed {seed}: {found}\nshortened: {again}", short)

    def _quietly_shrunk(self, program: programs.Program, *, crashes: bool) -> programs.Program:
        """Shrink, and count nothing of what that took."""
        comparison = self.comparison
        kept = [copy.copy(each) for each in (comparison.figures, comparison.judge.figures)]
        short = comparison.shrink(program, crashes=crashes)
        comparison.figures, comparison.judge.figures = kept
        return short

    def _report(self, text: str, program: programs.Program) -> None:
        self.differences += 1
        print(f"DIFFERENCE, {text}\noptions = {json.dumps(program['options'])}\nsteps = [")
        for step in program["steps"]:
            print(f"    {json.dumps(step)},")
        print("]", flush=True)

    def _summary(self) -> None:
        comparison = self.comparison
        for release in (comparison.old, comparison.new):
            met = [f"{name.replace('_', ' ')} {count:,}" for name, count in release.met.items()]
            print(f"{release.home}, {release.seconds:.0f} s: {', '.join(met)}")
        for counts in (comparison.figures, comparison.judge.figures, comparison.explained):
            for name, count in counts.items():
                print(f"{count:>10,} {name}")
        print(f"{self.differences:>10,} differences without an explanation")


def main(given: Sequence[str] | None = None) -> int:
    """Run the campaign; return the exit code: 2 where 0.1.0 cannot be had."""
    chosen = arguments(given)
    try:
        python = install()
    except NoRelease as error:
        print(error, file=sys.stderr)
        return 2
    with Release(python) as old, Release(Path(sys.executable)) as new:
        return Campaign(Comparison(old, new), chosen).run()


if __name__ == "__main__":
    sys.exit(main())
