"""``kvengine serve``: an owner of a directory and nothing else."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from kvengine.cli.exits import USAGE, Exit
from kvengine.cli.tool import Tool, opening, tool_command
from kvengine.passwords import without_passwords
from kvengine.postgres.address import is_postgres

_LOOK = 1.0
"""Seconds between two looks at who owns the directory."""


@click.command()
@click.argument("path", required=False)
@tool_command
def command(tool: Tool, path: str | None) -> None:
    """Own a directory, and serve the processes that share it. Ctrl-C or SIGTERM ends it.

    They use kvengine.connect(PATH), or kvengine.open(PATH, share=True). If another process owns the
    directory, this one stands by, and takes over when that ends.
    """
    address = tool.address if path is None else path
    if is_postgres(address):
        raise Exit(USAGE, f"serve takes a directory, not {without_passwords(address)}")
    import kvengine
    from kvengine.inspection.escape import safe

    with ended_by_signal() as ended, opening(address), kvengine.open(address, share=True) as store:
        told = 0
        while not ended.is_set():
            owner = store.owner_pid
            if owner != told:
                does = " and serves it" if owner == os.getpid() else "; standing by"
                click.echo(f"process {owner} owns {safe(store.path)}{does}")
                told = owner
            ended.wait(_LOOK)


@contextmanager
def ended_by_signal() -> Iterator[threading.Event]:
    """Give what SIGINT and SIGTERM set, until the block ends."""
    ended = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, lambda *_: ended.set())
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
