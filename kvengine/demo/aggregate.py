"""What a flight does to the state of the objects it touches: pure, state in, state out.

An aircraft, an airport and a carrier are virtual objects that gather figures
for ever; a flight is a workflow, written once and kept for its retention. Each
field of a state is an entry of its object, its value JSON; a field that is None
has no entry.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from kvengine.demo.columns import FlightEvent

AIRCRAFT, AIRPORT, CARRIER, FLIGHT = "Aircraft", "Airport", "Carrier", "Flight"

DELAY_STEPS = (0, 15, 30, 60, 120, 240)
"""Upper limits, in minutes and included, of all steps of a histogram but the last."""

NO_DELAYS = (0,) * (len(DELAY_STEPS) + 1)

Entries = Mapping[str, bytes]
Delays = tuple[int, ...]


class Aircraft(msgspec.Struct, frozen=True):
    """An aircraft by its registration: what it flew, and where it stands."""

    flights: int = 0
    distance: int = 0
    air_minutes: int = 0
    last_airport: str | None = None
    worst_delay: int | None = None
    delays: Delays = NO_DELAYS


class Airport(msgspec.Struct, frozen=True):
    """An airport: departures with their delays, arrivals, and what was cancelled."""

    departures: int = 0
    arrivals: int = 0
    cancelled: int = 0
    worst_delay: int | None = None
    delays: Delays = NO_DELAYS


class Carrier(msgspec.Struct, frozen=True):
    """A carrier: what it flew, and what it cancelled."""

    flights: int = 0
    cancelled: int = 0
    distance: int = 0
    air_minutes: int = 0
    worst_delay: int | None = None
    delays: Delays = NO_DELAYS


class Flight(msgspec.Struct, frozen=True):
    """One flight from plan to arrival; its status is arrived, diverted or cancelled."""

    status: str
    route: str
    scheduled: tuple[int, int]
    distance: int
    aircraft: str | None = None
    departed: int | None = None
    arrived: int | None = None
    delay: int | None = None
    air_minutes: int | None = None


def count_delay(delays: Delays, delay: int | None) -> Delays:
    """The histogram with one more delay in it; unchanged for a delay that is unknown."""
    if delay is None:
        return delays
    step = bisect_left(DELAY_STEPS, delay)
    return (*delays[:step], delays[step] + 1, *delays[step + 1 :])


def worse(worst: int | None, delay: int | None) -> int | None:
    """The greater of two delays, either of which may be unknown."""
    return max((each for each in (worst, delay) if each is not None), default=None)


def delay_of(event: FlightEvent) -> int | None:
    """Minutes late at arrival, else at departure; None for a cancelled flight."""
    return event.departure_delay if event.arrival_delay is None else event.arrival_delay


def fly(state: Aircraft, event: FlightEvent) -> Aircraft:
    """The aircraft after the flight; one that was cancelled leaves it as it was.

    After a diverted flight nobody knows where it stands: ``last_airport`` is None.
    """
    if event.departed is None:
        return state
    delay = delay_of(event)
    return Aircraft(
        flights=state.flights + 1,
        distance=state.distance + event.distance,
        air_minutes=state.air_minutes + (event.air_minutes or 0),
        last_airport=None if event.arrival_delay is None else event.dest,
        worst_delay=worse(state.worst_delay, delay),
        delays=count_delay(state.delays, delay),
    )


def depart(state: Airport, event: FlightEvent) -> Airport:
    """The airport of origin after the flight."""
    if event.departed is None:
        return msgspec.structs.replace(state, cancelled=state.cancelled + 1)
    return msgspec.structs.replace(
        state,
        departures=state.departures + 1,
        worst_delay=worse(state.worst_delay, event.departure_delay),
        delays=count_delay(state.delays, event.departure_delay),
    )


def arrive(state: Airport, event: FlightEvent) -> Airport:
    """The airport of destination after the flight; unchanged where it never came."""
    if event.arrival_delay is None:
        return state
    return msgspec.structs.replace(state, arrivals=state.arrivals + 1)


def operate(state: Carrier, event: FlightEvent) -> Carrier:
    """The carrier after the flight."""
    if event.departed is None:
        return msgspec.structs.replace(state, cancelled=state.cancelled + 1)
    delay = delay_of(event)
    return Carrier(
        flights=state.flights + 1,
        cancelled=state.cancelled,
        distance=state.distance + event.distance,
        air_minutes=state.air_minutes + (event.air_minutes or 0),
        worst_delay=worse(state.worst_delay, delay),
        delays=count_delay(state.delays, delay),
    )


def flight_of(event: FlightEvent) -> Flight:
    """The state of the flight's own workflow."""
    if event.departed is None:
        status = "cancelled"
    else:
        status = "diverted" if event.arrival_delay is None else "arrived"
    return Flight(
        status=status,
        route=f"{event.origin}-{event.dest}",
        scheduled=(event.scheduled_departure, event.scheduled_arrival),
        distance=event.distance,
        aircraft=event.aircraft,
        departed=event.departed,
        arrived=event.arrived,
        delay=delay_of(event),
        air_minutes=event.air_minutes,
    )


State = TypeVar("State", bound=msgspec.Struct)
Step = Callable[[State, FlightEvent], State]


def entries_of(state: msgspec.Struct) -> dict[str, bytes]:
    """The entries that hold a state: one a field, JSON, none for a field that is None."""
    return {
        name: msgspec.json.encode(value)
        for name in state.__struct_fields__
        if (value := getattr(state, name)) is not None
    }


def state_of(kind: type[State], entries: Entries) -> State:
    """The state that entries hold; the one without history where there are none."""
    fields = {name: msgspec.json.decode(value) for name, value in entries.items()}
    return msgspec.convert(fields, kind)


class Change(NamedTuple):
    """The entries of one object after an event, and before it."""

    service: str
    key: str
    before: Entries
    after: dict[str, bytes]


def changes(event: FlightEvent, load: Callable[[str, str], Entries]) -> list[Change]:
    """The virtual objects whose state the event changes; ``load`` gives the entries of one.

    The flight of an aircraft without a known registration moves no aircraft.
    """

    def after(service: str, key: str, step: Step[State], empty: State) -> Iterator[Change]:
        before = load(service, key)
        old = state_of(type(empty), before)
        new = step(old, event)
        if new != old:
            yield Change(service, key, before, entries_of(new))

    return [
        *(after(AIRCRAFT, event.aircraft, fly, Aircraft()) if event.aircraft else ()),
        *after(AIRPORT, event.origin, depart, Airport()),
        *after(AIRPORT, event.dest, arrive, Airport()),
        *after(CARRIER, event.carrier, operate, Carrier()),
    ]
