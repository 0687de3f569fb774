"""The ```python blocks of a document as programs that check what their comments say.

``expression  # -> value`` says what an expression gives, ``statement  # raises Error``
what a statement raises; over a block, as ``with``, the comment stands on its first
line. A program is the blocks before the first ``##`` heading and those of one section.
Functions named ``test_...`` are called, as pytest would.
"""

from __future__ import annotations

import ast
import builtins
import io
import re
import tokenize
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

_REMARK = re.compile(r"#\s*(->|raises)\s+(.*\S)")


class Block(NamedTuple):
    """A fenced block: the line of its first statement, and its text."""

    line: int
    code: str


def sections(text: str) -> dict[str, list[Block]]:
    """The ```python blocks under each ``##`` heading, "" for what comes before the first."""
    found: dict[str, list[Block]] = {"": []}
    heading, fence, start = "", None, 0
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if fence is None and line.startswith("## "):
            heading = line.removeprefix("## ").strip()
            found[heading] = []
        elif fence is None and line.startswith("```"):
            fence, start = line.removeprefix("```").strip(), number
        elif fence is not None and line == "```":
            if fence == "python":
                code = "\n".join(lines[start : number - 1]) + "\n"
                found[heading].append(Block(start + 1, code))
            fence = None
    if fence is not None:
        raise ValueError(f"the block at line {start} has no end")
    return found


def programs(text: str) -> dict[str, list[Block]]:
    """The program of each section that has one."""
    found = sections(text)
    first = found.pop("")
    own = {heading: first + blocks for heading, blocks in found.items() if blocks}
    return {"": first, **own} if first else own


class Remarks:
    """What the comments say will happen, and which of it has not been seen yet."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._said: dict[int, tuple[str, str]] = {}
        self._left: set[int] = set()

    def run(self, path: Path, blocks: list[Block]) -> None:
        """Run a program. AssertionError where it does not do as its comments say."""
        names = vars(self._module)
        names["__remarks"] = self
        for block in blocks:
            exec(self._compiled(path, block), names)  # noqa: S102 - examples of this repository
            for name in [name for name in names if name.startswith("test_")]:
                names.pop(name)()
            assert not self._left, f"lines {sorted(self._left)}: the remarks were never reached"

    def _compiled(self, path: Path, block: Block) -> Any:
        """The block with its checks; its lines are numbered as in the document."""
        code = "\n" * (block.line - 1) + block.code
        said = {}
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            remark = _REMARK.match(token.string) if token.type == tokenize.COMMENT else None
            if remark is not None:
                said[token.start[0]] = (remark[1], remark[2])
        self._said |= said
        self._left |= said.keys()
        checker = _Checker(dict(said))
        tree = ast.fix_missing_locations(checker.visit(ast.parse(code)))
        assert not checker.said, f"nothing can check the remarks of lines {sorted(checker.said)}"
        return compile(tree, str(path), "exec", dont_inherit=True)

    # --- what the checked code calls

    def shows(self, line: int, value: object) -> None:
        self._left.discard(line)
        expected = self._said[line][1]
        with suppress(ValueError, SyntaxError):  # a repr that is no literal stands for itself
            expected = repr(ast.literal_eval(expected))
        assert repr(value) == expected, f"line {line}: {value!r}, not {expected}"

    def raised(self, line: int, error: BaseException) -> None:
        self._left.discard(line)
        first, *rest = self._said[line][1].split(".")
        wanted = vars(self._module).get(first) or getattr(builtins, first)
        for name in rest:
            wanted = getattr(wanted, name)
        if type(error) is not wanted:
            raise AssertionError(f"line {line}: {error!r}, not {wanted}") from error

    def quiet(self, line: int) -> None:
        raise AssertionError(f"line {line}: nothing was raised, not {self._said[line][1]}")


class _Checker(ast.NodeTransformer):
    """Puts the checks into the code. ``said``: remarks by line, less those that got one."""

    def __init__(self, said: dict[int, tuple[str, str]]) -> None:
        self.said = said

    def visit(self, node: ast.AST) -> Any:
        self.generic_visit(node)
        if not isinstance(node, ast.stmt):
            return node
        line = node.lineno if hasattr(node, "body") else node.end_lineno or node.lineno
        kind, _ = self.said.get(line, ("", ""))
        if kind == "->" and isinstance(node, ast.Expr):
            del self.said[line]
            node.value = _call("shows", line, node.value)
        elif kind == "raises":
            del self.said[line]
            return _raising(line, node)
        return node


def _call(verb: str, line: int, argument: ast.expr | None = None) -> ast.Call:
    check = ast.Attribute(ast.Name("__remarks", ast.Load()), verb, ast.Load())
    arguments = [ast.Constant(line)] if argument is None else [ast.Constant(line), argument]
    return ast.Call(check, arguments, [])


def _raising(line: int, node: ast.stmt) -> ast.Try:
    caught = ast.Expr(_call("raised", line, ast.Name("__error", ast.Load())))
    handler = ast.ExceptHandler(ast.Name("BaseException", ast.Load()), "__error", [caught])
    tried = ast.Try([node], [handler], [ast.Expr(_call("quiet", line))], [])
    return ast.copy_location(tried, node)
