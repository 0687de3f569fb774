"""A dump of the wrong kind of file is refused by one sentence that names the right one."""

from __future__ import annotations

from pathlib import Path

import pytest

import kvengine
from kvengine.errors import KVEngineError
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.dump import kinds
from kvengine.inspection.dump.kinds import CURRENT, MANIFEST, SEGMENT, WAL, WrongKind
from tests.inspection.damage_forge import put
from tests.inspection.damage_subjects import Subject, rich


@pytest.fixture(scope="module")
def subject() -> Subject:
    return rich("os")


def path_of(subject: Subject, kind: str) -> str:
    return subject.paths(kind)[0]


@pytest.mark.parametrize("kind", [SEGMENT, WAL, MANIFEST, CURRENT])
def test_each_kind_is_known_by_its_content_under_any_name(subject: Subject, kind: str) -> None:
    fs = subject.fs.copy()
    fs.rename(path_of(subject, kind), "/db/000001.anything")
    assert kinds.kind_of("/db/000001.anything", fs) == kind
    fs.rename("/db/000001.anything", "/db/000001.wal")
    assert kinds.kind_of("/db/000001.wal", fs) == kind


def test_a_damaged_beginning_leaves_the_end_and_the_name(subject: Subject) -> None:
    fs = subject.fs.copy()
    for kind in (SEGMENT, WAL, MANIFEST, CURRENT):
        path = path_of(subject, kind)
        fs.flip(path, 2)
        assert kinds.kind_of(path, fs) == kind
    fs.rename(path_of(subject, SEGMENT), "/db/renamed")
    assert kinds.kind_of("/db/renamed", fs) == SEGMENT
    fs.rename(path_of(subject, WAL), "/db/renamed too")
    assert kinds.kind_of("/db/renamed too", fs) is None


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"KVE", b"#!/bin/sh\n"])
def test_what_nothing_tells_has_no_kind_and_passes(data: bytes) -> None:
    """It may be what is left of any of them: the dump says what can be read."""
    fs = MemoryFileSystem()
    put(fs, "/some file", data)
    assert kinds.kind_of("/some file", fs) is None
    for command in (SEGMENT, WAL, MANIFEST):
        kinds.expect("/some file", command, fs)


def test_the_right_command_passes(subject: Subject) -> None:
    for kind in (SEGMENT, WAL, MANIFEST, CURRENT):
        kinds.expect(path_of(subject, kind), kinds.COMMANDS[kind], subject.fs)


@pytest.mark.parametrize(
    ("kind", "command", "sentence"),
    [
        (SEGMENT, WAL, '"{}" is a segment, not a WAL: use kvengine dump segment "{}"'),
        (WAL, SEGMENT, '"{}" is a WAL, not a segment: use kvengine dump wal "{}"'),
        (MANIFEST, WAL, '"{}" is a manifest, not a WAL: use kvengine dump manifest "{}"'),
        (CURRENT, SEGMENT, '"{}" is CURRENT, not a segment: use kvengine dump manifest "{}"'),
    ],
)
def test_the_wrong_command_is_refused(
    subject: Subject, kind: str, command: str, sentence: str
) -> None:
    path = path_of(subject, kind)
    with pytest.raises(WrongKind) as refused:
        kinds.expect(path, command, subject.fs)
    assert str(refused.value) == sentence.format(path, path)
    assert isinstance(refused.value, KVEngineError)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongKind, match=r"is a directory: name a file in it, or .* verify"):
        kinds.expect(str(tmp_path), WAL)


def test_a_missing_file_is_the_systems_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kinds.expect(str(tmp_path / "absent"), WAL)


def test_names_are_escaped_in_the_sentence(tmp_path: Path) -> None:
    with kvengine.open(tmp_path / "db", background="none"):
        pass
    (path,) = (tmp_path / "db").glob("*.manifest")
    evil = path.rename(tmp_path / "evil\x1b[31m")
    with pytest.raises(WrongKind) as refused:
        kinds.expect(str(evil), WAL)
    assert str(refused.value).isprintable()
