"""The page on a PostgreSQL URL: it is told what it is told of a directory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the page needs starlette: pip install kvengine[ui]")
pytest.importorskip("uvicorn", reason="the page needs uvicorn: pip install kvengine[ui]")
pytest.importorskip("httpx", reason="its tests need httpx: pip install kvengine[test]")

import kvengine
from kvengine.ui.serve import Site
from tests.cli import shop
from tests.cli.conftest import Run, run
from tests.cli.golden import steady
from tests.postgres.servers import Postgres
from tests.ui.browser import Watch, launched
from tests.ui.site import Client

__all__ = ["run"]  # the fixture

READS: tuple[tuple[str, dict[str, object]], ...] = (
    ("services", {}),
    ("services", {"prefix": "C", "limit": 1}),
    ("services", {"after": "Cart"}),
    ("objects", {"service": "Cart"}),
    ("objects", {"service": "Cart", "prefix": "c-", "after": "c-2", "limit": 2}),
    ("objects", {"service": "Nothing"}),
    ("object", {"service": "Customer", "key": "alice"}),
    ("object", {"service": "Customer", "key": "alice", "after": "name"}),
    ("object", {"service": "Customer", "key": "nobody"}),
    ("entry", {"service": "Customer", "key": "alice", "state_key": "token"}),
    ("entry", {"service": "Customer", "key": "alice", "state_key": "nothing"}),
    ("value", {"service": "Customer", "key": "alice", "state_key": "name"}),
    ("document", {"service": "Order", "key": "o-17"}),
)
CHANGES: tuple[tuple[str, str, list[dict[str, object]]], ...] = (
    ("Cart", "c-1", [{"verb": "set", "state_key": "total", "entry": {"text": "5"}}]),
    ("Cart", "c-1", [{"verb": "set", "state_key": "n", "entry": {"text": ""}, "ttl": 60}]),
    ("Cart", "c-2", [{"verb": "clear", "state_key": "items"}]),
    ("Cart", "c-2", [{"verb": "clear", "state_key": "items"}]),
    ("Cart", "c-3", [{"verb": "expire", "at": 4e9}]),
    ("Cart", "c-3", [{"verb": "expire"}]),
    ("Cart", "c-4", [{"verb": "clear_object"}]),
    ("Cart", "c-5", [{"verb": "expire_now"}]),
    ("New", "k", [{"verb": "set", "state_key": "n", "entry": {"base64": "AP8="}}]),
)
CLEARS = (
    ("Cart", "cart", False),
    ("Cart", "Cart", False),
    ("Order", "Order", False),
    ("Order", "Order", True),
)
"""A service, what was typed, and whether it is forced; of Order an old stamp was seen."""


@pytest.fixture
def homes(database: str, tmp_path: Path, run: Run) -> list[str]:
    """A directory, and a schema that has the same objects."""
    directory = str(tmp_path / "shop")
    shop.make(Path(directory))
    assert run("copy", directory, database).code == 0
    return [directory, database]


@pytest.fixture
def sites(homes: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Site]]:
    """A page of each, which may edit, and takes its time to tell all it can."""
    monkeypatch.setattr("kvengine.ui.api_services._BUDGET", 600)
    sites = [Site(home, write=True) for home in homes]
    for site in sites:
        site.start()
    yield sites
    for site in sites:
        site.stop()


def plain(answer: Any) -> tuple[int, str]:
    """What an answer says, without versions, times, and bytes on disk, which are estimates."""
    text = answer.text
    if answer.request.url.path in ("/api/services", "/api/objects"):
        text = re.sub(r'(?<="exact":)(\w+),"bytes":\d+|(?<="bytes":)\d+(?=}$)', r"\1", text)
    return answer.status_code, steady(text)


@pytest.fixture
def clients(sites: list[Site]) -> Iterator[list[Client]]:
    with Client(sites[0]) as one, Client(sites[1]) as other:
        yield [one, other]


def test_the_page_is_told_the_same_of_both_homes(clients: list[Client]) -> None:
    """Every read and every edit of its API; a conflict too, and the clearing of a service."""
    for path, query in READS:
        here, there = (plain(client.get(f"/api/{path}", params=query)) for client in clients)
        assert here == there, (path, query)
    for service, key, changes in CHANGES:
        answers = []
        for client in clients:
            found = client.get("/api/object", params={"service": service, "key": key})
            version = found.json().get("version", "0")
            answers.append(plain(client.edit(service, key, version, *changes)))
        assert answers[0] == answers[1], (service, key, changes)
        assert answers[0][0] == 200
        here, there = (plain(client.edit(service, key, "1", *changes)) for client in clients)
        assert here == there
    for service, typed, force in CLEARS:
        answers = []
        for client in clients:
            seen = "1" if service == "Order" else client.read("pulse")["last_stamp"]
            body = {"service": service, "confirm": typed, "seen": seen, "force": force}
            answers.append(plain(client.post("/api/clear-service", json=body)))
        assert answers[0] == answers[1]
    here, there = (plain(client.get("/api/services")) for client in clients)
    assert here == there


def test_the_page_follows_what_others_write(sites: list[Site], homes: list[str]) -> None:
    """The pulse is the same while nobody writes, and another one as soon as somebody has."""
    with Client(sites[1]) as client, kvengine.connect(homes[1]) as store:
        tag = client.get("/api/pulse").headers["ETag"]
        for _ in range(100):  # the server may do some upkeep of its own in between
            answer = client.get("/api/pulse", headers={"If-None-Match": tag})
            if answer.status_code == 304:
                break
            tag = answer.headers["ETag"]
        assert answer.status_code == 304
        stamp = store.set("Cart", "c-9", "n", b"1")
        answer = client.get("/api/pulse", headers={"If-None-Match": tag})
        assert answer.status_code == 200
        assert int(answer.json()["last_stamp"]) >= stamp


def test_a_password_is_not_on_the_page(homes: list[str], postgres: Postgres) -> None:
    """It is in no answer, not in one about a server that fails, and not in the terminal."""
    url = homes[1].replace("postgres@", "postgres:secret@", 1)
    with Site(f"{url}&password=secret") as site:
        site.start()
        with Client(site) as client:
            told = [client.get(f"/api/{path}").text for path in ("session", "pulse", "storage")]
            assert json.loads(told[1])["mode"] == "server"
            postgres.psql(f"DROP SCHEMA {url.partition('=')[2]} CASCADE")
            failed = client.get("/api/services")
            assert failed.status_code == 503 and "was the schema dropped?" in failed.text
        said = [*told, failed.text, next(iter(site.greeting()))]
    assert not [text for text in said if "secret" in text]
    assert all("postgres:***@127.0.0.1" in text for text in said)


def test_the_page_in_a_browser(sites: list[Site], homes: list[str]) -> None:
    """The badge says that it is a server, the list follows, storage has the sizes there are."""
    site = sites[1]
    watch = Watch(site.url)
    with launched() as browser, kvengine.connect(homes[1]) as store:
        page = browser.new_context(reduced_motion="reduce").new_page()
        watch.watch(page)
        page.goto(site.launch_url())
        page.wait_for_selector(".mode.server:text-is('server')")
        page.get_by_role("link", name="Cart").click()
        page.wait_for_selector("a.row-link:has-text('c-5')")
        store.set("Cart", "c-6", "n", b"1")
        page.wait_for_selector("a.row-link:has-text('c-6')")
        page.goto(f"{site.url}/#/storage")
        page.wait_for_selector("h2:text-is('On the server')")
        assert page.locator("svg.levels").count() == 0
    assert not watch.troubles
