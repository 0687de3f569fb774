"""The read verbs, asked of the owner: of now, or of a snapshot that it holds."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NoReturn, Self, TypeVar

import kvengine.store
from kvengine.arguments import check_limit
from kvengine.closing import Closing, adopt_docstrings
from kvengine.errors import DatabaseClosed, OwnerLost
from kvengine.share import requests, results
from kvengine.share.link import Broken
from kvengine.share.member import Member
from kvengine.share.owner import Owner
from kvengine.share.requests import Request
from kvengine.storage.batch import object_name
from kvengine.storage.names import are_ascii_names, check_name
from kvengine.store import StoredObject, StoredWorkflow

T = TypeVar("T")


def check_names(service: str, key: str, state_key: str = "") -> None:
    """Raise TypeError or ValueError if one of these is no name."""
    if not are_ascii_names(service, key, state_key):
        object_name(service, key)
        check_name("state_key", state_key)


class RemoteReads:
    """The read verbs, each of which is a request."""

    _at: int | None = None

    def _ask(self, request: Request, decode: Callable[[Any], Any]) -> Any:
        """Return the answer to a request."""
        raise NotImplementedError

    def _walk(self, request: Request, decode: Callable[[Any], Any]) -> Any:
        """Return what a walk finds."""
        raise NotImplementedError

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        check_names(service, key, state_key)
        asked = requests.Get(self._at, service, key, state_key)
        found: bytes | None = self._ask(asked, results.value)
        return found

    def get_many(self, service: str, key: str, state_keys: Iterable[str]) -> dict[str, bytes]:
        if isinstance(state_keys, str):
            raise TypeError("state_keys must be an iterable of str, not one str")
        check_names(service, key)
        wanted = [check_name("state_key", state_key) for state_key in state_keys]
        asked = requests.GetMany(self._at, service, key, wanted)
        found: dict[str, bytes] = self._ask(asked, results.entries)
        return found

    def get_all(self, service: str, key: str) -> dict[str, bytes]:
        check_names(service, key)
        found: dict[str, bytes] = self._ask(
            requests.GetAll(self._at, service, key), results.entries
        )
        return found

    def load(self, service: str, key: str, *, max_bytes: int | None = None) -> StoredObject | None:
        check_names(service, key)
        check_limit(max_bytes, "max_bytes")
        asked = requests.Load(self._at, service, key, max_bytes)
        found: StoredObject | None = self._ask(asked, results.object)
        return found

    def load_many(self, service: str, keys: Iterable[str]) -> dict[str, StoredObject]:
        if isinstance(keys, str):
            raise TypeError("keys must be an iterable of str, not one str")
        check_name("service", service)
        asked = requests.LoadMany(self._at, service, [check_name("key", key) for key in keys])
        found: dict[str, StoredObject] = self._ask(asked, results.objects)
        return found

    def exists(self, service: str, key: str) -> bool:
        check_names(service, key)
        found: bool = self._ask(requests.Exists(self._at, service, key), results.truth)
        return found

    def state_keys(
        self,
        service: str,
        key: str,
        *,
        prefix: str = "",
        start: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[str]:
        check_names(service, key)
        check_limit(limit)
        asked = requests.StateKeys(self._at, service, key, prefix, start, reverse, limit)
        found: list[str] = self._ask(asked, results.names)
        return found

    def expires_at(self, service: str, key: str, state_key: str | None = None) -> float | None:
        check_names(service, key, "" if state_key is None else state_key)
        asked = requests.ExpiresAt(self._at, service, key, state_key)
        found: float | None = self._ask(asked, results.time)
        return found

    def version(self, service: str, key: str) -> int:
        check_names(service, key)
        found: int = self._ask(requests.Version(self._at, service, key), results.number)
        return found

    def services(self, start: str = "", limit: int | None = None) -> list[str]:
        check_limit(limit)
        found: list[str] = self._ask(requests.Services(self._at, start, limit), results.names)
        return found

    def object_keys(
        self,
        service: str,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[str]:
        check_limit(limit)
        asked = requests.ObjectKeys(self._at, service, prefix, start, stop, reverse, limit)
        found: Iterator[str] = self._walk(asked, results.page_of_keys)
        return found

    def scan(
        self,
        service: str | None = None,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[StoredObject]:
        check_limit(limit)
        asked = requests.Scan(self._at, service, prefix, start, stop, reverse, limit)
        found: Iterator[StoredObject] = self._walk(asked, results.page_of_objects)
        return found

    def workflows(self, service: str, completed: bool | None = None) -> Iterator[StoredWorkflow]:
        asked = requests.Workflows(self._at, service, completed)
        found: Iterator[StoredWorkflow] = self._walk(asked, results.page_of_workflows)
        return found

    def count(self, service: str, *, prefix: str = "") -> int:
        check_name("service", service)
        found: int = self._ask(requests.Count(self._at, service, prefix), results.number)
        return found


class RemoteWalk(Generic[T]):
    """An iterator over a walk that the owner holds, page by page.

    Closed or dropped, it ends in the owner too. It is no generator: one that was never begun would
    end nothing.
    """

    def __init__(
        self, held: Held, page: tuple[int | None, list[T]], decode: Callable[[Any], Any]
    ) -> None:
        """``page``: the number of the walk, None if this page is its last, and the first items."""
        self._held = held
        self._decode = decode
        self._number, items = page
        self._is_closed = False
        self._items = iter(items)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        self._held.check_open()
        while True:
            for item in self._items:
                return item
            if self._number is None:
                raise StopIteration
            number, self._number = self._number, None  # one that fails has ended in the owner too
            self._number, items = self._held.ask(requests.Next(number), self._decode)
            if self._is_closed:  # meanwhile, by another thread
                self.close()
                raise StopIteration
            self._items = iter(items)

    def close(self) -> None:
        """End the walk. May be called again."""
        self._is_closed = True  # first: who is just asking looks at this after that
        number, self._number = self._number, None
        self._items = iter(())
        if number is not None:
            self._held.owner.tell(requests.End(number))

    def __del__(self) -> None:
        if hasattr(self, "_items"):
            self.close()


class Held:
    """The owner that holds a snapshot or a walk: another one does not have it.

    ``check_open`` raises DatabaseClosed once the store or snapshot is closed that it belongs to.
    """

    def __init__(self, member: Member, owner: Owner, check_open: Callable[[], object]) -> None:
        self.owner = owner
        self.check_open = check_open
        self._member = member

    def ask(self, request: Request, decode: Callable[[Any], Any]) -> Any:
        """Return the answer to a request.

        Raise OwnerLost if the owner is no longer there, Unavailable if it does not answer in time.
        """
        self.check_open()
        if self.owner.is_lost:
            self._lost()
        try:
            return self.owner.ask(request, decode)
        except Broken as error:
            if error.is_slow:
                raise self._member.silence(self.owner, error) from None
            self._lost()

    def _lost(self) -> NoReturn:
        reason = f"is no longer owned by process {self.owner.pid}, which held this snapshot or walk"
        raise OwnerLost(self._member.path, reason) from None


class RemoteSnapshot(RemoteReads, Closing):
    """Every read verb as of one moment, held by the owner. A context manager.

    It keeps files until it is closed. One that is never closed warns (ResourceWarning) when
    collected.
    """

    def __init__(self, member: Member, check_store: Callable[[], object]) -> None:
        """``check_store`` raises DatabaseClosed once the store is closed."""
        self._member = member
        self._check_store = check_store
        self._lock = threading.Lock()
        self._held: Held | None = None
        self._is_closed = False
        self._stamp = 0

    def begin(self) -> Self:
        """Take the snapshot, if that is not done yet."""
        self._begun()
        return self

    def _begun(self) -> Held:
        with self._lock:
            self._check_open()
            if self._held is None:
                (self._at, self._stamp), owner = self._member.ask_some(
                    requests.OpenSnapshot(), results.snapshot
                )
                held = self._held = Held(self._member, owner, self._check_open)
                if self._is_closed:  # meanwhile
                    self.close()
                return held
            return self._held

    @property
    def stamp(self) -> int:
        """Return the stamp of the last commit that the snapshot sees; 0 before it is taken."""
        return self._stamp

    def _ask(self, request: Request, decode: Callable[[Any], Any]) -> Any:
        held = self._begun()
        asked: Any = request
        asked.at = self._at  # which it did not know if it was made before this was taken
        return held.ask(request, decode)

    def _walk(self, request: Request, decode: Callable[[Any], Any]) -> Any:
        page = self._ask(request, decode)
        return RemoteWalk(self._begun(), page, decode)

    def _check_open(self) -> None:
        self._check_store()
        if self._is_closed:
            raise DatabaseClosed("this snapshot is closed")

    def __enter__(self) -> Self:
        return self.begin()

    def close(self) -> None:
        """Let the owner forget it. May be called again."""
        self._is_closed = True  # first: who is just taking it looks at this after that
        held, self._held = self._held, None
        if held is not None and self._at is not None and not held.owner.is_lost:
            held.owner.tell(requests.Release(self._at))

    def __del__(self) -> None:
        held = getattr(self, "_held", None)
        if held is not None and not held.owner.is_lost:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()


adopt_docstrings(RemoteReads, kvengine.store.Store)
