"""What every file system promises, the real one and those that stand in for it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kvengine.fs import DiskFileSystem, FaultyFileSystem, FileSystem, MemoryFileSystem


@pytest.fixture(params=["disk", "memory", "faulty"])
def fs(request: pytest.FixtureRequest) -> FileSystem:
    makers: dict[str, Callable[[], FileSystem]] = {
        "disk": DiskFileSystem,
        "memory": MemoryFileSystem,
        "faulty": lambda: FaultyFileSystem(MemoryFileSystem()),
    }
    return makers[request.param]()


@pytest.fixture
def root(fs: FileSystem, tmp_path: Path) -> str:
    path = str(tmp_path / "root")
    fs.makedirs(path)
    return path


def put(fs: FileSystem, path: str, data: bytes = b"") -> None:
    file = fs.create(path)
    file.write(data)
    file.close()


def test_write_goes_to_the_position(fs: FileSystem, root: str) -> None:
    """Writes follow one another, wherever `seek` put the first, and a gap reads as zeros."""
    file = fs.create(f"{root}/a")
    file.write(b"hello ")
    file.write(bytearray(b"wor"))
    file.write(memoryview(b"--ld--")[2:4])
    file.write(b"")
    assert (file.position(), file.size()) == (11, 11)
    file.seek(2)
    file.write(b"LL")
    assert file.position() == 4
    file.seek(13)
    file.write(b"!")
    assert file.pread(100, 0) == b"heLLo world\0\0!"
    file.seek(50)
    file.write(b"")
    assert file.size() == 14


def test_pread_is_short_only_at_the_end(fs: FileSystem, root: str) -> None:
    """`pread` returns what is asked for, less at the end, nothing beyond; the position stays."""
    file = fs.create(f"{root}/a")
    file.write(b"0123456789")
    assert file.pread(3, 4) == b"456"
    assert file.pread(3, 8) == b"89"
    assert file.pread(3, 10) == file.pread(3, 11) == file.pread(0, 0) == b""
    assert file.position() == 10


def test_pread_of_an_absurd_length_takes_no_memory(fs: FileSystem, root: str) -> None:
    """A length read from damaged bytes costs no more than the file is long."""
    file = fs.create(f"{root}/a")
    file.write(b"x" * 10)
    assert file.pread(1 << 60, 4) == b"x" * 6
    assert file.pread(1 << 60, 1 << 50) == b""


def test_a_mapped_file_reads_as_before(fs: FileSystem, root: str) -> None:
    """`map` changes where `pread` reads, and nothing of what it returns or refuses."""
    file = fs.create(f"{root}/a")
    file.write(b"0123456789")
    file.close()
    fs.create(f"{root}/empty").close()
    for path, content in ((f"{root}/a", b"0123456789"), (f"{root}/empty", b"")):
        file = fs.open(path)
        file.map()
        fs.unlink(path)
        assert file.pread(1 << 60, 0) == content and file.size() == len(content)
        assert file.pread(3, 8) == content[8:11]
        assert file.pread(3, 10) == file.pread(3, 1 << 50) == file.pread(0, 0) == b""
        for length, offset in ((-1, 0), (1, -1)):
            with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
                file.pread(length, offset)
        file.close()
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            file.pread(1, 0)


def test_truncate_cuts_and_extends(fs: FileSystem, root: str) -> None:
    """`truncate` sets the size, fills with zeros and leaves the position."""
    file = fs.create(f"{root}/a")
    file.write(b"abcdef")
    file.truncate(2)
    assert (file.size(), file.position()) == (2, 6)
    file.truncate(4)
    assert file.pread(10, 0) == b"ab\0\0"


def test_allocate_keeps_what_is_there(fs: FileSystem, root: str) -> None:
    """Allocated space reads as zeros; bytes, position and a greater size stay."""
    file = fs.create(f"{root}/a")
    file.write(b"abc")
    file.allocate(1, 4)
    assert (file.pread(10, 0), file.position()) == (b"abc\0\0", 3)
    file.allocate(0, 2)
    assert file.pread(10, 0) == b"abc\0\0"
    file.write(b"d")
    assert file.pread(10, 0) == b"abcd\0"
    for offset, length in ((0, 0), (-1, 1), (0, -1)):
        with pytest.raises(OSError, match=f"Errno {errno.EINVAL}]"):
            file.allocate(offset, length)


def test_a_file_opened_to_read_cannot_be_changed(fs: FileSystem, root: str) -> None:
    """Every call that would change a file opened by `open` raises `OSError`."""
    put(fs, f"{root}/a", b"abc")
    file = fs.open(f"{root}/a")
    changes: list[Callable[[], None]] = [
        lambda: file.write(b"x"),
        lambda: file.truncate(0),
        lambda: file.allocate(0, 10),
    ]
    for change in changes:
        with pytest.raises(OSError, match=f"Errno ({errno.EBADF}|{errno.EINVAL})]"):
            change()
    file.sync()
    assert file.pread(10, 0) == b"abc"


def test_open_write_keeps_the_content(fs: FileSystem, root: str) -> None:
    """`open_write` neither truncates nor appends: the position is 0."""
    put(fs, f"{root}/a", b"abc")
    file = fs.open_write(f"{root}/a")
    assert file.position() == 0
    file.write(b"X")
    file.datasync()
    assert fs.read_bytes(f"{root}/a") == b"Xbc"


def test_close_is_idempotent_and_final(fs: FileSystem, root: str) -> None:
    """After `close` every other call raises EBADF."""
    file = fs.create(f"{root}/a")
    file.close()
    file.close()
    for call in (
        lambda: file.write(b"x"),
        lambda: file.pread(1, 0),
        file.size,
        file.position,
        lambda: file.seek(0),
        file.sync,
        file.datasync,
    ):
        with pytest.raises(OSError, match=f"Errno {errno.EBADF}]"):
            call()


def test_names(fs: FileSystem, root: str) -> None:
    """`listdir` is in order; `exists`, `isdir`, `size` and `read_bytes` tell what is there."""
    for name in ("b", "a", "c"):
        put(fs, f"{root}/{name}", name.encode() * 3)
    fs.makedirs(f"{root}/d/e")
    fs.makedirs(f"{root}/d")
    assert fs.listdir(root) == ["a", "b", "c", "d"]
    assert [fs.exists(f"{root}/{name}") for name in ("a", "d/e", "x")] == [True, True, False]
    assert [fs.isdir(f"{root}/{name}") for name in ("d", "a", "x/y")] == [True, False, False]
    assert fs.size(f"{root}/a") == 3
    assert fs.read_bytes(f"{root}/b") == b"bbb"
    fs.unlink(f"{root}/a")
    fs.rmdir(f"{root}/d/e")
    fs.sync_dir(root)
    assert fs.listdir(root) == ["b", "c", "d"]


def test_rename_replaces(fs: FileSystem, root: str) -> None:
    """The target shows the source's file; who had the replaced file open goes on reading it."""
    put(fs, f"{root}/new", b"new")
    put(fs, f"{root}/old", b"old")
    reader = fs.open(f"{root}/old")
    fs.rename(f"{root}/new", f"{root}/old")
    assert fs.listdir(root) == ["old"]
    assert fs.read_bytes(f"{root}/old") == b"new"
    assert reader.pread(10, 0) == b"old"
    fs.rename(f"{root}/old", f"{root}/old")
    assert fs.listdir(root) == ["old"]


def test_rename_of_a_directory(fs: FileSystem, root: str) -> None:
    """A directory moves with its files, onto an empty directory at most, never into itself."""
    fs.makedirs(f"{root}/a/b")
    fs.makedirs(f"{root}/empty")
    put(fs, f"{root}/a/f", b"x")
    fs.rename(f"{root}/a", f"{root}/empty")
    assert fs.listdir(f"{root}/empty") == ["b", "f"]
    with pytest.raises(OSError, match=f"Errno {errno.EINVAL}]"):
        fs.rename(f"{root}/empty", f"{root}/empty/b/c")


def test_links_share_one_file(fs: FileSystem, root: str) -> None:
    """A linked file has two names and one content, which outlives either name."""
    put(fs, f"{root}/a", b"abc")
    fs.link(f"{root}/a", f"{root}/b")
    file = fs.open_write(f"{root}/b")
    file.write(b"X")
    assert fs.read_bytes(f"{root}/a") == b"Xbc"
    fs.rename(f"{root}/a", f"{root}/b")
    assert fs.listdir(root) == ["a", "b"]
    fs.unlink(f"{root}/a")
    assert fs.read_bytes(f"{root}/b") == b"Xbc"


@pytest.mark.parametrize(
    ("call", "error", "code"),
    [
        ("open missing", FileNotFoundError, errno.ENOENT),
        ("open_write missing", FileNotFoundError, errno.ENOENT),
        ("read_bytes missing", FileNotFoundError, errno.ENOENT),
        ("size missing", FileNotFoundError, errno.ENOENT),
        ("unlink missing", FileNotFoundError, errno.ENOENT),
        ("listdir missing", FileNotFoundError, errno.ENOENT),
        ("sync_dir missing", FileNotFoundError, errno.ENOENT),
        ("rename missing file", FileNotFoundError, errno.ENOENT),
        ("link missing other", FileNotFoundError, errno.ENOENT),
        ("create missing/file", FileNotFoundError, errno.ENOENT),
        ("rename file missing/file", FileNotFoundError, errno.ENOENT),
        ("create file", FileExistsError, errno.EEXIST),
        ("create full", FileExistsError, errno.EEXIST),
        ("link file full", FileExistsError, errno.EEXIST),
        ("makedirs file", FileExistsError, errno.EEXIST),
        ("open full", IsADirectoryError, errno.EISDIR),
        ("open_write full", IsADirectoryError, errno.EISDIR),
        ("read_bytes full", IsADirectoryError, errno.EISDIR),
        ("lock full", IsADirectoryError, errno.EISDIR),
        ("unlink full", IsADirectoryError, errno.EISDIR),
        ("rename file full", IsADirectoryError, errno.EISDIR),
        ("rename full file", NotADirectoryError, errno.ENOTDIR),
        ("listdir file", NotADirectoryError, errno.ENOTDIR),
        ("sync_dir file", NotADirectoryError, errno.ENOTDIR),
        ("rmdir file", NotADirectoryError, errno.ENOTDIR),
        ("open file/below", NotADirectoryError, errno.ENOTDIR),
        ("create file/below", NotADirectoryError, errno.ENOTDIR),
        ("makedirs file/below/that", NotADirectoryError, errno.ENOTDIR),
        ("link full other", PermissionError, errno.EPERM),
        ("rmdir full", OSError, errno.ENOTEMPTY),
        ("rename other full", OSError, errno.ENOTEMPTY),
    ],
)
def test_errors_are_those_of_the_system(
    fs: FileSystem, root: str, call: str, error: type[OSError], code: int
) -> None:
    """What fails raises the subclass of `OSError` and the errno of the operating system."""
    fs.makedirs(f"{root}/full")
    put(fs, f"{root}/full/file")
    put(fs, f"{root}/file")
    if call.startswith("rename other"):
        fs.makedirs(f"{root}/other")
    method, *names = call.split()
    with pytest.raises(error) as caught:
        getattr(fs, method)(*(f"{root}/{name}" for name in names))
    assert caught.value.errno == code


def test_lock_is_exclusive_until_released(fs: FileSystem, root: str) -> None:
    """The second `lock` gets None until the first is released; `write` replaces the text."""
    lock = fs.lock(f"{root}/LOCK")
    assert lock is not None
    lock.write(b"pid 12345")
    lock.write(b"pid 7")
    assert fs.lock(f"{root}/LOCK") is None
    assert fs.read_bytes(f"{root}/LOCK") == b"pid 7"
    lock.release()
    lock.release()
    again = fs.lock(f"{root}/LOCK")
    assert again is not None
    assert fs.read_bytes(f"{root}/LOCK") == b"pid 7"
    lock.release()
    assert fs.lock(f"{root}/LOCK") is None


def test_the_lock_of_a_directory_is_exclusive(fs: FileSystem, root: str) -> None:
    """`lock_dir` holds a directory under each of its paths, and none of the files in it."""
    fs.makedirs(f"{root}/d")
    lock = fs.lock_dir(f"{root}/d")
    assert lock is not None
    assert fs.lock_dir(f"{root}/d") is None
    assert fs.open_dir(f"{root}/d").lock_dir(f"{root}/d") is None
    assert fs.lock(f"{root}/d/LOCK") is not None
    assert fs.lock_dir(root) is not None
    fs.rename(f"{root}/d", f"{root}/e")
    assert fs.lock_dir(f"{root}/e") is None
    with pytest.raises(OSError, match=r"Errno \d+]"):
        lock.write(b"x")
    lock.release()
    lock.release()
    assert fs.lock_dir(f"{root}/e") is not None


def test_a_lock_knows_whether_it_is_in_place(fs: FileSystem, root: str) -> None:
    """`in_place` is False once what is locked was moved, removed or replaced, else True."""
    fs.makedirs(f"{root}/d")
    home = fs.open_dir(f"{root}/d")
    place, file = home.lock_dir(f"{root}/d"), home.lock(f"{root}/d/LOCK")
    assert place is not None and file is not None
    assert (place.in_place(), file.in_place()) == (True, True)
    fs.rename(f"{root}/d", f"{root}/aside")
    assert (place.in_place(), file.in_place()) == (False, True)
    fs.makedirs(f"{root}/d")
    put(fs, f"{root}/d/LOCK")
    assert (place.in_place(), file.in_place()) == (False, True)
    fs.unlink(f"{root}/aside/LOCK")
    assert not file.in_place()
    put(fs, f"{root}/aside/LOCK")
    assert not file.in_place()
    fs.unlink(f"{root}/d/LOCK")
    fs.rmdir(f"{root}/d")
    fs.rename(f"{root}/aside", f"{root}/d")
    assert place.in_place()


def test_a_lock_ends_with_its_last_reference(fs: FileSystem, root: str) -> None:
    """A lock that nobody holds any more is free."""
    lock = fs.lock(f"{root}/LOCK")
    assert lock is not None
    del lock
    assert fs.lock(f"{root}/LOCK") is not None


# --- an open directory


def moved(fs: FileSystem, root: str) -> FileSystem:
    """Open root/d with a file "old" in it, then rename it to root/e and make another root/d."""
    fs.makedirs(f"{root}/d")
    put(fs, f"{root}/d/old", b"old")
    home = fs.open_dir(f"{root}/d")
    fs.rename(f"{root}/d", f"{root}/e")
    fs.makedirs(f"{root}/d")
    put(fs, f"{root}/d/other", b"other")
    return home


def test_an_open_directory_stays_the_same_one(fs: FileSystem, root: str) -> None:
    """P7: after a rename every call goes to the directory that was opened, none to its successor.

    An owner that looked its names up by path wrote into the successor's files.
    """
    home = moved(fs, root)
    d = f"{root}/d"
    file = home.create(f"{d}/new")
    file.write(b"new")
    file.close()
    assert home.listdir(d) == fs.listdir(f"{root}/e") == ["new", "old"]
    home.link(f"{d}/new", f"{d}/linked")
    home.rename(f"{d}/new", f"{d}/old")
    home.open_write(f"{d}/old").write(b"N")
    assert home.read_bytes(f"{d}/linked") == fs.read_bytes(f"{root}/e/old") == b"New"
    assert home.open(f"{d}/old").pread(9, 0) == b"New" and home.size(f"{d}/old") == 3
    assert home.exists(f"{d}/old") and not home.exists(f"{d}/other")
    assert home.isdir(d) and not home.isdir(f"{d}/old")
    home.sync_dir(d)
    home.unlink(f"{d}/linked")
    assert home.open_dir(d).listdir(d) == ["old"]
    assert fs.listdir(d) == ["other"]


def test_directories_below_an_open_one(fs: FileSystem, root: str) -> None:
    """`makedirs`, `rmdir` and what lies deeper begin at the open directory too."""
    home = moved(fs, root)
    home.makedirs(f"{root}/d/x/y")
    home.makedirs(f"{root}/d/x/y")
    put(home, f"{root}/d/x/y/z", b"z")
    assert home.listdir(f"{root}/d/x/y") == fs.listdir(f"{root}/e/x/y") == ["z"]
    home.rename(f"{root}/d/x/y", f"{root}/d/w")
    home.rmdir(f"{root}/d/x")
    assert fs.listdir(f"{root}/e") == ["old", "w"]
    assert fs.listdir(f"{root}/d") == ["other"]


def test_paths_outside_an_open_directory_are_those_of_everybody(fs: FileSystem, root: str) -> None:
    """A checkpoint goes from the open directory to another place, also one of a similar name."""
    home = moved(fs, root)
    home.makedirs(f"{root}/d.copy")
    home.link(f"{root}/d/old", f"{root}/d.copy/a")
    home.rename(f"{root}/d.copy", f"{root}/copy")
    home.sync_dir(root)
    assert fs.read_bytes(f"{root}/copy/a") == home.read_bytes(f"{root}/e/old") == b"old"


def test_errors_below_an_open_directory_name_the_path(fs: FileSystem, root: str) -> None:
    """What an error names is the path that the caller gave, never what is left of it."""
    home = moved(fs, root)
    missing = f"{root}/d/missing"
    for call in (home.open, home.open_write, home.read_bytes, home.size, home.unlink, home.listdir):
        with pytest.raises(FileNotFoundError) as caught:
            call(missing)
        assert caught.value.filename == missing
    with pytest.raises(FileNotFoundError, match=missing):
        home.rename(missing, f"{root}/d/x")
    with pytest.raises(FileExistsError) as taken:
        home.create(f"{root}/d/old")
    assert (type(taken.value.filename), taken.value.filename) == (str, f"{root}/d/old")
    for error, path in ((FileNotFoundError, missing), (NotADirectoryError, f"{root}/e/old")):
        with pytest.raises(error):
            fs.open_dir(path)
