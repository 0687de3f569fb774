"""Requests that the page did not make: each is refused, in a sentence, and nothing has changed.

Each begins as a request that is carried out, with one thing wrong.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import kvengine
from kvengine.ui.launch import CODE_SECONDS
from kvengine.ui.limits import Limits
from kvengine.ui.security import HEADERS
from kvengine.ui.serve import Site
from tests.ui.site import Answer, Client, Header, read_answer, request, send

LIMITS = Limits(body=256 * 1024, head_seconds=0.5, body_seconds=0.4)
OBJECT = ("Account", "alice")


@dataclass(frozen=True)
class Sent:
    """A request in the making. ``{port}`` and the like in headers are filled in."""

    method: str = "POST"
    target: str = "/api/edit"
    headers: tuple[Header, ...] = (
        ("Host", "127.0.0.1:{port}"),
        ("Origin", "http://127.0.0.1:{port}"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Content-Type", "application/json"),
        ("Cookie", "{name}={token}"),
        ("X-KVEngine-CSRF", "{csrf}"),
    )
    body: bytes | None = None
    version: str = "1.1"
    length: bool = True

    def set(self, name: str, value: str) -> Sent:
        return replace(self, headers=tuple((n, value if n == name else v) for n, v in self.headers))

    def drop(self, *names: str) -> Sent:
        return replace(self, headers=tuple(h for h in self.headers if h[0] not in names))

    def add(self, name: str, value: str) -> Sent:
        return replace(self, headers=(*self.headers, (name, value)))

    def to(self, target: str, method: str = "GET") -> Sent:
        return replace(self, target=target, method=method)

    def saying(self, body: bytes | object) -> Sent:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return replace(self, body=data)


@dataclass
class Scene:
    """The page under attack, and what an attacker may know."""

    site: Site
    other: Site
    client: Client
    stranger: Client
    db: kvengine.Engine
    known: dict[str, Any] = field(default_factory=dict)

    def edit(self) -> dict[str, Any]:
        version = str(self.db.version(*OBJECT))
        change = {"verb": "set", "state_key": "balance", "entry": {"text": "0"}}
        return {"service": OBJECT[0], "key": OBJECT[1], "version": version, "changes": [change]}

    def bytes_of(self, sent: Sent) -> bytes:
        body = sent.body if sent.body is not None else json.dumps(self.edit()).encode()
        headers = [(name, value.format(**self.known)) for name, value in sent.headers]
        if sent.length and sent.method not in ("GET", "HEAD", "OPTIONS", "TRACE"):
            headers.append(("Content-Length", str(len(body))))
        body = b"" if sent.method in ("GET", "HEAD") and sent.body is None else body
        return request(sent.method, sent.target, headers, body, version=sent.version)

    def send(self, sent: Sent) -> Answer:
        return send(self.site.port, self.bytes_of(sent))

    def state(self) -> object:
        return [(o.service, o.key, o.version, o.expires_at, o.entries) for o in self.db.scan()]


@pytest.fixture(scope="module")
def scene(db: kvengine.Engine, serve: Callable[..., Site]) -> Iterator[Scene]:
    db.set(*OBJECT, "balance", b"100")
    db.set("Account", "bob", "balance", b"5")
    site, other = serve(write=True, limits=LIMITS), serve(write=True)
    with Client(site) as client, Client(other) as stranger, Client(site) as second:
        name, token = client.cookie.split("=", 1)
        stranger_name, stranger_token = stranger.cookie.split("=", 1)
        known = {
            "port": site.port,
            "other_port": other.port,
            "name": name,
            "token": token,
            "csrf": client.csrf,
            "stranger_name": stranger_name,
            "stranger_token": stranger_token,
            "second_csrf": second.csrf,
            "cut_token": token[:-1],
            "other_instance": "0" * 16 + token[16:],
        }
        yield Scene(site, other, client, stranger, db, known)


def check_refused(scene: Scene, answer: Answer, status: int, before: object) -> None:
    """The promise of this file, of one answer."""
    assert answer.status == status, answer.body
    assert scene.state() == before
    if answer.body:
        assert re.fullmatch(r"[A-Z][^\n]*\.", answer.error), answer.error
    missing = [name for name, _ in HEADERS if name.decode() not in answer.headers]
    assert missing == []


def test_the_request_that_the_others_are_made_from_is_carried_out(scene: Scene) -> None:
    """Without this none of the refusals below would mean anything."""
    answer = scene.send(Sent())
    assert answer.status == 200, answer.body
    assert scene.db.get(*OBJECT, "balance") == b"0"
    scene.db.set(*OBJECT, "balance", b"100")


GOOD = Sent()
HOSTS = {
    "another name": "evil.example:{port}",
    "no port": "127.0.0.1",
    "another port": "127.0.0.1:{other_port}",
    "a name that begins right": "127.0.0.1:{port}.evil.example",
    "a name under localhost": "localhost.evil.example:{port}",
    "localhost in capitals": "LOCALHOST:{port}",
    "localhost with a dot": "localhost.:{port}",
    "any address": "0.0.0.0:{port}",
    "a short form of the address": "127.1:{port}",
    "the address as a number": "2130706433:{port}",
    "another loopback address": "127.0.0.2:{port}",
    "somebody before it": "user@127.0.0.1:{port}",
    "empty": "",
}
FORGED: dict[str, tuple[int, Sent]] = {
    **{f"host: {name}": (421, GOOD.set("Host", host)) for name, host in HOSTS.items()},
    "host: missing": (400, GOOD.drop("Host")),
    "host: missing in HTTP/1.0": (421, replace(GOOD.drop("Host"), version="1.0")),
    "host: twice": (400, GOOD.add("Host", "evil.example")),
    "host: of a read": (421, GOOD.to("/api/objects?service=Account").set("Host", "evil.example")),
    "host: of the page": (421, GOOD.to("/").set("Host", "rebound.example:{port}")),
    "origin: foreign": (403, GOOD.set("Origin", "http://evil.example")),
    "origin: null": (403, GOOD.set("Origin", "null")),
    "origin: missing": (403, GOOD.drop("Origin")),
    "origin: https": (403, GOOD.set("Origin", "https://127.0.0.1:{port}")),
    "origin: another port": (403, GOOD.set("Origin", "http://127.0.0.1:{other_port}")),
    "origin: another name of this host": (403, GOOD.set("Origin", "http://localhost:{port}")),
    "origin: begins right": (403, GOOD.set("Origin", "http://127.0.0.1:{port}.evil.example")),
    "origin: with a path": (403, GOOD.set("Origin", "http://127.0.0.1:{port}/")),
    "origin: twice": (400, GOOD.add("Origin", "http://evil.example")),
    "origin: foreign, of a read": (403, GOOD.to("/api/pulse").set("Origin", "http://evil.example")),
    "site: cross-site": (403, GOOD.set("Sec-Fetch-Site", "cross-site")),
    "site: same-site, as from another port": (403, GOOD.set("Sec-Fetch-Site", "same-site")),
    "site: none": (403, GOOD.set("Sec-Fetch-Site", "none")),
    "site: twice": (400, GOOD.add("Sec-Fetch-Site", "cross-site")),
    "site: cross-site, of a read": (
        403,
        GOOD.to("/api/pulse").drop("Origin").set("Sec-Fetch-Site", "cross-site"),
    ),
    "form: urlencoded": (415, GOOD.set("Content-Type", "application/x-www-form-urlencoded")),
    "form: multipart": (415, GOOD.set("Content-Type", "multipart/form-data; boundary=x")),
    "form: JSON as text": (415, GOOD.set("Content-Type", "text/plain")),
    "form: no content type": (415, GOOD.drop("Content-Type")),
    "form: another charset": (415, GOOD.set("Content-Type", "application/json; charset=utf-16")),
    "form: begins right": (415, GOOD.set("Content-Type", "application/jsonp")),
    "form: twice": (400, GOOD.add("Content-Type", "text/plain")),
    "form: compressed": (415, GOOD.add("Content-Encoding", "gzip")),
    "method: GET that writes": (405, GOOD.to("/api/edit?service=Account&key=alice")),
    "method: GET with a body": (405, replace(GOOD.to("/api/edit").saying({}), length=False)),
    "method: GET that clears": (405, GOOD.to("/api/clear-service?service=Account")),
    "method: GET that says POST": (
        405,
        GOOD.to("/api/edit").add("X-HTTP-Method-Override", "POST"),
    ),
    "method: HEAD": (405, GOOD.to("/api/edit", "HEAD")),
    "method: PUT": (405, GOOD.to("/api/edit", "PUT")),
    "method: PATCH": (405, GOOD.to("/api/edit", "PATCH")),
    "method: DELETE": (405, GOOD.to("/api/object?service=Account&key=alice", "DELETE")),
    "method: TRACE": (405, GOOD.to("/api/edit", "TRACE")),
    "method: unknown": (405, GOOD.to("/api/edit", "EDIT")),
    "method: POST to a read": (405, GOOD.to("/api/objects", "POST")),
    "method: preflight": (
        405,
        GOOD.to("/api/edit", "OPTIONS").add("Access-Control-Request-Method", "POST"),
    ),
    "token: missing": (403, GOOD.drop("X-KVEngine-CSRF")),
    "token: empty": (403, GOOD.set("X-KVEngine-CSRF", "")),
    "token: wrong": (403, GOOD.set("X-KVEngine-CSRF", "0" * 43)),
    "token: of another session": (403, GOOD.set("X-KVEngine-CSRF", "{second_csrf}")),
    "token: not ASCII": (403, GOOD.set("X-KVEngine-CSRF", "\xfc\xff")),
    "token: twice": (400, GOOD.add("X-KVEngine-CSRF", "{csrf}")),
    "cookie: missing": (401, GOOD.drop("Cookie")),
    "cookie: missing, of a read": (401, GOOD.to("/api/objects?service=Account").drop("Cookie")),
    "cookie: wrong": (401, GOOD.set("Cookie", "{name}=0")),
    "cookie: empty": (401, GOOD.set("Cookie", "{name}=")),
    "cookie: cut": (401, GOOD.set("Cookie", "{name}={cut_token}")),
    "cookie: of another port": (401, GOOD.set("Cookie", "{stranger_name}={stranger_token}")),
    "cookie: of another port, renamed": (401, GOOD.set("Cookie", "{name}={stranger_token}")),
    "cookie: of an earlier server": (401, GOOD.set("Cookie", "{name}={other_instance}")),
    "cookie: this and another": (401, GOOD.set("Cookie", "{name}={token}; {name}=x")),
    "cookie: two headers": (400, GOOD.add("Cookie", "{name}=x")),
    "cookie: another name": (401, GOOD.set("Cookie", "session={token}")),
    "body: no JSON": (400, GOOD.saying(b"{")),
    "body: empty": (400, GOOD.saying(b"")),
    "body: UTF-16": (400, GOOD.saying('{"service":"Account"}'.encode("utf-16"))),
    "body: nested deeply": (400, GOOD.saying(b"[" * 100_000)),
    "body: nested deeply in a value": (
        400,
        GOOD.saying(
            b'{"service":"Account","key":"alice","version":"0","changes":[{"verb":"set","state_key"'
            b':"balance","entry":{"value":' + b"[" * 100_000 + b"]" * 100_000 + b"}}]}"
        ),
    ),
    "body: an unknown member": (400, GOOD.saying({"service": "Account", "drop": "all"})),
    "body: no changes": (
        400,
        GOOD.saying({"service": "Account", "key": "alice", "version": "0", "changes": []}),
    ),
    "body: a length that is negative": (
        400,
        replace(GOOD.add("Content-Length", "-1"), length=False),
    ),
    "body: a length that is no number": (
        400,
        replace(GOOD.add("Content-Length", "0x10"), length=False),
    ),
    "body: a length and chunks": (400, GOOD.add("Transfer-Encoding", "chunked")),
    "body: two lengths": (400, GOOD.add("Content-Length", "3")),
    "body: too long, as it says": (
        413,
        replace(GOOD.add("Content-Length", str(LIMITS.body + 1)), length=False),
    ),
    "body: too long, as it says in very many digits": (
        413,
        replace(GOOD.add("Content-Length", "9" * 19), length=False),
    ),
    "address: of a proxy": (400, GOOD.to("http://127.0.0.1/api/edit", "POST")),
    "address: a trailing slash": (404, GOOD.to("/api/edit/", "POST")),
    "address: two slashes": (404, GOOD.to("//api/edit", "POST")),
    "address: unknown": (404, GOOD.to("/api/drop-everything", "POST")),
    "launch: as a read": (405, GOOD.to("/api/launch?code=x")),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_request_is_refused(scene: Scene, name: str) -> None:
    """Refused with the status it deserves and one sentence; nothing in the database has changed."""
    status, sent = FORGED[name]
    before = scene.state()
    check_refused(scene, scene.send(sent), status, before)


def test_there_are_more_than_forty(scene: Scene) -> None:
    assert len(FORGED) > 40


SERVICE = {"service": "Account", "confirm": "Account", "seen": str(2**62)}
WRONG_CONFIRMATIONS = {
    "nothing typed": {**SERVICE, "confirm": ""},
    "other letters": {**SERVICE, "confirm": "account"},
    "a blank more": {**SERVICE, "confirm": "Account "},
    "another service": {**SERVICE, "confirm": "Order"},
    "not said": {"service": "Account", "seen": "0"},
    "forced, and not typed": {**SERVICE, "confirm": "", "force": True},
    "no number seen": {**SERVICE, "seen": "x"},
}


@pytest.mark.parametrize("name", WRONG_CONFIRMATIONS)
def test_a_service_is_not_cleared_without_its_name(scene: Scene, name: str) -> None:
    """What the person typed is compared here too, not in the page alone."""
    before = scene.state()
    sent = GOOD.to("/api/clear-service", "POST").saying(WRONG_CONFIRMATIONS[name])
    check_refused(scene, scene.send(sent), 400, before)


BAD_CHANGES: dict[str, object] = {
    "an unknown verb": {"verb": "drop"},
    "no verb": {"state_key": "balance"},
    "no value": {"verb": "set", "state_key": "balance", "entry": {}},
    "two values": {"verb": "set", "state_key": "b", "entry": {"text": "", "base64": ""}},
    "base64 that is none": {"verb": "set", "state_key": "b", "entry": {"base64": "!"}},
    "a name that is none": {"verb": "set", "state_key": 7, "entry": {"text": ""}},
    "a lone surrogate": {"verb": "set", "state_key": "\ud800", "entry": {"text": ""}},
    "a ttl and a time": {
        "verb": "set",
        "state_key": "b",
        "entry": {"text": "", "expires_at": 9e9},
        "ttl": 5,
    },
    "an expiry before the epoch": {"verb": "expire", "at": -5},
    "two expiries": {"verb": "expire", "at": 9e9, "ttl": 5},
    "a member too many": {"verb": "clear", "state_key": "balance", "all": True},
}


@pytest.mark.parametrize("name", BAD_CHANGES)
def test_a_change_that_makes_no_sense_is_refused_with_those_beside_it(
    scene: Scene, name: str
) -> None:
    before = scene.state()
    body = scene.edit()
    body["changes"].append(BAD_CHANGES[name])
    check_refused(scene, scene.send(GOOD.saying(body)), 400, before)


@pytest.mark.parametrize("version", ["", "-1", "1.0", "x", "1" * 20, "\u0661"])
def test_a_version_that_is_none_is_refused(scene: Scene, version: str) -> None:
    before = scene.state()
    check_refused(scene, scene.send(GOOD.saying({**scene.edit(), "version": version})), 400, before)


def test_a_name_that_is_too_long_is_refused(scene: Scene) -> None:
    before = scene.state()
    body = {**scene.edit(), "key": "k" * 70_000}
    check_refused(scene, scene.send(GOOD.saying(body)), 413, before)


def test_a_body_in_chunks_is_counted_as_it_arrives(scene: Scene) -> None:
    """Content-Length is not believed, nor needed: what arrives is counted, and cut off."""
    before = scene.state()
    head = scene.bytes_of(replace(GOOD.add("Transfer-Encoding", "chunked"), length=False, body=b""))
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    check_refused(scene, send(scene.site.port, head, *[chunk] * 40), 413, before)


def test_a_body_that_comes_too_slowly_is_given_up(scene: Scene) -> None:
    before = scene.state()
    head = scene.bytes_of(replace(GOOD.add("Content-Length", "500"), length=False, body=b""))
    check_refused(scene, send(scene.site.port, head, b"{"), 408, before)


def test_headers_that_come_too_slowly_are_given_up(scene: Scene) -> None:
    """A connection that never finishes its request does not stay for ever."""
    before = scene.state()
    part = scene.bytes_of(GOOD)[:40]
    check_refused(scene, send(scene.site.port, part), 408, before)
    check_refused(scene, send(scene.site.port), 408, before)


def test_headers_of_a_second_request_have_their_time_too(scene: Scene) -> None:
    import socket

    whole = scene.bytes_of(GOOD.to("/api/pulse"))
    with socket.create_connection(("127.0.0.1", scene.site.port), timeout=20) as connection:
        connection.sendall(whole)
        assert read_answer(connection).status == 200
        connection.sendall(whole[:40])
        assert read_answer(connection).status == 408


def test_headers_without_end_are_refused(scene: Scene) -> None:
    before = scene.state()
    huge = GOOD.add("X-Padding", "x" * 3_000_000)
    check_refused(scene, scene.send(huge), 400, before)


def test_a_body_that_breaks_off_changes_nothing(scene: Scene) -> None:
    import socket

    before = scene.state()
    whole = scene.bytes_of(GOOD)
    with socket.create_connection(("127.0.0.1", scene.site.port), timeout=20) as connection:
        connection.sendall(whole[:-5])
    time.sleep(0.1)
    assert scene.state() == before


TRAVERSALS = (
    "/static/../serve.py",
    "/static/%2e%2e/serve.py",
    "/static/%2e%2e%2fserve.py",
    "/static/..%5cserve.py",
    "/static//etc/passwd",
    "/static/%2fetc%2fpasswd",
    "/static/app.js%00.html",
    "/static/app.js/",
    "/static/",
    "/static/__init__.py",
    "/serve.py",
    "/../../etc/passwd",
)


@pytest.mark.parametrize("target", TRAVERSALS)
def test_no_file_but_those_of_the_page_is_served(scene: Scene, target: str) -> None:
    before = scene.state()
    check_refused(scene, scene.send(GOOD.to(target)), 404, before)


def launch(scene: Scene, code: str, **headers: str) -> Answer:
    sent = GOOD.to("/api/launch", "POST").drop("Cookie", "X-KVEngine-CSRF").saying({"code": code})
    for name, value in headers.items():
        sent = sent.set(name, value)
    return scene.send(sent)


def code_of(site: Site) -> str:
    return site.launch_url().partition("#launch=")[2]


def test_a_launch_code_is_good_once(scene: Scene) -> None:
    before = scene.state()
    code = code_of(scene.site)
    assert launch(scene, code).status == 200
    check_refused(scene, launch(scene, code), 401, before)


@pytest.mark.parametrize("code", ["", "x", "0" * 43, "\ud800"])
def test_a_wrong_launch_code_begins_nothing(scene: Scene, code: str) -> None:
    status = 400 if code == "\ud800" else 401
    answer = launch(scene, code)
    check_refused(scene, answer, status, scene.state())
    assert "set-cookie" not in answer.headers


def test_a_launch_code_of_another_server_is_none_here(scene: Scene) -> None:
    check_refused(scene, launch(scene, code_of(scene.other)), 401, scene.state())


def test_a_launch_code_grows_old(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is good for a limited time, even unused."""
    code = code_of(scene.site)
    later = time.monotonic() + CODE_SECONDS + 1
    monkeypatch.setattr(scene.site.door, "_clock", lambda: later)
    check_refused(scene, launch(scene, code), 401, scene.state())


@pytest.mark.parametrize(
    ("header", "value"),
    [("Origin", "http://evil.example"), ("Sec_Fetch_Site", "cross-site"), ("Host", "evil.example")],
)
def test_a_launch_from_elsewhere_does_not_use_up_the_code(
    scene: Scene, header: str, value: str
) -> None:
    """Nobody else can sign a browser in, nor keep the person who has the link from doing it."""
    code = code_of(scene.site)
    answer = launch(scene, code, **{header.replace("_", "-"): value})
    assert answer.status in (403, 421)
    assert launch(scene, code).status == 200


def test_a_read_only_page_writes_nothing(scene: Scene, serve: Callable[..., Site]) -> None:
    """Without --write every edit is refused, though the owner would take it."""
    site = serve()
    before = scene.state()
    with Client(site) as client:
        answers = [
            client.post("/api/edit", json=scene.edit()),
            client.post("/api/edit", json={**scene.edit(), "force": True}),
            client.post("/api/clear-service", json=SERVICE),
        ]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert "--write" in answers[0].json()["error"]
    assert scene.state() == before


def test_the_cookie_is_for_this_page_alone(scene: Scene) -> None:
    answer = launch(scene, code_of(scene.site))
    name, _, rest = answer.headers["set-cookie"].partition("=")
    assert str(scene.site.port) in name
    assert {part.strip() for part in rest.split(";")[1:]} == {
        "Path=/",
        "HttpOnly",
        "SameSite=Strict",
    }


def test_what_is_refused_is_in_the_audit(scene: Scene, audited: pytest.LogCaptureFixture) -> None:
    """Every write that was tried leaves a line, and no line carries what a terminal acts on."""
    scene.send(GOOD.set("Origin", "http://evil.example"))
    scene.send(GOOD.to("/api/%1b%5b31m%0aedit", "POST").drop("Cookie"))
    scene.client.edit("Acc\x1b[31m", "alice", "7", {"verb": "clear", "state_key": "\n"})
    lines = [record.getMessage() for record in audited.records]
    assert len(lines) == 3
    assert "403" in lines[0] and "401" in lines[1] and "conflict" in lines[2]
    assert all(line.isprintable() for line in lines), lines
