"""The read verbs as scripts: each is one statement, but for walks, which ask for window by window.

Every statement works out the time that counts (clock.py) and brings it back in its first column, in
one row at least. Those about one object bring its version in the second, NULL if it has expired.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from kvengine.arguments import check_limit
from kvengine.errors import ValueTooLarge
from kvengine.postgres.scripts import Rows, Script, Statement, Time
from kvengine.storage.clock import SECOND
from kvengine.storage.names import check_name
from kvengine.store import Estimate, StoredObject, StoredWorkflow

T = TypeVar("T")

NAMES = 2_600
"""The most bytes of UTF-8 that service, key and state key may have together.

They are the key of a btree of PostgreSQL, whose rows end at a third of a page: 2,704 bytes.
"""

_NOW = "(SELECT {schema}.believed({schema}.moment(), %s, %s) AS now OFFSET 0) t"

_KEPT = "(o.expires_at IS NULL OR o.expires_at > t.now)"
"""Whether the object has not expired."""

_OF_IT = """
    e.service = o.service AND e.key = o.key AND e.life = o.life
    AND (e.expires_at IS NULL OR e.expires_at > t.now)"""
"""Whether the entry is one of the object's, and lives."""

_LIVES = f"""
    {_KEPT} AND (o.completed_at IS NOT NULL
                 OR EXISTS (SELECT FROM {{schema}}.entries e WHERE {_OF_IT}))"""
"""Whether the object exists."""

_OBJECT = """t.now, o.version, o.expires_at, o.completed_at"""

_GET = f"""
    SELECT t.now, o.version, e.value FROM {_NOW}
    LEFT JOIN {{schema}}.objects o ON o.service = %s AND o.key = %s AND {_KEPT}
    LEFT JOIN {{schema}}.entries e ON {_OF_IT} AND e.state_key = %s"""

_GET_MANY = f"""
    SELECT t.now, o.version, e.state_key, e.value FROM {_NOW}
    LEFT JOIN {{schema}}.objects o ON o.service = %s AND o.key = %s AND {_KEPT}
    LEFT JOIN {{schema}}.entries e ON {_OF_IT} AND e.state_key = ANY (%s::bytea[])"""

_LOAD = f"""
    SELECT {_OBJECT}, e.state_key, e.value, e.expires_at FROM {_NOW}
    LEFT JOIN {{schema}}.objects o ON o.service = %s AND o.key = %s AND {_KEPT}
    LEFT JOIN {{schema}}.entries e ON {_OF_IT}
    ORDER BY e.state_key"""

_LOAD_PART = f"""
    SELECT {_OBJECT}, e.state_key, e.value, e.expires_at FROM {_NOW}
    LEFT JOIN {{schema}}.objects o ON o.service = %s AND o.key = %s AND {_KEPT}
    LEFT JOIN LATERAL (
        SELECT w.state_key, w.expires_at, CASE WHEN w.total <= %s THEN w.value END AS value
        FROM (
            SELECT e.*, octet_length(e.state_key) + octet_length(e.value) AS size,
                sum(octet_length(e.state_key) + octet_length(e.value))
                    OVER (ORDER BY e.state_key) AS total
            FROM {{schema}}.entries e WHERE {_OF_IT}) w
        WHERE w.total - w.size <= %s) e ON true
    ORDER BY e.state_key"""
"""The entries that fit, and the first one that does not, without its value."""

_LOAD_MANY = f"""
    SELECT {_OBJECT}, o.key, e.state_key, e.value, e.expires_at FROM {_NOW}
    LEFT JOIN {{schema}}.objects o
        ON o.service = %s AND o.key = ANY (%s::bytea[]) AND {_KEPT}
    LEFT JOIN {{schema}}.entries e ON {_OF_IT}
    ORDER BY o.key, e.state_key"""

_SUMMARY = f"""
    SELECT {_OBJECT} FROM {_NOW}
    LEFT JOIN {{schema}}.objects o ON o.service = %s AND o.key = %s AND {_LIVES}"""

_EXPIRY = f"""
    SELECT t.now, o.version, e.expires_at FROM {_NOW}
    LEFT JOIN {{schema}}.objects o ON o.service = %s AND o.key = %s AND {_KEPT}
    LEFT JOIN {{schema}}.entries e ON {_OF_IT} AND e.state_key = %s"""

_STATE_KEYS = f"""
    SELECT t.now, o.version, e.state_key FROM {_NOW}
    LEFT JOIN {{schema}}.objects o ON o.service = %s AND o.key = %s AND {_KEPT}
    LEFT JOIN {{schema}}.entries e ON {_OF_IT}
        AND e.state_key >= %s AND (%s::bytea IS NULL OR e.state_key < %s)
    ORDER BY e.state_key {{direction}} LIMIT %s"""

_SERVICES = f"""
    WITH RECURSIVE t AS MATERIALIZED (SELECT * FROM {_NOW}), found (service, n) AS (
        (SELECT o.service, 1 FROM {{schema}}.objects o, t
            WHERE o.service >= %s AND {_LIVES} ORDER BY o.service, o.key LIMIT 1)
        UNION ALL
        SELECT next.service, found.n + 1 FROM found, LATERAL (
            SELECT o.service FROM {{schema}}.objects o, t
            WHERE o.service > found.service AND {_LIVES} ORDER BY o.service, o.key LIMIT 1) next
            WHERE %s::bigint IS NULL OR found.n < %s
    )
    SELECT t.now, found.service FROM t LEFT JOIN found ON true ORDER BY found.service"""
"""From one service to the next, however many objects each has: a loose index scan."""

_COUNT = f"""
    SELECT t.now, c.count FROM {_NOW}, LATERAL (
        SELECT count(*) FROM {{schema}}.objects o
        WHERE o.service = %s AND o.key >= %s AND (%s::bytea IS NULL OR o.key < %s)
            AND {_LIVES}) c"""

_WINDOW = f"""
    SELECT {_OBJECT}, o.service, o.key FROM {_NOW}
    LEFT JOIN LATERAL (
        SELECT * FROM {{schema}}.objects o
        WHERE (o.service, o.key) >= (%s, %s)
            AND (%s::bytea IS NULL OR (o.service, o.key) < (%s, %s))
            AND {_LIVES}
        ORDER BY o.service {{direction}}, o.key {{direction}} LIMIT %s) o ON true
    ORDER BY o.service {{direction}}, o.key {{direction}}"""

WINDOW_BYTES = 4 << 20
"""Bytes of names and values after which a window of objects ends: it is held in memory."""

_WINDOW_WITH_ENTRIES = f"""
    SELECT {_OBJECT}, o.service, o.key, o.is_cut, e.state_key, e.value, e.expires_at FROM {_NOW}
    LEFT JOIN LATERAL (
        SELECT *, bool_or(before > {WINDOW_BYTES}) OVER () AS is_cut FROM (
            SELECT *, sum(size) OVER (ORDER BY service {{direction}}, key {{direction}}) - size
                AS before
            FROM (
                SELECT o.*, (
                    SELECT coalesce(sum(octet_length(e.state_key) + octet_length(e.value)), 0)
                    FROM {{schema}}.entries e WHERE {_OF_IT}) AS size
                FROM {{schema}}.objects o
                WHERE (o.service, o.key) >= (%s, %s)
                    AND (%s::bytea IS NULL OR (o.service, o.key) < (%s, %s))
                    AND {_LIVES}
                ORDER BY o.service {{direction}}, o.key {{direction}} LIMIT %s) sized) summed
    ) o ON o.before <= {WINDOW_BYTES}
    LEFT JOIN {{schema}}.entries e ON {_OF_IT}
    ORDER BY o.service {{direction}}, o.key {{direction}}, e.state_key"""

COUNTED = 1_000
"""Objects of an estimate that are counted; of more the planner's statistics tell."""

_SAMPLED = 100
_SAMPLED_ENTRIES = 10_000

_SAMPLE = f"""
    SELECT t.now, found.objects, sized.objects, sized.size FROM {_NOW}, LATERAL (
        SELECT count(*) AS objects FROM (
            SELECT FROM {{schema}}.objects o
            WHERE o.service = %s AND o.key >= %s AND (%s::bytea IS NULL OR o.key < %s)
            LIMIT %s) first) found, LATERAL (
        SELECT count(DISTINCT entry.key) AS objects,
            coalesce(sum(octet_length(entry.state_key) + octet_length(entry.value)), 0) AS size
        FROM (
            SELECT e.* FROM (
                SELECT * FROM {{schema}}.objects o
                WHERE o.service = %s AND o.key >= %s AND (%s::bytea IS NULL OR o.key < %s)
                ORDER BY o.key LIMIT %s) o
            JOIN {{schema}}.entries e ON {_OF_IT} LIMIT %s) entry) sized"""

_PLANNED = """
    EXPLAIN (FORMAT JSON) SELECT FROM {schema}.objects
    WHERE service = %s AND key >= %s AND (%s::bytea IS NULL OR key < %s)"""

_PULSE = f"SELECT t.now, (pg_current_wal_lsn() - '0/0')::bigint FROM {_NOW}"

_RETENTION = "SELECT service, retention FROM {schema}.retentions"

_STALENESS = """
    SELECT CASE WHEN pg_is_in_recovery()
        THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
        ELSE 0 END"""

_SIZES = """
    SELECT max(c.reltuples) FILTER (WHERE c.relname = 'objects')::bigint,
        sum(pg_total_relation_size(c.oid))::bigint
    FROM pg_class c
    WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p')"""

Bound = tuple[bytes, bytes]
"""A name as the server has it: service and key."""


class Window(NamedTuple, Generic[T]):
    """Some items of a walk. ``is_last``: whether none follow."""

    items: list[T]
    is_last: bool


class Range(NamedTuple):
    """The objects from ``low`` to before ``high``; None: to the end."""

    low: Bound
    high: Bound | None


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the first name after all that start with ``prefix``; None if there is no end."""
    if not prefix:
        return None
    return prefix[:-1] + bytes([prefix[-1] + 1])  # UTF-8 never holds FF


class Reads:
    """The read verbs as scripts, over the data of one schema, at a time of their own.

    Each is documented at `kvengine.Store`.
    """

    def __init__(self, schema: str, time: Time) -> None:
        self._schema = schema
        self._time = time
        self._texts: dict[str, str] = {}

    def fix(self, time: Time) -> None:
        """Let another time count from now on."""
        self._time = time

    def _text(self, template: str, direction: str = "") -> str:
        text = self._texts.get(template + direction)
        if text is None:
            text = template.format(schema=self._schema, direction=direction)
            self._texts[template + direction] = text
        return text

    def _ask(self, template: str, *values: Any, direction: str = "") -> Script[Rows]:
        """Ask a statement, and return its rows. Whatever it is, the time comes first in both."""
        bounds = self._time.bounds()
        rows = yield Statement(
            self._text(template, direction), (bounds.floor, bounds.estimate, *values)
        )
        self._time.saw(rows[0][0], bounds.sent)
        return rows

    def get(self, service: str, key: str, state_key: str) -> Script[bytes | None]:
        name = _encoded(service, key)
        rows = yield from self._ask(_GET, *name, encoded("state_key", state_key))
        value: bytes | None = rows[0][2]
        return value

    def get_many(
        self, service: str, key: str, state_keys: Iterable[str]
    ) -> Script[dict[str, bytes]]:
        if isinstance(state_keys, str):
            raise TypeError("state_keys must be an iterable of str, not one str")
        wanted = [encoded("state_key", name) for name in state_keys]
        rows = yield from self._ask(_GET_MANY, *_encoded(service, key), wanted)
        found = {name: value for _, _, name, value in rows}
        return {name.decode(): found[name] for name in wanted if name in found}

    def get_all(self, service: str, key: str) -> Script[dict[str, bytes]]:
        rows = yield from self._ask(_LOAD, *_encoded(service, key))
        return {row[4].decode(): row[5] for row in rows if row[4] is not None}

    def load(
        self, service: str, key: str, *, max_bytes: int | None = None
    ) -> Script[StoredObject | None]:
        check_limit(max_bytes, "max_bytes")
        if max_bytes is None:
            rows = yield from self._ask(_LOAD, *_encoded(service, key))
        else:
            rows = yield from self.first_entries(service, key, max_bytes)
        return stored(service, key, object_rows(rows))

    def first_entries(self, service: str, key: str, max_bytes: int) -> Script[Rows]:
        """Return rows of the entries that fit, and one without its value if another does not."""
        most = min(max_bytes, 2**62)
        return (yield from self._ask(_LOAD_PART, *_encoded(service, key), most, most))

    def load_many(self, service: str, keys: Iterable[str]) -> Script[dict[str, StoredObject]]:
        name = encoded("service", service)
        if isinstance(keys, str):
            raise TypeError("keys must be an iterable of str, not one str")
        wanted = [encoded("key", key) for key in keys]
        rows = yield from self._ask(_LOAD_MANY, name, wanted)
        rows_of: dict[bytes, Rows] = {}
        for row in rows:
            rows_of.setdefault(row[4], []).append((*row[1:4], *row[5:]))
        out = {}
        for each in wanted:
            found = stored(service, each.decode(), rows_of.get(each, []))
            if found is not None:
                out[found.key] = found
        return out

    def summary(self, service: str, key: str) -> Script[Rows]:
        """Return one row: the time, and version, expiry and completion of an object that exists."""
        return (yield from self._ask(_SUMMARY, *_encoded(service, key)))

    def exists(self, service: str, key: str) -> Script[bool]:
        rows = yield from self.summary(service, key)
        return rows[0][1] is not None

    def version(self, service: str, key: str) -> Script[int]:
        rows = yield from self.summary(service, key)
        return rows[0][1] or 0

    def expires_at(
        self, service: str, key: str, state_key: str | None = None
    ) -> Script[float | None]:
        if state_key is None:
            rows = yield from self.summary(service, key)
            return seconds(rows[0][2])
        state = encoded("state_key", state_key)
        rows = yield from self._ask(_EXPIRY, *_encoded(service, key), state)
        return seconds(rows[0][2])

    def state_keys(
        self,
        service: str,
        key: str,
        *,
        prefix: str = "",
        start: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> Script[list[str]]:
        name = _encoded(service, key)
        low = encoded("prefix", prefix)
        high = prefix_end(low)
        edge = encoded("start", start)
        check_limit(limit)
        if edge and reverse:
            high = edge + b"\0" if high is None else min(high, edge + b"\0")
        elif edge:
            low = max(low, edge)
        if limit == 0:
            return []
        rows = yield from self._ask(
            _STATE_KEYS, *name, low, high, high, limit, direction=_direction(reverse)
        )
        return [found.decode() for _, _, found in rows if found is not None]

    def services(self, start: str = "", limit: int | None = None) -> Script[list[str]]:
        low = encoded("start", start)
        check_limit(limit)
        if limit == 0:
            return []
        rows = yield from self._ask(_SERVICES, low, limit, limit)
        return [found.decode() for _, found in rows if found is not None]

    def count(self, service: str, *, prefix: str = "") -> Script[int]:
        low = encoded("prefix", prefix)
        high = prefix_end(low)
        name = encoded("service", service)
        rows = yield from self._ask(_COUNT, name, low, high, high)
        return int(rows[0][1])

    def estimate(self, service: str, prefix: str) -> Script[Estimate]:
        low = encoded("prefix", prefix)
        high = prefix_end(low)
        within = (encoded("service", service), low, high, high)
        rows = yield from self._ask(
            _SAMPLE, *within, COUNTED + 1, *within, _SAMPLED, _SAMPLED_ENTRIES
        )
        _, objects, sized, size = rows[0]
        if objects > COUNTED:
            ((plan,),) = yield Statement(self._text(_PLANNED), within)
            objects = max(objects, plan[0]["Plan"]["Plan Rows"])
        return Estimate(objects, int(size) * objects // sized if sized else 0)

    # --- windows of walks

    def keys_window(self, within: Range, reverse: bool, most: int) -> Script[Window[Bound]]:
        """Return the first objects of a range, at most so many."""
        rows = yield from self._window(_WINDOW, within, reverse, most)
        found = [(row[4], row[5]) for row in rows if row[4] is not None]
        return Window(found, len(found) < most)

    def workflows_window(
        self, within: Range, reverse: bool, most: int
    ) -> Script[Window[StoredWorkflow]]:
        """Return the first workflows of a range, at most so many."""
        rows = yield from self._window(_WINDOW, within, reverse, most)
        found = [
            StoredWorkflow(
                row[4].decode(), row[5].decode(), row[1], seconds(row[3]), seconds(row[2])
            )
            for row in rows
            if row[4] is not None
        ]
        return Window(found, len(found) < most)

    def objects_window(
        self, within: Range, reverse: bool, most: int
    ) -> Script[Window[StoredObject]]:
        """Return the first objects of a range with their entries, at most so many, or so large."""
        rows = yield from self._window(_WINDOW_WITH_ENTRIES, within, reverse, most)
        rows_of: dict[Bound, Rows] = {}
        is_cut = False
        for row in rows:
            if row[4] is not None:
                rows_of.setdefault((row[4], row[5]), []).append((*row[1:4], *row[7:]))
                is_cut = row[6]
        found = (
            stored(service.decode(), key.decode(), its) for (service, key), its in rows_of.items()
        )
        items = [each for each in found if each is not None]
        return Window(items, len(items) < most and not is_cut)

    def _window(self, template: str, within: Range, reverse: bool, most: int) -> Script[Rows]:
        high = within.high or (None, None)
        return (
            yield from self._ask(
                template, *within.low, high[0], *high, most, direction=_direction(reverse)
            )
        )

    def pulse(self) -> Script[tuple[int, int]]:
        rows = yield from self._ask(_PULSE)
        now, written = rows[0]
        return now, written

    def staleness(self) -> Script[float]:
        """Return how long ago the last commit was that a replica has applied; 0 on the primary."""
        ((seconds_behind,),) = yield Statement(_STALENESS, ())
        return max(float(seconds_behind or 0), 0.0)

    def sizes(self) -> Script[tuple[int, int]]:
        """Return how many objects there were at the last ANALYZE, and the bytes of all tables."""
        ((objects, size),) = yield Statement(_SIZES, (self._schema,))
        return max(objects or 0, 0), size or 0

    def retentions(self) -> Script[dict[str, int]]:
        """Return how long completed workflows are kept, in microseconds, by service."""
        rows = yield Statement(self._text(_RETENTION), ())
        return {service.decode(): kept for service, kept in rows}


def object_rows(rows: Rows) -> Rows:
    """Return rows about one object without the time that counted."""
    return [row[1:] for row in rows]


def stored(service: str, key: str, rows: Rows) -> StoredObject | None:
    """Return an object of its rows: version, expiry, completion, and an entry in each.

    None if there is none. An entry without a value is one that did not fit.
    """
    if not rows or rows[0][0] is None:
        return None
    version, expires_at, completed_at = rows[0][:3]
    entries: dict[str, bytes] = {}
    expiries: dict[str, float] = {}
    partial = False
    for _, _, _, name, value, ends in rows:
        if name is None:
            continue
        if value is None:
            partial = True
            continue
        state_key = name.decode()
        entries[state_key] = value
        if ends is not None:
            expiries[state_key] = ends / SECOND
    if not entries and not partial and completed_at is None:
        return None
    return StoredObject(
        service,
        key,
        version,
        seconds(expires_at),
        entries,
        expiries or None,
        partial,
        seconds(completed_at),
    )


def seconds(at: int | None) -> float | None:
    """Return a time of the server's in seconds since the epoch; None for never."""
    return None if at is None else at / SECOND


def range_of(
    service: str | None,
    prefix: str,
    start: str | None,
    stop: str | None,
    reverse: bool,
    limit: int | None,
) -> Range:
    """Return the objects that a walk covers. Raise TypeError or ValueError for bad bounds."""
    check_limit(limit)
    low_key = encoded("prefix", prefix)
    if service is None:
        if prefix or start is not None or stop is not None:
            raise ValueError("prefix, start and stop are for object keys: name a service too")
        return Range((b"", b""), None)
    name = encoded("service", service)
    end = prefix_end(low_key)
    high: Bound = (name + b"\0", b"") if end is None else (name, end)
    low: Bound = (name, low_key)
    if start is not None:
        edge = encoded("start", start)
        if reverse:
            high = min(high, (name, edge + b"\0"))
        else:
            low = max(low, (name, edge))
    if stop is not None:
        edge = encoded("stop", stop)
        if reverse:
            low = max(low, (name, edge + b"\0"))
        else:
            high = min(high, (name, edge))
    return Range(low, max(low, high))


def encoded(what: str, name: str) -> bytes:
    """Return a name as the server has it. Raise TypeError or ValueError if it is none."""
    found = check_name(what, name).encode()
    if len(found) > NAMES:
        raise ValueTooLarge(f"{what} is {len(found):,} bytes of UTF-8, over {NAMES:,}")
    return found


def _encoded(service: str, key: str) -> Bound:
    return encoded("service", service), encoded("key", key)


def _direction(reverse: bool) -> str:
    return "DESC" if reverse else "ASC"
