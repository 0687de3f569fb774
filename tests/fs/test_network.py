"""Network file systems are told from local ones, by the mounts that Linux states."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kvengine.fs.network import NETWORK, NETWORK_FUSE, network_filesystem

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
23 22 0:21 / /proc rw,nosuid shared:12 - proc proc rw
24 22 0:44 / /srv/share rw,relatime shared:20 master:3 - nfs4 server:/export rw,vers=4.2
25 24 8:17 / /srv/share/local rw - xfs /dev/sdb1 rw
26 22 0:45 / /srv/with\040space\134and\011more rw shared:2 - cifs //server/share rw
27 22 0:46 / /home/alice/remote rw - fuse.sshfs alice@host: rw,user_id=1000
28 22 8:33 / /media/disk rw - fuseblk /dev/sdc1 rw
29 22 0:47 / /twice rw - nfs server:/one rw
30 29 8:49 / /twice rw - ext4 /dev/sdd1 rw
31 22 0:48 / /covered rw - ext4 /dev/sde1 rw
32 31 0:49 / /covered rw - 9p hostshare rw,trans=virtio
33 22 0:50 / /überall rw - ceph mon:/ rw
34 22 0:51 / /tagless rw - fuse.nfs-by-name x rw
"""
MOUNTS += "35 22 0:52 / /next\x85line\r\x0c rw - lustre x rw\n"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", None),
        ("/var/lib/db", None),
        ("/srv/share", "nfs4"),
        ("/srv/share/", "nfs4"),
        ("/srv/share/deep/db", "nfs4"),
        ("/srv/shared", None),
        ("/srv/share/local/db", None),
        ("/srv/share/localdb", "nfs4"),
        ("/srv/with space\\and\tmore/db", "cifs"),
        ("/srv/with", None),
        ("/home/alice/remote/db", "fuse.sshfs"),
        ("/media/disk/db", None),
        ("/twice/db", None),
        ("/covered/db", "9p"),
        ("/überall/db", "ceph"),
        ("/srv/share/../share/x/../db", "nfs4"),
        ("/tagless/db", None),
        ("/next\x85line\r\x0c/db", "lustre"),
    ],
)
def test_the_nearest_mount_decides(path: str, kind: str | None) -> None:
    """The longest mount point above the path, unescaped; the last one if several cover it."""
    assert network_filesystem(path, MOUNTS) == kind
    assert network_filesystem(Path(path), MOUNTS) == kind


def test_links_are_followed(tmp_path: Path) -> None:
    """What counts is where the directory is, not by which path one comes; it need not exist yet."""
    real = os.path.realpath(tmp_path)
    mounts = f"1 0 8:1 / / rw - ext4 x rw\n2 1 0:9 / {real}/remote rw - nfs x rw\n"
    (tmp_path / "remote").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "remote")
    assert network_filesystem(tmp_path / "link" / "db", mounts) == "nfs"
    assert network_filesystem(tmp_path / "db", mounts) is None


def test_a_relative_path_is_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mounts = f"2 1 0:9 / {os.path.realpath(tmp_path)} rw - smb3 x rw\n"
    assert network_filesystem("db", mounts) == "smb3"


@pytest.mark.parametrize(
    "mounts",
    ["", "\n", "nonsense", "1 0 8:1 / /", "1 0 8:1 / / rw -", "1 2 3 4 5 6 7 - ", " - nfs x rw"],
)
def test_what_tells_nothing_is_not_known(mounts: str) -> None:
    """An empty or strange text is no error."""
    assert network_filesystem("/db", mounts) is None


def test_every_type_is_known() -> None:
    """Each alone, and behind ``fuse.`` those that programs serve."""
    for kind in NETWORK | {f"fuse.{name}" for name in NETWORK_FUSE}:
        assert network_filesystem("/db", f"1 0 0:1 / / rw shared:1 - {kind} x rw") == kind
    for kind in ("ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuse", "fuseblk", "sshfs"):
        assert network_filesystem("/db", f"1 0 0:1 / / rw shared:1 - {kind} x rw") is None


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mounts of this process are read; elsewhere than on Linux nothing is known."""
    assert network_filesystem("/proc") is None
    monkeypatch.setattr("kvengine.fs.network.MOUNTS", str(tmp_path / "mountinfo"))
    assert network_filesystem("/db") is None  # there is no such file
    (tmp_path / "mountinfo").write_bytes(
        b"1 0 0:1 / / rw - nfs x rw\n2 1 0:2 / /\xff rw - ext4 x rw\n"
    )
    assert network_filesystem("/db") == "nfs"
    assert network_filesystem(os.fsdecode(b"/\xff/db")) is None
    monkeypatch.setattr(sys, "platform", "darwin")
    assert network_filesystem("/db") is None
