"""tools/segment_dump.py: what it shows of a sound file, and that a damaged one never throws it."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from crc32c import crc32c

import kvengine
from kvengine.inspection import escape
from kvengine.inspection.dump import segment as inspection
from kvengine.storage.clock import ManualClock

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "segment_dump.py"


def load_main() -> Callable[[list[str]], int]:
    spec = importlib.util.spec_from_file_location("segment_dump", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[[list[str]], int] = module.main
    return main


MAIN = load_main()


class Shown(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def dump(capsys: pytest.CaptureFixture[str]) -> Callable[..., Shown]:
    """Run the tool in this process: an exception would fail the test."""

    def run(*arguments: object) -> Shown:
        code = MAIN([str(one) for one in arguments])
        return Shown(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segment apart from any directory: plain, expiring, large rows, tombstones, evil names."""
    directory = tmp_path_factory.mktemp("db")
    with kvengine.open(
        directory / "db", background="none", clock=ManualClock(), chunk_size=1024, block_size=512
    ) as db:
        for name in ("a", "b", "zone", "zonk"):
            db.set("svc", name, "n", b"old")
        db.flush()
        db.set("svc", "a\x1b[31mred", "n\u202eame", b"\x00\xff")
        db.set("svc", "a", "text", b"hello", ttl=60)
        db.set("svc", "a", "empty", b"")
        db.clear("svc", "b", "n")
        db.expire("svc", "a", ttl=30)
        for number in range(20):
            db.set("svc", "large", f"k{number:02}", bytes([65 + number]) * 300)
        for number in range(40):
            db.set("svc", f"o{number:02}", "n", b"v" * 40)
        db.clear_range("svc", "zone", "zoo")
        db.flush()
    found = sorted(directory.glob("db/*.segment"))[-1]
    return Path(shutil.copy(found, tmp_path_factory.mktemp("alone") / "file.segment"))


def test_it_shows_every_part_of_a_sound_file(dump: Callable[..., Shown], segment: Path) -> None:
    """Footer, properties, index, blocks, rows with sizes and expiry, range tombstones."""
    shown = dump(segment, "--all", "--verify")
    assert shown.code == 0 and shown.err == ""
    lines = shown.out
    for part in ("footer\n", "  filter ", "properties\n", "blocks of rows: ", "rows\n"):
        assert part in lines
    assert '"text" = "hello" (5 bytes, expires 2023-11-14T22:14:20' in lines
    assert '"empty" = "" (0 bytes)' in lines
    assert '"n": tombstone' in lines
    assert '("svc", "a")' in lines and "expires 2023-11-14T22:13:50" in lines
    assert '"k19" = "TTTT' in lines and "300 bytes" in lines and "chunks" in lines
    assert 'from ("svc", "zone") to before ("svc", "zoo"),\n    stamp ' in lines
    assert lines.endswith("verified: every checksum holds\n")


def test_msgpack_reads_the_same(dump: Callable[..., Shown], segment: Path, tmp_path: Path) -> None:
    """Rows decoded by somebody else's implementation: the same text, and a line that says so."""
    own, other = dump(segment, "--all"), dump(segment, "--all", "--msgpack")
    assert other.code == 0 and other.err == ""
    assert re.fullmatch(re.escape(own.out) + r"rows decoded by msgpack \d+\.\d+\.\d+\n", other.out)
    damaged = tmp_path / "damaged.segment"
    data = bytearray(segment.read_bytes())
    data[40] ^= 1
    damaged.write_bytes(data)
    assert dump(damaged, "--all", "--msgpack").code == 1


def test_without_msgpack_the_option_says_what_it_needs(
    dump: Callable[..., Shown], segment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package is no dependency of kvengine: the rest of the tool works without it."""
    monkeypatch.setitem(sys.modules, "msgpack", None)
    shown = dump(segment, "--all", "--msgpack")
    assert shown.code == 2 and shown.out == ""
    assert shown.err == "segment_dump: --msgpack needs the msgpack package: pip install msgpack\n"
    assert dump(segment, "--all").code == 0


def test_a_segment_of_format_1_is_refused(dump: Callable[..., Shown], tmp_path: Path) -> None:
    """It is not damaged: another release reads it."""
    path = tmp_path / "000005.segment"
    head = b"KVESEG\r\n" + struct.pack("<IQ8x", 1, 99)
    path.write_bytes(head + struct.pack("<I", crc32c(head)) + bytes(100))
    shown = dump(path)
    assert shown.code == 2 and shown.out == ""
    assert "with kvengine 0.1.0 run 'kvengine export'" in shown.err


def test_names_and_values_are_escaped(dump: Callable[..., Shown], segment: Path) -> None:
    """Nothing stored reaches a terminal raw: neither ANSI sequences nor changes of direction."""
    out = dump(segment, "--all").out
    assert '"a\\x1b[31mred"' in out
    assert "\"n\\u202eame\" = x'00ff' (2 bytes)" in out
    assert all(character.isprintable() or character == "\n" for character in out)


def test_the_escape_tells_names_apart() -> None:
    assert escape.text('a"b\\') == '"a\\"b\\\\"'
    assert escape.text("\0\x7f\x85\ud800\u2066\u2028\U000e0001") == (
        '"\\x00\\x7f\\x85\\ud800\\u2066\\u2028\\U000e0001"'
    )
    assert escape.text("é日") == '"é日"'
    assert escape.value("é".encode()) == '"é"'
    assert escape.value(b"\x1b[0m") == "x'1b5b306d'"
    assert escape.moment(1 << 63) == f"{1 << 63} microseconds"


def test_rows_are_limited(dump: Callable[..., Shown], segment: Path) -> None:
    """Without --rows none, with it so many, and then a sign that there are more."""
    assert "rows\n" not in dump(segment).out.replace("blocks of rows", "")
    out = dump(segment, "--rows", 2).out
    rows = out[out.index("\nrows\n") :]
    assert rows.count("version ") == 2 and rows.endswith("  …\n")


def test_wrong_usage_ends_with_two(
    dump: Callable[..., Shown], segment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options that make no sense, a missing file, a directory: 2, and one line that says which."""
    for arguments in ([], ["--rows", "-1", str(segment)], ["--rows", "1", "--all", str(segment)]):
        with pytest.raises(SystemExit) as ended:
            MAIN(arguments)
        assert ended.value.code == 2
    capsys.readouterr()
    for path in (tmp_path / "absent\x1b[0m", tmp_path):
        shown = dump(path)
        assert shown.code == 2 and shown.err.startswith("segment_dump: cannot read ")
        assert "\x1b" not in shown.err and shown.err.count("\n") == 1


def test_it_runs_as_a_script_on_the_file_alone(segment: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(SCRIPT), str(segment), "--verify"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
        cwd=segment.parent,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "verified" in run.stdout


@pytest.mark.slow
def test_every_flipped_byte_is_found_and_none_throws(
    dump: Callable[..., Shown], segment: Path, tmp_path: Path
) -> None:
    """A flip anywhere: --verify ends with 1, says an offset inside the file, shows the rest."""
    sound = segment.read_bytes()
    path = tmp_path / "damaged.segment"
    step = max(1, len(sound) // 400)
    for at in range(0, len(sound), step):
        data = bytearray(sound)
        data[at] ^= 0x40
        path.write_bytes(data)
        shown = dump(path, "--verify", "--all")
        assert shown.code == 1, f"flip at {at} was not found"
        assert "damage at offset " in shown.err


@pytest.mark.slow
def test_every_flip_of_the_fixed_parts_is_found(
    dump: Callable[..., Shown], segment: Path, tmp_path: Path
) -> None:
    """Header, filter, tombstones, index, properties and footer: each byte of them."""
    sound = segment.read_bytes()
    path = tmp_path / "damaged.segment"
    for at in [*range(32), *range(len(sound) - 400, len(sound))]:
        data = bytearray(sound)
        data[at] ^= 1
        path.write_bytes(data)
        shown = dump(path, "--verify", "--all")
        assert shown.code == 1, f"flip at {at} was not found"
        assert '"k19" = "TTTT' in shown.out, f"rows are unreadable after a flip at {at}"


@pytest.mark.parametrize("keep", [0, 1, 31, 32, 33, 200, 2000, -1, -71, -72, -73])
def test_a_cut_file_shows_what_is_left(
    dump: Callable[..., Shown], segment: Path, tmp_path: Path, keep: int
) -> None:
    """Cut anywhere, footer gone: damage is found, and blocks before the cut can still be read."""
    sound = segment.read_bytes()
    path = tmp_path / "cut.segment"
    path.write_bytes(sound[: keep if keep >= 0 else len(sound) + keep])
    shown = dump(path, "--verify", "--all")
    assert shown.code == 1
    if keep == 2000:
        assert '("svc", "a")' in shown.out
    if keep in (-1, -71, -72):
        assert '"k19" = "TTTT' in shown.out and 'to before ("svc", "zoo")' in shown.out


def test_a_block_of_another_file_is_refused(
    dump: Callable[..., Shown], segment: Path, tmp_path: Path
) -> None:
    """Two blocks swapped within a file: sound in themselves, not in their place."""
    sound = segment.read_bytes()
    path = tmp_path / "other.segment"
    path.write_bytes(sound[:32] + bytes(64) + sound[32:])
    assert dump(path, "--verify", "--all").code == 1
    path.write_bytes(b"KVEWAL\r\n" + bytes(4000))
    shown = dump(path, "--all")
    assert shown.code == 1 and "nothing can be read" in shown.out


def test_a_damaged_file_is_closed_with_its_reader(segment: Path, tmp_path: Path) -> None:
    """Without waiting for a collection of cycles.

    The damage found was kept with its traceback, which held the reader and its
    open file: a run over some thousand damaged files ran out of descriptors.
    """
    path = tmp_path / "damaged.segment"
    path.write_bytes(segment.read_bytes()[:-100])
    gc.disable()
    try:
        before = len(os.listdir("/dev/fd"))
        for _ in range(20):
            found = inspection.read(str(path))
            assert list(inspection.describe(found, None)) and found.damage
            del found
            assert inspection.damage(str(path))
        assert len(os.listdir("/dev/fd")) == before
    finally:
        gc.enable()
