"""What a flight does to the objects it touches: states, and functions that change one.

An aircraft, an airport and a carrier are virtual objects that gather figures
for ever; a flight is a workflow: it is planned, all others are told of it, it
ends. A field of a state is an entry of its object.

The functions know no database. In a session they change what is stored, and on
a state made by itself, as ``Aircraft(flights=3)`` is, they say what should be.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any, NamedTuple

import kvengine
from examples.flights.columns import FlightEvent

AIRCRAFT, AIRPORT, CARRIER, FLIGHT = "Aircraft", "Airport", "Carrier", "Flight"

READER = ("Reader", "flights")
"""The object that remembers how far the events were read."""

DELAY_STEPS = (0, 15, 30, 60, 120, 240)
"""Upper limits, in minutes and included, of all steps of a histogram but the last."""

NO_DELAYS = [0] * (len(DELAY_STEPS) + 1)

Effect = Callable[[Any, FlightEvent], None]


class Told(kvengine.State):
    """An object that is told of events, of each once.

    ``last_event`` is the number of the last one that it took in. It changes in
    the same commit as the figures, so the two never disagree.
    """

    last_event: int = 0


class Aircraft(Told):
    """An aircraft by its registration: what it flew, and where it stands."""

    flights: int = 0
    distance: int = 0
    air_minutes: int = 0
    last_airport: str | None = None
    worst_delay: int | None = None
    delays: list[int] = NO_DELAYS


class Airport(Told):
    """An airport: departures with their delays, arrivals, and what was cancelled."""

    departures: int = 0
    arrivals: int = 0
    cancelled: int = 0
    worst_delay: int | None = None
    delays: list[int] = NO_DELAYS


class Carrier(Told):
    """A carrier: what it flew, and what it cancelled."""

    flights: int = 0
    cancelled: int = 0
    distance: int = 0
    air_minutes: int = 0
    worst_delay: int | None = None
    delays: list[int] = NO_DELAYS


class Flight(Told):
    """One flight from plan to end; its status is planned, arrived, diverted or cancelled."""

    status: str = "planned"
    route: str = ""
    scheduled_departure: int | None = None
    scheduled_arrival: int | None = None
    distance: int = 0
    aircraft: str | None = None
    departed: int | None = None
    arrived: int | None = None
    delay: int | None = None
    air_minutes: int | None = None


class Telling(NamedTuple):
    """Whom to tell of an event, and what it does to that object's state."""

    service: str
    key: str
    kind: type[Told]
    effect: Effect


def tellings(event: FlightEvent) -> list[Telling]:
    """The virtual objects that the event touches, in order, each once.

    A cancelled flight moves no aircraft, and neither does one whose
    registration is unknown; only a flight that came counts as an arrival.
    """
    told: list[Telling] = []
    if event.aircraft is not None and event.departed is not None:
        told.append(Telling(AIRCRAFT, event.aircraft, Aircraft, fly))
    told.append(Telling(AIRPORT, event.origin, Airport, depart))
    if event.arrival_delay is not None:
        told.append(Telling(AIRPORT, event.dest, Airport, arrive))
    told.append(Telling(CARRIER, event.carrier, Carrier, operate))
    return told


def fly(aircraft: Aircraft, event: FlightEvent) -> None:
    """The aircraft flew. After a diverted flight nobody knows where it stands."""
    delay = delay_of(event)
    aircraft.flights += 1
    aircraft.distance += event.distance
    aircraft.air_minutes += event.air_minutes or 0
    aircraft.last_airport = None if event.arrival_delay is None else event.dest
    aircraft.worst_delay = worse(aircraft.worst_delay, delay)
    count_delay(aircraft.delays, delay)


def depart(airport: Airport, event: FlightEvent) -> None:
    """The flight left the airport, or was cancelled there."""
    if event.departed is None:
        airport.cancelled += 1
        return
    airport.departures += 1
    airport.worst_delay = worse(airport.worst_delay, event.departure_delay)
    count_delay(airport.delays, event.departure_delay)


def arrive(airport: Airport, _: FlightEvent) -> None:
    """The flight came to the airport."""
    airport.arrivals += 1


def operate(carrier: Carrier, event: FlightEvent) -> None:
    """The carrier flew the flight, or cancelled it."""
    if event.departed is None:
        carrier.cancelled += 1
        return
    delay = delay_of(event)
    carrier.flights += 1
    carrier.distance += event.distance
    carrier.air_minutes += event.air_minutes or 0
    carrier.worst_delay = worse(carrier.worst_delay, delay)
    count_delay(carrier.delays, delay)


def plan(flight: Flight, event: FlightEvent) -> None:
    """The flight begins: all that is known of it before it leaves."""
    flight.status = "planned"
    flight.route = f"{event.origin}-{event.dest}"
    flight.scheduled_departure = event.scheduled_departure
    flight.scheduled_arrival = event.scheduled_arrival
    flight.distance = event.distance
    flight.aircraft = event.aircraft


def end(flight: Flight, event: FlightEvent) -> None:
    """The flight is over: how it went."""
    if event.departed is None:
        flight.status = "cancelled"
        return
    flight.status = "diverted" if event.arrival_delay is None else "arrived"
    flight.departed = event.departed
    flight.arrived = event.arrived
    flight.delay = delay_of(event)
    flight.air_minutes = event.air_minutes


def count_delay(delays: list[int], delay: int | None) -> None:
    """Count a delay in its step of the histogram; one that is unknown counts nowhere."""
    if delay is not None:
        delays[bisect_left(DELAY_STEPS, delay)] += 1


def worse(worst: int | None, delay: int | None) -> int | None:
    """The greater of two delays, either of which may be unknown."""
    return max((each for each in (worst, delay) if each is not None), default=None)


def delay_of(event: FlightEvent) -> int | None:
    """Minutes late at arrival, else at departure; None for a cancelled flight."""
    return event.departure_delay if event.arrival_delay is None else event.arrival_delay


def fields(kind: type[Told]) -> list[str]:
    """The fields of a kind of state, in the order in which they are written down."""
    return [*dict.fromkeys((*Told.__annotations__, *kind.__annotations__))]


def values(state: Told) -> dict[str, object]:
    """The fields of a state and their values."""
    return {name: getattr(state, name) for name in fields(type(state))}
