"""Show what a segment file holds, and check it. Works on the file alone.

    python tools/segment_dump.py FILE [--verify] [--rows N | --all] [--msgpack]

Ends with 0 for a sound file, 1 where it found damage, 2 for wrong usage.
Without --verify only what is shown is read, and so checked. With --msgpack the
rows shown are decoded by the msgpack package, which shares no code with kvengine:
an independent reading of the format.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from kvengine.errors import KVEngineError
from kvengine.inspection import escape
from kvengine.inspection.dump import independent, kinds, segment
from kvengine.storage import row

SOUND, DAMAGED, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        decode = independent.decoder() if options.msgpack else row.decode
        kinds.check_format(options.file)
        found = segment.read(options.file, decode=decode)
        for line in segment.describe(found, None if options.all else options.rows):
            print(line)
        damage = segment.damage(options.file) if options.verify else found.damage
    except BrokenPipeError:
        # Whoever read this has seen enough; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOUND
    except KVEngineError as error:
        print(f"segment_dump: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        name = escape.text(options.file)
        print(f"segment_dump: cannot read {name}: {error.strerror}", file=sys.stderr)
        return USAGE
    if options.msgpack:
        print(f"rows decoded by msgpack {independent.version()}")
    for each in damage:
        print(f"damage at offset {each.offset:,}: {each.reason}", file=sys.stderr)
    if options.verify and not damage:
        print("verified: every checksum holds")
    return DAMAGED if damage else SOUND


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="segment_dump", description="Show a kvengine segment file.")
    made.add_argument("file", metavar="FILE", help="a file named NNNNNN.segment")
    made.add_argument("--verify", action="store_true", help="check every checksum, order and count")
    rows = made.add_mutually_exclusive_group()
    rows.add_argument("--rows", type=count, default=0, metavar="N", help="show the first N rows")
    rows.add_argument("--all", action="store_true", help="show every row")
    made.add_argument("--msgpack", action="store_true", help="decode rows with the msgpack package")
    return made


def count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is below zero")
    return number


if __name__ == "__main__":
    sys.exit(main())
