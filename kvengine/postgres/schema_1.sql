-- Schema 1: what the PostgreSQL home of kvengine stores, and the functions by which it writes.
--
-- {schema} is the schema's name. Names are bytea, so that they sort by their bytes and may hold NUL.
-- Times are microseconds since the epoch. All of it is created in one transaction (migrations.py).

-- One row per object. It outlives its entries, so that no version of an object is ever used twice:
-- `clear_all` and expiry leave it and begin a new life.
CREATE TABLE {schema}.objects (
    service      bytea  NOT NULL,
    key          bytea  NOT NULL,
    version      bigint NOT NULL,  -- the stamp of the last commit; only ever grows
    life         bigint NOT NULL,  -- entries of another life are dead: the stamp that began it
    expires_at   bigint,
    completed_at bigint,           -- of a workflow, which then exists without entries too
    token        bytea,            -- names the last commit: whether one whose answer was lost is in
    sweep_at     bigint,           -- when the sweeper is to look at the object, if ever
    PRIMARY KEY (service, key)
) WITH (fillfactor = 80);  -- room for updates on the same page, which leave the indexes alone

CREATE INDEX objects_to_sweep ON {schema}.objects (sweep_at) WHERE sweep_at IS NOT NULL;

CREATE TABLE {schema}.entries (
    service    bytea  NOT NULL,
    key        bytea  NOT NULL,
    life       bigint NOT NULL,
    state_key  bytea  NOT NULL,
    value      bytea  NOT NULL,
    expires_at bigint,
    PRIMARY KEY (service, key, life, state_key)
);

-- How long completed workflows of a service are kept; a day if there is no row.
CREATE TABLE {schema}.retentions (
    service   bytea  PRIMARY KEY,
    retention bigint NOT NULL
);

-- Sessions. A client keeps its lease by moving `until`; its claims count as long as it does. The
-- claim with the lowest place whose client lives has the object, the others wait in order. Not
-- logged: what a crash takes away are turns, and a commit checks its turn and its version anyway.
CREATE UNLOGGED TABLE {schema}.clients (
    client bigint PRIMARY KEY,
    name   text   NOT NULL,
    until  bigint NOT NULL
);

CREATE UNLOGGED TABLE {schema}.claims (
    service bytea  NOT NULL,
    key     bytea  NOT NULL,
    place   bigint NOT NULL,
    client  bigint NOT NULL,
    PRIMARY KEY (service, key, place)
);

CREATE SEQUENCE {schema}.places;

-- Watches. While a row of `watchers` runs, commits note what they change, and watchers look for what
-- became visible since they looked last. Not logged: after a crash a watcher finds its row gone.
CREATE UNLOGGED TABLE {schema}.watchers (
    watcher bigint PRIMARY KEY,
    until   bigint NOT NULL
);

CREATE UNLOGGED TABLE {schema}.changes (
    xid           xid8   NOT NULL,
    noted_at      bigint NOT NULL,
    stamp         bigint NOT NULL,
    service       bytea  NOT NULL,
    key           bytea  NOT NULL,
    until_service bytea,           -- of a range of objects: it begins at (service, key), and ends
    until_key     bytea            -- before this
);

CREATE INDEX changes_by_xid ON {schema}.changes (xid);

-- The time by the server's clock, as it is now.
CREATE FUNCTION {schema}.clock() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- The time by the server's clock, as it was when the transaction began.
CREATE FUNCTION {schema}.moment() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT (extract(epoch FROM now()) * 1000000)::bigint
$$;

-- The time that counts for a client, which has seen `floor` and expects about `estimate` (clock.py).
-- A negative estimate stands for a moment that is fixed: `floor` itself.
CREATE FUNCTION {schema}.believed(server bigint, floor bigint, estimate bigint)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN estimate < 0 THEN floor
                WHEN abs(server - estimate) > 60000000 THEN estimate
                ELSE greatest(server, floor) END
$$;

-- The time that counts now, as `believed` has it: in plpgsql, which takes a tenth of the time there.
-- The estimate is of when the statement began, which may have waited for a lock since.
CREATE FUNCTION {schema}.now_for(floor bigint, estimate bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    server bigint := {schema}.clock();
BEGIN
    IF estimate < 0 THEN
        RETURN floor;
    END IF;
    estimate := estimate + server - {schema}.moment();
    IF abs(server - estimate) > 60000000 THEN
        RETURN estimate;
    END IF;
    RETURN greatest(server, floor);
END $$;

-- Lock the row of an object, and make one if there is none.
CREATE FUNCTION {schema}.locked(s bytea, k bytea) RETURNS {schema}.objects LANGUAGE plpgsql AS $$
DECLARE
    o {schema}.objects;
BEGIN
    LOOP  -- between the two statements the sweeper may take the row away
        SELECT * INTO o FROM {schema}.objects WHERE service = s AND key = k FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO {schema}.objects (service, key, version, life, sweep_at)
            VALUES (s, k, 0, 0, {schema}.clock() + 86400000000) ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN o;
END $$;

-- Whether an object has an entry that lives at `t`, beside those that are named in `but`.
CREATE FUNCTION {schema}.has_entry(o {schema}.objects, t bigint, but bytea[])
RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM {schema}.entries e
        WHERE e.service = o.service AND e.key = o.key AND e.life = o.life
            AND (e.expires_at IS NULL OR e.expires_at > t)
            AND (but IS NULL OR e.state_key <> ALL (but)));
END $$;

-- The version of an object at `t`: 0 if it is absent.
CREATE FUNCTION {schema}.version_at(o {schema}.objects, t bigint)
RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF o.version = 0 OR o.expires_at <= t THEN
        RETURN 0;
    ELSIF o.completed_at IS NOT NULL OR {schema}.has_entry(o, t, NULL) THEN
        RETURN o.version;
    END IF;
    RETURN 0;
END $$;

-- Note a change for those who watch, if anybody does.
CREATE FUNCTION {schema}.note(stamp bigint, s bytea, k bytea, until_s bytea, until_k bytea)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM {schema}.watchers) THEN
        INSERT INTO {schema}.changes
            VALUES (pg_current_xact_id(), {schema}.clock(), stamp, s, k, until_s, until_k);
    END IF;
END $$;

-- Write one object whose row `o` is locked, and return whether it took the `ending`, if one is given.
--
--   cleared    nothing that it had before is left
--   names, vals, ends  entries to set; an end is NULL (never), a time, or minus a time to live
--   gone       names of entries to clear
--   ending     'expire' with `a` as an end, or 'complete' with the retention in `a` and the time of
--              completion in `b`, NULL for now
--
-- An expired object is cleared first: a write to it begins a new one. If `ending` is all there is
-- and the object does not take it, nothing is written.
CREATE FUNCTION {schema}.put(
    o {schema}.objects, stamp bigint, t bigint, mark bytea, cleared boolean,
    names bytea[], vals bytea[], ends bigint[], gone bytea[], ending text, a bigint, b bigint
) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    fresh boolean := cleared OR coalesce(o.expires_at <= t, false);
    sweep bigint := o.sweep_at;
    taken boolean := true;
BEGIN
    IF fresh THEN
        IF o.life = stamp THEN  -- it began in an earlier step of the same batch
            DELETE FROM {schema}.entries
                WHERE service = o.service AND key = o.key AND life = o.life;
        END IF;
        IF o.version > 0 THEN
            sweep := t;
        END IF;
        o.life := stamp;
        o.expires_at := NULL;
        o.completed_at := NULL;
    END IF;
    IF ends IS NOT NULL THEN
        SELECT array_agg(CASE WHEN e < 0 THEN least(t - e, 253402300799000000) ELSE e END ORDER BY i),
               least(sweep, min(CASE WHEN e < 0 THEN t - e ELSE e END) + 15000000)
            INTO ends, sweep FROM unnest(ends) WITH ORDINALITY u(e, i);
    END IF;
    IF ending = 'expire' THEN
        taken := o.completed_at IS NOT NULL
            OR EXISTS (SELECT FROM unnest(names, ends) u(n, e) WHERE n IS NOT NULL AND (e IS NULL OR e > t))
            OR (NOT fresh AND {schema}.has_entry(o, t, gone || names));
        IF taken THEN
            o.expires_at := CASE WHEN a < 0 THEN least(t - a, 253402300799000000) ELSE a END;
            IF a IS NULL THEN
                o.completed_at := NULL;
            END IF;
        END IF;
    ELSIF ending = 'complete' THEN
        taken := o.completed_at IS NULL;
        IF taken THEN
            o.completed_at := coalesce(b, t);
            o.expires_at := least(o.completed_at + a, 253402300799000000);
        END IF;
    END IF;
    IF NOT taken AND names IS NULL AND gone IS NULL AND NOT cleared THEN
        RETURN false;
    END IF;
    IF gone IS NOT NULL OR (cleared AND names IS NULL) THEN
        sweep := least(sweep, t + 86400000000);  -- by then the row may be in nobody's way
    END IF;
    UPDATE {schema}.objects SET version = stamp, life = o.life, expires_at = o.expires_at,
        completed_at = o.completed_at, token = mark, sweep_at = least(sweep, o.expires_at + 15000000)
        WHERE service = o.service AND key = o.key;
    IF gone IS NOT NULL AND NOT fresh THEN
        DELETE FROM {schema}.entries
            WHERE service = o.service AND key = o.key AND life = o.life AND state_key = ANY (gone);
    END IF;
    IF names IS NOT NULL THEN
        INSERT INTO {schema}.entries (service, key, life, state_key, value, expires_at)
            SELECT o.service, o.key, o.life, n, v, e FROM unnest(names, vals, ends) u(n, v, e)
            ON CONFLICT (service, key, life, state_key)
            DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at;
    END IF;
    PERFORM {schema}.note(stamp, o.service, o.key, NULL, NULL);
    RETURN taken;
END $$;

-- Commit changes to one object; the arguments are those of `put`, and:
--
--   expected   the version that the object must have; NULL for any
--   place      of the session's claim, NULL outside of a session; `leaves` gives it back
--   durable    whether the commit waits until it is as safe as the server makes it
--
-- Return the stamp (NULL if nothing was written), the time that counted, whether the `ending` was
-- taken, and, if the commit was refused, the version that the object has, or -1 for a lost claim.
CREATE FUNCTION {schema}.commit(
    s bytea, k bytea, expected bigint, cleared boolean,
    names bytea[], vals bytea[], ends bigint[], gone bytea[], ending text, a bigint, b bigint,
    mark bytea, place bigint, leaves boolean, durable boolean, floor bigint, estimate bigint,
    OUT stamp bigint, OUT t bigint, OUT taken boolean, OUT actual bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    o {schema}.objects;
BEGIN
    IF NOT durable THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    SELECT * INTO o FROM {schema}.objects WHERE service = s AND key = k FOR UPDATE;
    IF NOT FOUND AND names IS NULL AND ending IS DISTINCT FROM 'complete' THEN
        t := {schema}.now_for(floor, estimate);  -- nothing to clear, and nothing to expire
        taken := false;
        IF expected > 0 THEN
            actual := 0;
            RETURN;
        END IF;
        IF ending IS NULL THEN
            stamp := t;
        END IF;
        IF leaves THEN
            PERFORM {schema}.leave(s, k, place);
        END IF;
        RETURN;
    ELSIF NOT FOUND THEN
        o := {schema}.locked(s, k);
    END IF;
    t := {schema}.now_for(floor, estimate);  -- after the wait for the row
    IF place IS NOT NULL AND NOT {schema}.keeps(s, k, place) THEN
        actual := -1;
        RETURN;
    END IF;
    IF expected IS NOT NULL THEN
        actual := {schema}.version_at(o, t);
        IF actual <> expected THEN
            RETURN;
        END IF;
        actual := NULL;
    END IF;
    stamp := greatest(t, o.version + 1);
    taken := {schema}.put(
        o, stamp, t, mark, cleared, names, vals, ends, gone, ending, a, b);
    IF NOT taken AND names IS NULL AND gone IS NULL AND NOT cleared THEN
        stamp := CASE WHEN ending = 'complete' THEN o.version END;
    END IF;
    IF leaves THEN
        PERFORM {schema}.leave(s, k, place);
    END IF;
END $$;

-- Commit a batch: steps in order, over any number of objects, all or nothing.
--
-- A step is the change of an object, its arguments those of `put`, or, where `until_s` is not NULL, a
-- range of objects to clear: from (s, k) to before (until_s, until_k). Entries name the step that they
-- are of; one without a value is cleared. `expected` are the versions that objects must have.
CREATE FUNCTION {schema}.commit_batch(
    ss bytea[], ks bytea[], until_ss bytea[], until_ks bytea[], cleareds boolean[],
    endings text[], as_ bigint[], bs bigint[],
    steps bigint[], names bytea[], vals bytea[], ends bigint[],
    expected_ss bytea[], expected_ks bytea[], expected bigint[],
    mark bytea, durable boolean, floor bigint, estimate bigint,
    OUT stamp bigint, OUT t bigint, OUT service bytea, OUT key bytea, OUT actual bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    o {schema}.objects;
    step record;
    top bigint := 0;
    highest bigint;
BEGIN
    IF NOT durable THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    -- Everybody locks in the order of the names, so that nobody waits in a circle.
    IF cardinality(expected_ss) = 0 AND array_position(until_ss, NULL) IS NULL THEN
        FOR step IN  -- ranges alone: all rows of one in a single statement
            SELECT u.* FROM unnest(ss, ks, until_ss, until_ks) u(s, k, until_s, until_k)
            ORDER BY u.s, u.k
        LOOP
            SELECT max(locked.version) INTO highest FROM (
                SELECT found.version FROM {schema}.objects found
                WHERE (found.service, found.key) >= (step.s, step.k)
                    AND (found.service, found.key) < (step.until_s, step.until_k)
                ORDER BY found.service, found.key FOR UPDATE) locked;
            top := greatest(top, highest);
        END LOOP;
    ELSE
        FOR step IN
            SELECT u.s, u.k FROM unnest(ss, ks, until_ss) u(s, k, until_s) WHERE u.until_s IS NULL
            UNION SELECT u.s, u.k FROM unnest(expected_ss, expected_ks) u(s, k)
            UNION SELECT found.service, found.key
                FROM unnest(ss, ks, until_ss, until_ks) u(s, k, until_s, until_k)
                JOIN {schema}.objects found ON (found.service, found.key) >= (u.s, u.k)
                    AND (found.service, found.key) < (u.until_s, u.until_k)
            ORDER BY 1, 2
        LOOP
            o := {schema}.locked(step.s, step.k);
            top := greatest(top, o.version);
        END LOOP;
    END IF;
    t := {schema}.now_for(floor, estimate);
    FOR step IN
        SELECT u.* FROM unnest(expected_ss, expected_ks, expected) WITH ORDINALITY u(s, k, v, i) ORDER BY u.i
    LOOP
        o := {schema}.locked(step.s, step.k);
        actual := {schema}.version_at(o, t);
        IF actual <> step.v THEN
            commit_batch.service := step.s;
            commit_batch.key := step.k;
            RETURN;
        END IF;
    END LOOP;
    actual := NULL;
    stamp := greatest(t, top + 1);
    FOR step IN
        SELECT u.*, e.names, e.vals, e.ends, e.gone
        FROM unnest(ss, ks, until_ss, until_ks, cleareds, endings, as_, bs) WITH ORDINALITY
            u(s, k, until_s, until_k, cleared, ending, a, b, i)
        LEFT JOIN (
            SELECT w.i,
                array_agg(w.n ORDER BY w.j) FILTER (WHERE w.v IS NOT NULL) AS names,
                array_agg(w.v ORDER BY w.j) FILTER (WHERE w.v IS NOT NULL) AS vals,
                CASE WHEN bool_or(w.e IS NOT NULL)
                    THEN array_agg(w.e ORDER BY w.j) FILTER (WHERE w.v IS NOT NULL) END AS ends,
                array_agg(w.n) FILTER (WHERE w.v IS NULL) AS gone
            FROM unnest(steps, names, vals, ends) WITH ORDINALITY w(i, n, v, e, j) GROUP BY w.i
        ) e USING (i)
        ORDER BY i
    LOOP
        IF step.until_s IS NULL THEN
            SELECT found.* INTO o FROM {schema}.objects found
                WHERE found.service = step.s AND found.key = step.k;
            PERFORM {schema}.put(o, stamp, t, mark, step.cleared, step.names, step.vals, step.ends,
                step.gone, step.ending, step.a, step.b);
        ELSE
            IF step.i > 1 THEN  -- what earlier steps set in a life that they began
                DELETE FROM {schema}.entries e USING {schema}.objects found
                WHERE (found.service, found.key) >= (step.s, step.k)
                    AND (found.service, found.key) < (step.until_s, step.until_k)
                    AND found.life = stamp AND e.life = stamp
                    AND e.service = found.service AND e.key = found.key;
            END IF;
            -- An object that was made since the rows were locked, at a later time, comes after this.
            UPDATE {schema}.objects cleared SET version = stamp, life = stamp, expires_at = NULL,
                completed_at = NULL, token = mark, sweep_at = t
            WHERE (cleared.service, cleared.key) >= (step.s, step.k)
                AND (cleared.service, cleared.key) < (step.until_s, step.until_k)
                AND cleared.version BETWEEN 1 AND stamp;
            PERFORM {schema}.note(stamp, step.s, step.k, step.until_s, step.until_k);
        END IF;
    END LOOP;
END $$;

-- Clear an entry and return the value that it had; NULL, with nothing written, if there was none.
CREATE FUNCTION {schema}.pop(
    s bytea, k bytea, n bytea, mark bytea, durable boolean, floor bigint, estimate bigint,
    OUT t bigint, OUT popped bytea
) LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    o {schema}.objects;
BEGIN
    IF NOT durable THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    SELECT * INTO o FROM {schema}.objects WHERE service = s AND key = k FOR UPDATE;
    t := {schema}.now_for(floor, estimate);
    IF o.expires_at <= t THEN
        RETURN;
    END IF;
    SELECT value INTO popped FROM {schema}.entries e
        WHERE e.service = s AND e.key = k AND e.life = o.life AND e.state_key = n
            AND (e.expires_at IS NULL OR e.expires_at > t);
    IF popped IS NOT NULL THEN
        PERFORM {schema}.put(o, greatest(t, o.version + 1), t, mark, false, NULL, NULL, NULL,
            ARRAY[n], NULL, NULL, NULL);
    END IF;
END $$;

-- Register a watcher for so many seconds from now, and return whether it was registered before.
CREATE FUNCTION {schema}.watch(me bigint, seconds float8)
RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    t bigint := {schema}.clock();
    ran boolean;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT w.until > t INTO ran FROM {schema}.watchers w WHERE w.watcher = me;
    INSERT INTO {schema}.watchers VALUES (me, t + (seconds * 1000000)::bigint)
        ON CONFLICT (watcher) DO UPDATE SET until = excluded.until;
    RETURN coalesce(ran, false);
END $$;

-- Whether a session still has its turn: its claim is there, or nobody else has one. A claim is gone
-- if its client let its lease run out and somebody waited, or if the server crashed.
CREATE FUNCTION {schema}.keeps(s bytea, k bytea, place bigint) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_variable
BEGIN
    RETURN EXISTS (
            SELECT FROM {schema}.claims c WHERE c.service = s AND c.key = k AND c.place = place)
        OR NOT EXISTS (SELECT FROM {schema}.claims c WHERE c.service = s AND c.key = k);
END $$;

-- Move the lease of a client to `seconds` from now, and return whether it was still running.
CREATE FUNCTION {schema}.renew(me bigint, known_as text, seconds float8)
RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    t bigint := {schema}.clock();
    ran boolean;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT until > t INTO ran FROM {schema}.clients WHERE client = me;
    INSERT INTO {schema}.clients VALUES (me, known_as, t + (seconds * 1000000)::bigint)
        ON CONFLICT (client) DO UPDATE SET until = excluded.until;
    RETURN coalesce(ran, false);
END $$;

-- Claim an object for a session, or ask again with the `place` that waits: NULL the first time.
--
-- `lock` is a number of the object, the same for everybody. Return the place, and the name of the
-- client that has the object instead, NULL if it is ours. Claims of clients whose lease ran out go.
-- A client that has no lease, the first time and after a crash, gets one of so many seconds.
CREATE FUNCTION {schema}.claim(
    s bytea, k bytea, lock bigint, me bigint, known_as text, seconds float8,
    INOUT place bigint, OUT holder text
) LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    t bigint := {schema}.clock();
    first record;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock(lock);
    IF place IS NULL OR NOT EXISTS (
        SELECT FROM {schema}.claims c WHERE c.service = s AND c.key = k AND c.place = place
    ) THEN
        place := nextval('{schema}.places');
        -- A client has one session of an object at a time: what it left here before is forgotten.
        DELETE FROM {schema}.claims c WHERE c.service = s AND c.key = k AND c.client = me;
        INSERT INTO {schema}.claims VALUES (s, k, place, me);
        INSERT INTO {schema}.clients VALUES (me, known_as, t + (seconds * 1000000)::bigint)
            ON CONFLICT DO NOTHING;
    END IF;
    LOOP
        SELECT c.place, c.client, l.name, coalesce(l.until > t OR c.client = me, false) AS lives
            INTO first FROM {schema}.claims c LEFT JOIN {schema}.clients l USING (client)
            WHERE c.service = s AND c.key = k ORDER BY c.place LIMIT 1;
        EXIT WHEN first.lives;
        DELETE FROM {schema}.claims c WHERE c.service = s AND c.key = k AND c.place = first.place;
    END LOOP;
    IF first.place <> place THEN
        holder := first.name;
    END IF;
END $$;

-- Give the turn, or the place in the queue, back.
CREATE FUNCTION {schema}.leave(s bytea, k bytea, place bigint) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_variable
BEGIN
    DELETE FROM {schema}.claims c WHERE c.service = s AND c.key = k AND c.place = place;
END $$;

-- Remove what is dead of at most `most` objects, and return of how many.
--
-- Dead are entries of earlier lives, entries and objects that expired more than the grace ago, and
-- rows of objects that have had no entry for a day. Any number of clients may sweep at once.
CREATE FUNCTION {schema}.sweep(most bigint, t bigint) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    o {schema}.objects;
    swept bigint := 0;
    left_ bigint;
    next_ bigint;
BEGIN
    FOR o IN
        SELECT * FROM {schema}.objects WHERE sweep_at <= t ORDER BY sweep_at LIMIT most
        FOR UPDATE SKIP LOCKED
    LOOP
        swept := swept + 1;
        IF o.expires_at <= t - 15000000 THEN
            o.life := greatest(t, o.version + 1);
            o.version := o.life;
            o.expires_at := NULL;
            o.completed_at := NULL;
        END IF;
        DELETE FROM {schema}.entries e USING (
            SELECT e.life, e.state_key FROM {schema}.entries e
            WHERE e.service = o.service AND e.key = o.key
                AND (e.life <> o.life OR e.expires_at <= t - 15000000) LIMIT 1000) dead
            WHERE e.service = o.service AND e.key = o.key AND e.life = dead.life
                AND e.state_key = dead.state_key;
        GET DIAGNOSTICS left_ = ROW_COUNT;
        IF left_ = 1000 THEN
            next_ := t;  -- there may be more
        ELSE
            SELECT min(e.expires_at) + 15000000, count(*) INTO next_, left_
                FROM {schema}.entries e WHERE e.service = o.service AND e.key = o.key;
            IF left_ = 0 AND o.expires_at IS NULL THEN  -- an expiry is kept, and ends it in time
                IF o.version < t - 86400000000 THEN
                    DELETE FROM {schema}.objects WHERE service = o.service AND key = o.key;
                    CONTINUE;
                END IF;
                next_ := greatest(o.version, t - 86400000000) + 86400000001;
            END IF;
            next_ := least(next_, o.expires_at + 15000000);
        END IF;
        UPDATE {schema}.objects SET version = o.version, life = o.life, expires_at = o.expires_at,
            completed_at = o.completed_at, sweep_at = next_
            WHERE service = o.service AND key = o.key;
    END LOOP;
    DELETE FROM {schema}.clients c WHERE c.until < t - 86400000000;
    DELETE FROM {schema}.claims c  -- of those too whose client ended beside them
        WHERE NOT EXISTS (SELECT FROM {schema}.clients l WHERE l.client = c.client);
    DELETE FROM {schema}.watchers w WHERE w.until < t - 60000000;
    DELETE FROM {schema}.changes c WHERE c.noted_at < t - 60000000;
    RETURN swept;
END $$;
