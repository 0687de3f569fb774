"""Whether every generation of a backup could be restored."""

from __future__ import annotations

import os
from collections.abc import Callable

from kvengine.fs.base import FileSystem
from kvengine.inspection.backup.backup import Progress
from kvengine.inspection.backup.files import Damage, NoBackup, at, check, read_generations
from kvengine.inspection.backup.record import StoredFile, record_name


def verify_backup(
    directory: str | os.PathLike[str],
    *,
    fs: FileSystem | None = None,
    progress: Callable[[Progress], object] | None = None,
) -> list[Damage]:
    """Read every file of every generation once; what is damaged, empty for nothing.

    NoBackup where there is no generation. A generation that a backup removes meanwhile (``keep``)
    has no damage.
    """
    disk, place = at(directory, fs)
    every = read_generations(disk, place)
    if not every:
        raise NoBackup(f"{place} holds no backup: give the directory that backups went to")
    needed: dict[StoredFile, list[int]] = {}
    damage = []
    for one in every:
        if one.record is None:
            damage.append(Damage((one.number,), record_name(one.number), one.damage))
            continue
        for file in one.record.files:
            key = StoredFile("", file.stored, file.size, file.xxh3_128)
            needed.setdefault(key, []).append(one.number)
    state = Progress(0, sum(file.size for file in needed))

    def advance(size: int) -> None:
        nonlocal state
        state = state._replace(done=state.done + size)
        if progress is not None:
            progress(state)

    for file, numbers in needed.items():
        problem = check(disk, place, file, advance)
        if problem:
            damage.append(Damage(tuple(numbers), file.stored, problem))
    return _of_those_there(damage, {one.number for one in read_generations(disk, place)})


def _of_those_there(damage: list[Damage], there: set[int]) -> list[Damage]:
    """Damage as far as it is of generations that are still there."""
    left = (
        one._replace(generations=tuple(number for number in one.generations if number in there))
        for one in damage
    )
    return [one for one in left if one.generations]
