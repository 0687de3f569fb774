#!/usr/bin/env python3
"""How evenly objects spread over shards: a simulation for docs/scale.md.

    tools/balance.py [--objects N] [--commits N] [--shards 8,32,128] [--skew 0.8,0.99,1.1]

Objects are given to shards by the hash of their key, as Citus and others do. Commits choose objects
by a Zipf law (the YCSB benchmark has a skew of 0.99). Printed is the load of the busiest shard over
the average of all, of objects and of commits, and the share of commits that go to the one hottest
object: no sharding spreads that one, since an object is the unit of a transaction.
"""

from __future__ import annotations

import argparse
import random
from itertools import accumulate

import xxhash


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--commits", type=int, default=1_000_000)
    parser.add_argument("--shards", default="8,32,128")
    parser.add_argument("--skew", default="0,0.8,0.99,1.1")
    given = parser.parse_args()
    shards = [int(each) for each in given.shards.split(",")]
    skews = [float(each) for each in given.skew.split(",")]
    print(f"{given.objects:,} objects, {given.commits:,} commits; busiest shard / average")
    print("skew  shards  objects  commits  hottest object")
    for skew in skews:
        chosen = commits(given.objects, given.commits, skew)
        for count in shards:
            print(line(given.objects, chosen, count, skew))


def commits(objects: int, count: int, skew: float) -> list[int]:
    """Return the objects of so many commits, by a Zipf law."""
    weights = list(accumulate(1 / rank**skew for rank in range(1, objects + 1)))
    return random.Random(1).choices(range(objects), cum_weights=weights, k=count)


def line(objects: int, chosen: list[int], shards: int, skew: float) -> str:
    """Return a line of the table."""
    shard_of = [xxhash.xxh3_64_intdigest(b"order-%d" % each) % shards for each in range(objects)]
    held, written, hot = [0] * shards, [0] * shards, [0] * objects
    for shard in shard_of:
        held[shard] += 1
    for each in chosen:
        written[shard_of[each]] += 1
        hot[each] += 1
    busiest = max(written) * shards / len(chosen)
    fullest = max(held) * shards / objects
    share = max(hot) / len(chosen)
    return f"{skew:4g}  {shards:6}  {fullest:7.3f}  {busiest:7.2f}  {share:14.2%}"


if __name__ == "__main__":
    main()
