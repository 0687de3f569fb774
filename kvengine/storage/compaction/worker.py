"""The helper process: runs jobs that its parent sends, off the parent's interpreter lock.

``python -m kvengine.storage.compaction.worker`` reads framed jobs from standard input
and answers framed replies on standard output (a frame: length u32 LE, then
MessagePack). It ends when its input does, or when its parent dies, even in the
midst of a job: what it wrote has a temporary name and is swept at the next open.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from typing import IO

from kvengine.errors import CorruptionError
from kvengine.fs.disk import DiskFileSystem
from kvengine.storage.compaction.job import Job, Reply, decode_job, encode_reply
from kvengine.storage.compaction.run import Abandoned, run

_LENGTH = struct.Struct("<I")
_NICE = 5


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The next frame, None at the end of the stream."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    return body if len(body) == length else None


def write_frame(stream: IO[bytes], body: bytes) -> None:
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def answer(job: Job, parent: int) -> Reply:
    """Run one job; errors become part of the reply."""
    try:
        return Reply(run(DiskFileSystem(), job, lambda: os.getppid() == parent))
    except CorruptionError as error:
        return Reply(error=error.reason, corrupt=(error.path, error.offset))
    except Abandoned:
        return Reply(error="abandoned")
    except (OSError, MemoryError, ValueError) as error:
        return Reply(error=f"{type(error).__name__}: {error}")


def main() -> None:
    # An interrupt at the terminal is the parent's to handle; its end is ours.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    os.nice(_NICE)
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while (frame := read_frame(stdin)) is not None and os.getppid() == parent:
        try:
            write_frame(stdout, encode_reply(answer(decode_job(frame), parent)))
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main()
