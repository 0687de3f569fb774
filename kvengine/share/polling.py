"""How long to look for what is to come before one sleeps until it does: adaptive busy polling."""

from __future__ import annotations

from kvengine.share.calls import look

_LONGEST = 100_000
"""Nanoseconds for which one looks at most: about as long as it takes to send a core to sleep, to
wake it, and to answer a request."""

_MOST_MISSES = 6


class BusyPolling:
    """Looks for what is to come, as long as it tends to come soon.

    A thread that sleeps is woken after 5 to 50 us, which is longer than an owner needs for most
    requests. After n looks in vain, nobody looks the next 2**n - 1 times, at most 63: where answers
    take long, or others want the cores, little is lost. The idea is that of mutexes that spin
    before they sleep, and of drivers that poll fast disks.
    """

    __slots__ = ("_misses", "_rests")

    def __init__(self) -> None:
        self._misses = self._rests = 0

    def look(self, fd: int, keeps_lock: bool) -> None:
        """Return when something can be read from ``fd``, or after 100 us.

        ``keeps_lock``: other threads of this interpreter must wait meanwhile.
        """
        if self._rests:
            self._rests -= 1
        elif look(fd, _LONGEST, keeps_lock):
            self._misses = 0
        else:
            self._misses = min(self._misses + 1, _MOST_MISSES)
            self._rests = (1 << self._misses) - 1
