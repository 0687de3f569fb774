"""Run a program on both releases, find where they differ, and shorten a program that does."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any, NamedTuple

from tools.oracle.explained import explain
from tools.oracle.images import Judge
from tools.oracle.programs import Program
from tools.oracle.releases import Release

SHRINK_SECONDS = 60.0
WIDTH = 400
"""Characters that are shown of an answer."""


class Difference(NamedTuple):
    """The first answer that differs: to which step, and both answers."""

    number: int
    step: Any
    old: str
    new: str

    def __str__(self) -> str:
        step = json.dumps(self.step)[:WIDTH]
        return f"step {self.number}: {step}\n{around(self.old, self.new)}"


def around(old: str, new: str) -> str:
    """Return two answers that differ, from a little before the place where they do."""
    both = zip(old, new, strict=False)
    same = next((at for at, (left, right) in enumerate(both) if left != right), 0)
    begin = max(same - WIDTH // 2, 0)
    left, right = old[begin : begin + WIDTH], new[begin : begin + WIDTH]
    return f"  0.1.0, from {begin}: {left}\n  this checkout:  {right}"


class Comparison:
    """Both releases, and what they have been compared on."""

    def __init__(self, old: Release, new: Release) -> None:
        self.old = old
        self.new = new
        self.figures: Counter[str] = Counter()
        self.explained: Counter[str] = Counter()
        self.judge = Judge()

    def difference(self, program: Program) -> Difference | None:
        """Return the first difference without an explanation, or None."""
        old, new = self.old.run(program), self.new.run(program)
        self.figures["answers"] += len(old)
        if old == new:
            return None
        steps = program["steps"]
        for number in range(max(len(old), len(new))):
            left = old[number] if number < len(old) else '"no answer"'
            right = new[number] if number < len(new) else '"no answer"'
            if left == right:
                continue
            step = steps[number] if number < len(steps) else ["end"]
            why = explain(step, json.loads(left), json.loads(right))
            if why is None:
                return Difference(number, step, left, right)
            self.explained[why] += 1
        return None

    def lost(self, program: Program) -> str | None:
        """Run a program that loses power; return what is wrong with its images, or None."""
        old = [json.loads(line) for line in self.old.run(program)]
        new = [json.loads(line) for line in self.new.run(program)]
        faults = self.judge.faults(old, new)
        if faults:
            return "\n".join(faults)
        # Beside their images both must have said the same.
        old, new = [
            [each for each in answers if not (isinstance(each, dict) and "image" in each)]
            for answers in (old, new)
        ]
        for left, right in zip(old, new, strict=False):
            if left != right:
                return f"the answers differ\n{around(json.dumps(left), json.dumps(right))}"
        return None if len(old) == len(new) else "one has more answers"

    def shrink(self, program: Program, *, crashes: bool) -> Program:
        """Return a shorter program that still differs, by leaving out runs of ever fewer steps."""
        fails = self.lost if crashes else self.difference
        steps, until = program["steps"], time.monotonic() + SHRINK_SECONDS
        size = len(steps) // 2
        while size and time.monotonic() < until:
            at = 0
            while at < len(steps) and time.monotonic() < until:
                fewer = steps[:at] + steps[at + size :]
                if fails({**program, "steps": fewer}) is not None:
                    steps = fewer
                else:
                    at += size
            size //= 2
        return {**program, "steps": steps}
