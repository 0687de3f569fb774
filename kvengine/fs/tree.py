"""Paths and names of the file system in memory: what the system calls do to directories.

Knows neither threads nor open files. Errors are those of Linux.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .directory import DirectoryPath
from .inodes import DirectoryNode, FileNode, Node

if TYPE_CHECKING:
    from random import Random


def os_error(code: int, path: str) -> OSError:
    """The subclass of `OSError` that belongs to an errno."""
    return OSError(code, os.strerror(code), str(path))


def _parts(path: str) -> list[str]:
    """Relative paths begin at the root, and nothing lies above it."""
    if not path:
        raise os_error(errno.ENOENT, path)
    return [part for part in posixpath.normpath(path).split("/") if part not in ("", ".", "..")]


class Tree:
    """A root directory and everything below it."""

    def __init__(self, root: DirectoryNode | None = None) -> None:
        self.root: DirectoryNode = root or DirectoryNode()

    def _start(self, path: str) -> tuple[Node, list[str]]:
        """The node at which a path begins, and the names from there."""
        if isinstance(path, DirectoryPath) and isinstance(path.anchor, DirectoryNode):
            return path.anchor, _parts(path.name)
        return self.root, _parts(path)

    def node(self, path: str) -> Node:
        return self._walk(path, *self._start(path))

    def _walk(self, path: str, node: Node, parts: list[str]) -> Node:
        for part in parts:
            if isinstance(node, FileNode):
                raise os_error(errno.ENOTDIR, path)
            if part not in node.entries:
                raise os_error(errno.ENOENT, path)
            node = node.entries[part]
        return node

    def find(self, path: str) -> Node | None:
        try:
            return self.node(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def file(self, path: str) -> FileNode:
        node = self.node(path)
        if isinstance(node, DirectoryNode):
            raise os_error(errno.EISDIR, path)
        return node

    def directory(self, path: str) -> DirectoryNode:
        node = self.node(path)
        if isinstance(node, FileNode):
            raise os_error(errno.ENOTDIR, path)
        return node

    def create(self, path: str) -> FileNode:
        directory, name = self._free_name(path)
        node = FileNode()
        directory.put(name, node)
        return node

    def rename(self, source: str, target: str) -> None:
        node = self.node(source)
        old_directory, old_name = self._name(source)
        directory, name = self._name(target)
        replaced = directory.entries.get(name)
        if replaced is node:
            return
        if isinstance(node, DirectoryNode):
            if _parts(target)[: len(_parts(source))] == _parts(source):
                raise os_error(errno.EINVAL, target)
            if isinstance(replaced, FileNode):
                raise os_error(errno.ENOTDIR, target)
            if replaced is not None and replaced.entries:
                raise os_error(errno.ENOTEMPTY, target)
        elif isinstance(replaced, DirectoryNode):
            raise os_error(errno.EISDIR, target)
        directory.put(name, node)
        old_directory.put(old_name, None)

    def link(self, source: str, target: str) -> None:
        node = self.node(source)
        directory, name = self._free_name(target)
        if isinstance(node, DirectoryNode):
            raise os_error(errno.EPERM, source)
        directory.put(name, node)

    def unlink(self, path: str) -> None:
        self.file(path)
        directory, name = self._name(path)
        directory.put(name, None)

    def rmdir(self, path: str) -> None:
        if self.directory(path).entries:
            raise os_error(errno.ENOTEMPTY, path)
        directory, name = self._name(path)
        directory.put(name, None)

    def makedirs(self, path: str) -> bool:
        """Whether anything had to be created."""
        created = False
        node, parts = self._start(path)
        for part in parts:
            if isinstance(node, FileNode):
                raise os_error(errno.ENOTDIR, path)
            if part not in node.entries:
                node.put_durably(part, DirectoryNode())
                created = True
            node = node.entries[part]
        if isinstance(node, FileNode):
            raise os_error(errno.EEXIST, path)
        return created

    def file_paths(self) -> Iterator[str]:
        """The absolute paths of all files, in no order."""
        directories = [("", self.root)]
        while directories:
            prefix, directory = directories.pop()
            for name, node in directory.entries.items():
                if isinstance(node, DirectoryNode):
                    directories.append((f"{prefix}/{name}", node))
                else:
                    yield f"{prefix}/{name}"

    def after_power_cut(self, rng: Random | None) -> Tree:
        """The tree that the next mount finds, all of it durable, sharing no node with this one.

        Names of one file still name one file. A directory that was renamed shows under one of its
        names only: no disk has two.
        """
        files: dict[FileNode, FileNode] = {}
        seen = {self.root}

        def image(directory: DirectoryNode) -> DirectoryNode:
            entries: dict[str, Node] = {}
            for name, node in directory.after_power_cut(rng).items():
                if isinstance(node, FileNode):
                    if node not in files:
                        files[node] = node.after_power_cut(rng)
                    entries[name] = files[node]
                elif node not in seen:
                    seen.add(node)
                    entries[name] = image(node)
            return DirectoryNode(entries)

        return Tree(image(self.root))

    def _name(self, path: str) -> tuple[DirectoryNode, str]:
        """The directory that holds a name, or would; EBUSY for a start, which has no name."""
        start, parts = self._start(path)
        if not parts:
            raise os_error(errno.EBUSY, path)
        directory = self._walk(path, start, parts[:-1])
        if isinstance(directory, FileNode):
            raise os_error(errno.ENOTDIR, path)
        return directory, parts[-1]

    def _free_name(self, path: str) -> tuple[DirectoryNode, str]:
        if self.find(path) is not None:
            raise os_error(errno.EEXIST, path)
        return self._name(path)
