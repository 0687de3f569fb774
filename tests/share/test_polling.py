"""Looking before one sleeps: as long as it pays, and rarely where it does not."""

from __future__ import annotations

import pytest

from kvengine.share import polling
from kvengine.share.polling import BusyPolling


class Looks:
    """Counts the looks, each of which finds something or not."""

    def __init__(self, finds: bool) -> None:
        self.finds = finds
        self.count = 0

    def __call__(self, *_: object) -> bool:
        self.count += 1
        return self.finds


def looked(monkeypatch: pytest.MonkeyPatch, finds: bool) -> Looks:
    looks = Looks(finds)
    monkeypatch.setattr(polling, "look", looks)
    return looks


def times(count: int, policy: BusyPolling) -> None:
    for _ in range(count):
        policy.look(3, True)


def test_it_looks_each_time_as_long_as_that_finds_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = looked(monkeypatch, True)
    times(100, BusyPolling())
    assert looks.count == 100


def test_it_looks_ever_more_rarely_where_it_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = looked(monkeypatch, False)
    policy = BusyPolling()
    times(1 + 1 + 1 + 3 + 1 + 7, policy)  # one that looks, 1 that does not, one that looks, 3, ...
    assert looks.count == 3
    times(6_400, policy)
    assert 100 <= looks.count <= 110  # one in 64


def test_it_goes_on_as_soon_as_it_finds_something_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked(monkeypatch, False)
    policy = BusyPolling()
    times(1_000, policy)
    looks = looked(monkeypatch, True)
    times(64 + 100, policy)
    assert looks.count >= 100
