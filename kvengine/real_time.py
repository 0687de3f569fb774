"""The machine's own clocks, past what a test puts in the place of `time.time` and its kin.

freezegun and time-machine let those stand still or jump. A wait that went by them would never end,
and counters would tell of no time. So every module asks here, and `time` for `sleep` alone, which
gevent and eventlet replace with good reason.

freezegun replaces names; these are no names of `time`. time-machine replaces the functions
beneath, but not what they tell of any clock but the wall clock: in plain Python `wall` and
`wall_ns` follow it (compiled, the engine has its own: storage/machine.pyx).
"""

import time
from functools import partial

wall: partial[float] = partial(time.clock_gettime, time.CLOCK_REALTIME)
"""Return seconds since the epoch."""

wall_ns: partial[int] = partial(time.clock_gettime_ns, time.CLOCK_REALTIME)
"""Return nanoseconds since the epoch."""

monotonic: partial[float] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
"""Return seconds since some fixed instant."""
