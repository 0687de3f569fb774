"""What a flight does to each object: functions on states that no database knows."""

from __future__ import annotations

import msgspec
import pytest

from examples.flights.aggregate import (
    AIRCRAFT,
    AIRPORT,
    CARRIER,
    DELAY_STEPS,
    NO_DELAYS,
    Aircraft,
    Airport,
    Carrier,
    Flight,
    arrive,
    count_delay,
    depart,
    end,
    fields,
    fly,
    operate,
    plan,
    tellings,
    values,
    worse,
)
from examples.flights.columns import FlightEvent
from tests.examples.rows import ARRIVED

DIVERTED = msgspec.structs.replace(ARRIVED, arrived=None, arrival_delay=None, air_minutes=None)
CANCELLED = msgspec.structs.replace(DIVERTED, departed=None, departure_delay=None)
UNKNOWN = msgspec.structs.replace(ARRIVED, aircraft=None)


def short(count: int) -> list[int]:
    """A histogram of so many delays of some minutes. A new one: a state counts in its own."""
    return [0, count, 0, 0, 0, 0, 0]


def test_an_aircraft_gathers_what_it_flew() -> None:
    aircraft = Aircraft()
    fly(aircraft, ARRIVED)
    once = Aircraft(
        flights=1,
        distance=1400,
        air_minutes=227,
        last_airport="IAH",
        worst_delay=11,
        delays=short(1),
    )
    assert values(aircraft) == values(once)
    fly(aircraft, ARRIVED)
    assert (aircraft.flights, aircraft.distance, aircraft.air_minutes) == (2, 2800, 454)
    assert aircraft.delays == short(2)


def test_after_a_diverted_flight_nobody_knows_where_the_aircraft_stands() -> None:
    aircraft = Aircraft(flights=1, last_airport="EWR", worst_delay=11, delays=short(1))
    fly(aircraft, DIVERTED)
    assert (aircraft.flights, aircraft.last_airport, aircraft.worst_delay) == (2, None, 11)
    assert aircraft.delays == short(2)


def test_airports_count_departures_arrivals_and_cancellations() -> None:
    airport = Airport()
    depart(airport, ARRIVED)
    depart(airport, CANCELLED)
    arrive(airport, ARRIVED)
    expected = Airport(departures=1, arrivals=1, cancelled=1, worst_delay=2, delays=short(1))
    assert values(airport) == values(expected)


def test_a_carrier_counts_flights_and_cancellations() -> None:
    carrier = Carrier()
    for event in (ARRIVED, DIVERTED, CANCELLED):
        operate(carrier, event)
    expected = Carrier(
        flights=2, cancelled=1, distance=2800, air_minutes=227, worst_delay=11, delays=short(2)
    )
    assert values(carrier) == values(expected)


@pytest.mark.parametrize(
    ("event", "status", "delay"),
    [(ARRIVED, "arrived", 11), (DIVERTED, "diverted", 2), (CANCELLED, "cancelled", None)],
)
def test_a_flight_is_planned_and_ends(event: FlightEvent, status: str, delay: int | None) -> None:
    flight = Flight()
    plan(flight, event)
    assert (flight.status, flight.delay, flight.departed) == ("planned", None, None)
    assert (flight.route, flight.scheduled_departure) == ("EWR-IAH", 515)
    end(flight, event)
    assert (flight.status, flight.delay, flight.departed) == (status, delay, event.departed)


def test_each_delay_falls_into_the_step_whose_limit_it_does_not_pass() -> None:
    for step, limit in enumerate(DELAY_STEPS):
        delays = NO_DELAYS.copy()
        count_delay(delays, limit)
        count_delay(delays, limit + 1)
        assert (delays[step], delays[step + 1], sum(delays)) == (1, 1, 2)
    delays = NO_DELAYS.copy()
    count_delay(delays, -40)
    count_delay(delays, None)
    assert (delays[0], sum(delays)) == (1, 1)


def test_one_state_does_not_count_in_the_histogram_of_another() -> None:
    count_delay(Aircraft().delays, 5)
    assert Aircraft().delays == Carrier().delays == NO_DELAYS == [0] * 7


def test_the_worst_delay_may_be_early_or_unknown() -> None:
    assert worse(None, None) is None
    assert worse(None, -5) == -5
    assert worse(-5, None) == -5
    assert worse(-5, -9) == -5


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (ARRIVED, [(AIRCRAFT, "N14228"), (AIRPORT, "EWR"), (AIRPORT, "IAH"), (CARRIER, "UA")]),
        (DIVERTED, [(AIRCRAFT, "N14228"), (AIRPORT, "EWR"), (CARRIER, "UA")]),
        (CANCELLED, [(AIRPORT, "EWR"), (CARRIER, "UA")]),
        (UNKNOWN, [(AIRPORT, "EWR"), (AIRPORT, "IAH"), (CARRIER, "UA")]),
    ],
)
def test_an_event_is_told_to_those_whom_it_changes(
    event: FlightEvent, told: list[tuple[str, str]]
) -> None:
    """Each once: an object that was told twice would pass over the second effect.

    And none in vain: telling it changes more than the number of its last event.
    """
    found = tellings(event)
    assert [(telling.service, telling.key) for telling in found] == told
    for telling in found:
        state = telling.kind()
        before = values(state)
        telling.effect(state, event)
        assert values(state) != before


def test_the_fields_of_a_state_begin_with_the_number_of_its_last_event() -> None:
    assert fields(Airport) == [
        "last_event",
        "departures",
        "arrivals",
        "cancelled",
        "worst_delay",
        "delays",
    ]
