"""What is closed at the end of a ``with`` block, and what its users see of it."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self


class NotAwaited:
    """What ``with`` is for: in an ``async with`` it says so. Type checkers see nothing here."""

    if not TYPE_CHECKING:

        def __aenter__(self) -> NoReturn:
            raise TypeError(
                f"{type(self).__name__} takes `with`, not `async with`: kvengine.aio has the same"
                " names for asyncio"
            )

        def __aexit__(self, *error: Any) -> NoReturn:
            self.__aenter__()


class Awaited:
    """What ``async with`` is for: in a ``with`` it says so. Type checkers see nothing here."""

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            raise TypeError(f"{type(self).__name__} takes `async with`, not `with`")

        def __exit__(self, *error: Any) -> NoReturn:
            self.__enter__()


class Closing(NotAwaited):
    """A context manager that gives itself and is closed when the block ends."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def public_names(what: object) -> list[str]:
    """Return the names of an object's public verbs, for its ``__dir__``."""
    return sorted(name for name in object.__dir__(what) if not name.startswith("_"))


def adopt_docstrings(verbs: type, original: type) -> None:
    """Give verbs that have no docstring that of the same verb in ``original``."""
    for name, verb in vars(verbs).items():
        if not name.startswith("_") and not verb.__doc__:
            verb.__doc__ = getattr(original, name).__doc__
