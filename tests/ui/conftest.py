"""A database that is owned and served by this process, and the page of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the page needs starlette: pip install kvengine[ui]")
pytest.importorskip("uvicorn", reason="the page needs uvicorn: pip install kvengine[ui]")
pytest.importorskip("httpx", reason="its tests need httpx: pip install kvengine[test]")

import kvengine
from kvengine.ui.serve import Site
from tests.ui.site import Client


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kvengine.Engine]:
    """The owner's database: edits of the page go through its socket."""
    directory = tmp_path_factory.mktemp("owned") / "state"
    with kvengine.open(directory, durability="os", background="thread") as db:
        yield db


@pytest.fixture(scope="module")
def serve(db: kvengine.Engine) -> Iterator[Callable[..., Site]]:
    """Start a page of the database; all are stopped at the end."""
    sites: list[Site] = []

    def start(path: str | Path | None = None, **options: object) -> Site:
        site = Site(str(path or db.path), **options)  # type: ignore[arg-type]
        sites.append(site)
        site.start()
        return site

    yield start
    for site in sites:
        site.stop()


@pytest.fixture(scope="module")
def site(serve: Callable[..., Site]) -> Site:
    """A page that may edit."""
    return serve(write=True)


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[Client]:
    with Client(site) as client:
        yield client


@pytest.fixture
def audited(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The lines of the audit."""
    caplog.set_level(logging.INFO, logger="kvengine.ui.audit")
    return caplog
