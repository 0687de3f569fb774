"""tools/oracle: a short comparison with release 0.1.0, and that it tells what differs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tools.oracle import __main__ as campaign
from tools.oracle import install, programs
from tools.oracle.compare import Comparison
from tools.oracle.explained import explain
from tools.oracle.images import States, as_of

STORED = ["a", "k", 5, None, [["n", "v"], ["p", "w"]], True, [["p", 20.0]]]


class Answering:
    """A release that answers by a rule, without a process."""

    def __init__(self, rule: Callable[[list[Any]], Any]) -> None:
        self.rule = rule
        self.home, self.seconds, self.met = "nowhere", 0.0, Counter[str]()

    def run(self, program: dict[str, Any]) -> list[str]:
        return [json.dumps(self.rule(step)) for step in program["steps"]]


def compared(old: Callable[[list[Any]], Any], new: Callable[[list[Any]], Any]) -> Comparison:
    """A comparison of two rules."""
    return Comparison(Answering(old), Answering(new))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_this_checkout_answers_as_release_0_1_0(capfd: pytest.CaptureFixture[str]) -> None:
    """Both releases agree on 20 programs and 10 crash images: a smoke test of `make oracle`."""
    if not install.in_history():
        pytest.skip(f"release 0.1.0 ({install.COMMIT[:12]}) is not in this clone: fetch its commit")
    assert campaign.main(["--programs", "20", "--images", "10"]) == 0, capfd.readouterr().out


def test_a_seed_gives_the_same_program_again() -> None:
    """What a campaign prints, a seed and its options, is enough to repeat it."""
    assert programs.make(7, 40) == programs.make(7, 40) != programs.make(8, 40)
    assert programs.make_crashes(7, 40, 5) == programs.make_crashes(7, 40, 5)


def test_programs_survive_json() -> None:
    """A program reaches its driver as it was made; NaN and names without UTF-8 included."""
    program = programs.make(3, 200)
    assert repr(json.loads(json.dumps(program))) == repr(program)


def test_a_difference_is_reported_shortened_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """A release that answers one verb otherwise is found, and the program cut down to that verb."""
    comparison = compared(lambda step: 1, lambda step: 2 if step[0] == "flush" else 1)
    chosen = campaign.arguments(["--programs", "3", "--images", "0", "--steps", "80"])
    assert campaign.Campaign(comparison, chosen).run() == 1
    printed = capsys.readouterr().out
    assert "DIFFERENCE, program of seed" in printed and 'steps = [\n    ["flush"],\n]' in printed


def test_equal_answers_pass(capsys: pytest.CaptureFixture[str]) -> None:
    comparison = compared(lambda step: step[0], lambda step: step[0])
    chosen = campaign.arguments(["--programs", "3", "--images", "5"])
    assert campaign.Campaign(comparison, chosen).run() == 0
    assert "0 differences without an explanation" in capsys.readouterr().out


def test_a_missing_answer_is_a_difference() -> None:
    """A driver that died answers with less, or with one line that says so."""
    program = {"options": {}, "steps": [["flush"], ["stats"]]}
    comparison = compared(lambda step: 1, lambda step: 1)
    comparison.new.run = lambda program: ["1"]  # type: ignore[method-assign]
    found = comparison.difference(program)
    assert found is not None and found.number == 1 and "no answer" in found.new


def test_only_what_is_meant_is_explained() -> None:
    step, refused = ["call", "state_keys", ["a", "a"], {"start": None}], {"raised": "TypeError"}
    assert explain(step, [], refused)
    assert explain(step, refused, []) is None
    assert explain(["call", "state_keys", ["a", "a"], {"start": "a"}], [], refused) is None


def test_a_state_loses_what_expires_and_nothing_else() -> None:
    assert as_of([STORED], 19.0) == [STORED]
    assert as_of([STORED], 20.0) == [["a", "k", 5, None, [["n", "v"]], True, None]]
    assert as_of([["a", "k", 5, 30.0, [["n", "v"]], True, None]], 30.0) == []


@pytest.mark.parametrize(
    ("scan", "low", "fault"),
    [
        ([STORED], 1, None),
        ([], 0, None),
        ([], 1, "it is none of the states 1 to 1"),
        ([["a", "k", 5, None, [["n", "v"]], True, None]], 0, "it is none of the states 0 to 1"),
    ],
)
def test_what_is_recovered_is_a_prefix_with_all_that_was_synced(
    scan: list[Any], low: int, fault: str | None
) -> None:
    """A lost synced commit, or half of a commit, is a fault; a lost suffix is none."""
    states = States()
    states.add(1, [STORED])
    image = {"low": low, "high": 1, "now": 1.0, "scan": scan}
    image |= {"verify": 0, "grows": True, "kept": True, "same": True}
    assert states.fault(image) == fault
    assert "does not open" in str(states.fault({"raised": "OSError", "message": "no"}))
