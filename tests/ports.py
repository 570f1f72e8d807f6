"""TCP ports for servers that are told which one to take."""

from __future__ import annotations

import itertools
import random
import socket

# Below the ephemeral ones (32768 to 60999): who asks the system for any port gets none of these, and so none that
# somebody has here and has not bound yet.
_PORTS = range(20_000, 32_000)
_turns = itertools.count(random.randrange(len(_PORTS)))


def free_port() -> int:
    """Return a TCP port that is free on every address."""
    for turn in itertools.islice(_turns, len(_PORTS)):
        port = _PORTS[turn % len(_PORTS)]
        with socket.socket() as listener:
            try:
                listener.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port from {_PORTS.start} to {_PORTS.stop - 1}")
