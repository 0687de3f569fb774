"""State as its users write it. Checked by mypy --strict and pyright, and run: test_typing.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, assert_type

import kvengine
import kvengine.aio
from kvengine import Serde, Session, State, VirtualObject, Workflow, field, retry, session_of


@dataclass
class Line:
    text: str
    at: float = 0.0


class Greeter(State):
    name: str = "world"
    count: int = 0
    nick: str | None = None
    lines: list[Line] = []
    notes: dict[str, str] = field(default_factory=dict, alias="remarks")
    token: str | None = field(default=None, ttl=timedelta(minutes=5))

    def greet(self, text: str) -> str:
        self.count += 1
        self.lines.append(Line(text))
        return f"{text}, {self.nick or self.name}"


class Reverse:
    """A serde of one's own."""

    def encode(self, value: Any, /) -> bytes:
        return str(value)[::-1].encode()

    def decode(self, data: bytes, type: Any, /) -> Any:
        return data.decode()[::-1]


def objects(obj: VirtualObject) -> int:
    assert_type(obj.set("n", 1, ttl=timedelta(hours=1)), int)
    assert_type(obj.get("n", type=int), int | None)
    assert_type(obj.get("n", 0, type=int), int)
    assert_type(obj.get("n", None, type=int), int | None)
    assert_type(obj.get("n", "none", type=int), int | str)
    assert_type(obj.get("line", type=Line), Line | None)
    assert_type(obj.get("lines", type=list[Line]), list[Line] | None)
    assert_type(obj.get_all(), dict[str, Any])
    assert_type(obj.state_keys(prefix="n"), list[str])
    assert_type("n" in obj, bool)
    assert_type(obj.version(), int)
    assert_type(obj.expires_at(), float | None)
    assert_type(obj.expire(ttl=60), bool)
    assert_type(obj.locked(), bool)
    assert_type(obj.clear("n"), int)
    mapping = obj.mapping()
    mapping["m"] = {"any": [1, None]}
    assert_type(sorted(mapping), list[str])
    return obj.get("none", 0, type=int) + len(mapping)


def sessions(obj: VirtualObject) -> str:
    with obj.session(preload=["count"], timeout=1, durability="os") as session:
        assert_type(session, Session)
        assert_type(session.get("count", type=int), int | None)
        session.set("count", session.get("count", 0, type=int) + 1)
        assert_type(session.commit(), int | None)
    with obj.session(Greeter, preload=False) as state:
        assert_type(state, Greeter)
        assert_type(state.count, int)
        assert_type(state.nick, str | None)
        assert_type(state.lines[0:], list[Line])
        assert_type(state.notes, dict[str, str])
        assert_type(session_of(state), Session)
        assert_type(state.commit(), int | None)
        del state.nick
        said: str = state.greet("Hello")
    with obj.session(Greeter, read_only=True) as reading:
        assert_type(reading, Greeter)
        return said + reading.name


@retry
def add(obj: VirtualObject, number: int) -> int:
    with obj.session(Greeter) as state:
        state.count += number
        return state.count


@retry(times=3)
async def add_awaited(obj: kvengine.aio.VirtualObject, number: int) -> int:
    async with obj.session(Greeter) as state:
        state.count += number
        return state.count


def retried(obj: VirtualObject) -> None:
    assert_type(add(obj, number=1), int)
    for attempt in retry():
        with attempt:
            assert_type(attempt.number, int)
            assert_type(add(obj, -1), int)


def workflows(flow: Workflow) -> bool:
    assert_type(flow.retention, timedelta)
    assert_type(flow.complete(), bool)
    with flow.session(Greeter) as state:
        assert_type(state, Greeter)
        state.count += 1
        state.complete()
    return flow.completed


async def awaited(db: kvengine.aio.Engine) -> int:
    obj = db.object("Greeter", "async")
    assert_type(await add_awaited(obj, 0), int)
    async for attempt in retry(times=2):
        with attempt:
            await add_awaited(obj, number=0)
    assert_type(obj, kvengine.aio.VirtualObject)
    assert_type(await obj.set("n", 1), int)
    assert_type(await obj.get("n", type=int), int | None)
    assert_type(await obj.get("n", 0, type=int), int)
    assert_type(await obj.contains("n"), bool)
    assert_type(await obj.version(), int)
    async with obj.session() as session:
        assert_type(session, kvengine.aio.Session)
        assert_type(await session.get("n", type=int), int | None)
        session.set("n", await session.get("n", 0, type=int) + 1)
    async with obj.session(Greeter) as state:
        assert_type(state, Greeter)
        state.greet("Hello")
    flow = db.workflow("Flow", "async", retention=timedelta(days=7))
    assert_type(flow, kvengine.aio.Workflow)
    assert_type(await flow.complete(), bool)
    assert_type(await flow.completed(), bool)
    return await obj.get("n", 0, type=int)


async def run(directory: Path) -> tuple[int, str, bool, int]:
    serdes: dict[str, Serde] = {"Reversed": Reverse()}
    with kvengine.open(directory, background="none", durability="os", serdes=serdes) as db:
        obj = db.object("Greeter", "alice")
        flow = db.workflow("Flow", "1", retention=timedelta(days=7), serde="msgpack")
        retried(db.object("Greeter", "retried"))
        found = objects(obj), sessions(obj), workflows(flow)
        db.object("Reversed", "k").set("text", "abc")
        assert db.get("Reversed", "k", "text") == b"cba"
        alone = Greeter(name="Ada", count=0, notes={}, token=None)
        assert alone.greet("Hi") == "Hi, Ada"
        return *found, await awaited(kvengine.aio.wrap(db))
