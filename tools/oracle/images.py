"""What crash images must hold: the prefix rule, and equality where nothing is left open."""

from __future__ import annotations

from collections import Counter
from typing import Any

Scan = list[list[Any]]


def as_of(scan: Scan, now: float) -> Scan:
    """Return what is left of a scan at a later time: what has expired meanwhile is gone."""
    left: Scan = []
    for service, key, version, expires_at, entries, complete, expiries in scan:
        if expires_at is not None and expires_at <= now:
            continue
        ends = dict(expiries or ())
        live = [each for each in entries if ends.get(each[0], now + 1) > now]
        if live:
            kept = [each for each in expiries or () if each[1] > now] or None
            left.append([service, key, version, expires_at, live, complete, kept])
    return left


class States:
    """The states after each commit of one release, by number; 0 is the empty database."""

    def __init__(self) -> None:
        self.scans: list[Scan] = [[]]

    def add(self, number: int, scan: Scan) -> None:
        """Add the state that a commit left; one that was refused left the state before it."""
        while len(self.scans) < number:
            self.scans.append(self.scans[-1])
        self.scans.append(scan)

    def fault(self, image: dict[str, Any]) -> str | None:
        """Return what is wrong with what was recovered of an image, or None."""
        if "raised" in image:
            return f"it does not open: {image['raised']}: {image['message']}"
        wanted = (image["verify"] == 0, image["grows"], image["kept"], image["same"])
        if not all(wanted):
            return f"sound, stamps grow, a later commit is kept, nothing else changes: {wanted}"
        low, high, now = image["low"], image["high"], image["now"]
        allowed = self.scans[low : high + 1] or self.scans[-1:]
        if not any(as_of(scan, now) == image["scan"] for scan in allowed):
            return f"it is none of the states {low} to {high}"
        return None


class Judge:
    """Judges the images of a program that both releases ran."""

    def __init__(self) -> None:
        self.figures: Counter[str] = Counter()

    def faults(self, old: list[Any], new: list[Any]) -> list[str]:
        """Return what is wrong with the answers of both releases, a line each."""
        found: list[str] = []
        pairs: list[list[dict[str, Any]]] = []
        for release, answers in (("0.1.0", old), ("this checkout", new)):
            states, images = States(), list[dict[str, Any]]()
            for answer in answers:
                if isinstance(answer, dict) and "state" in answer:
                    states.add(answer["state"], answer["scan"])
                elif isinstance(answer, dict) and "image" in answer:
                    images.append(answer)
                    # A commit in whose midst power was lost answers before its image does.
                    fault = states.fault(answer)
                    if fault is not None:
                        found.append(f"{release}, image {len(images)}: {fault}")
            pairs.append(images)
        if len(pairs[0]) != len(pairs[1]):
            found.append(f"{len(pairs[0])} images of 0.1.0, {len(pairs[1])} of this checkout")
        for number, (left, right) in enumerate(zip(*pairs, strict=False), 1):
            found += self._pair(number, left, right)
        return found

    def _pair(self, number: int, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
        """Compare what both recovered of an image; count it by how much was left open."""
        limits = {old["low"], old["high"], new["low"], new["high"]}
        equal = old.get("scan") == new.get("scan")
        self.figures["images"] += 1
        if len(limits) > 1:
            how = "the same prefix" if equal else "each its own prefix"
            self.figures[f"images with commits that may be lost, {how}"] += 1
            return []
        kind = "all written survives" if old["image"] == "written" else "all is synced"
        self.figures[f"images in which {kind}"] += 1
        if equal:
            return []
        only = [
            [each for each in one.get("scan", []) if each not in other.get("scan", [])]
            for one, other in ((old, new), (new, old))
        ]
        return [f"image {number}: {kind}, and the releases differ: {only[0]} and {only[1]}"]
