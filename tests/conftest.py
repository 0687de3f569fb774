"""What all tests share: they do not depend on how they were started."""

from __future__ import annotations

import signal

# A shell that starts a command in the background lets it ignore interrupts, and so do all its
# children. Tests that send one, to themselves or to a command that they run, need it to arrive.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
