"""Copies of database directories, and how much of a disk they take."""

from __future__ import annotations

import errno
import os
import shutil


def copy(source: str, target: str) -> None:
    """Copy a closed database; holes stay holes, for the stores that preallocate."""
    os.makedirs(target)
    for item in os.scandir(source):
        path = os.path.join(target, item.name)
        if item.is_dir():
            copy(item.path, path)
        elif item.is_file():
            _copy_file(item.path, path)


def _copy_file(source: str, target: str) -> None:
    with open(source, "rb", buffering=0) as reader, open(target, "wb", buffering=0) as writer:
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        offset = 0
        while offset < size:
            try:
                offset = os.lseek(reader.fileno(), offset, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break  # nothing but a hole is left
            end = os.lseek(reader.fileno(), offset, os.SEEK_HOLE)
            while offset < end:
                offset += os.copy_file_range(
                    reader.fileno(), writer.fileno(), end - offset, offset, offset
                )


def disk_use(directory: str) -> int:
    """Bytes that the directory occupies, preallocated space included.

    Files may come and go meanwhile: one that is gone counts nothing.
    """
    total = 0
    for folder, _folders, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def remove(directory: str) -> None:
    """Remove a directory and all in it."""
    shutil.rmtree(directory)
