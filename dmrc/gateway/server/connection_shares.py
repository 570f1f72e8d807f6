"""How many connections may be open, in all and from one address, so that nobody takes the descriptors of others."""

from __future__ import annotations

import ipaddress
import logging
import resource
import time
from typing import Protocol

_log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 8192
# A request in flight has a connection to its engine too, so a connection of a caller costs two descriptors.
_DESCRIPTORS_OF_A_CONNECTION = 2
_RESERVED_DESCRIPTORS = 256
"""For the admin socket, databases, logs, downloads and files of models."""
_LOG_SECONDS = 60.0


class Connection(Protocol):
    """What may be asked to make room."""

    def give_way(self) -> None:
        """Close, for no request is in flight that was sent to its end."""


class ConnectionShares:
    """The connections of some listeners; for one event loop.

    Where there is no room for one more, the one that has waited longest for its caller to send a whole request is
    closed. Where each one has a request in flight, the new one is refused.
    """

    def __init__(self, in_all: int, of_an_address: int) -> None:
        """Allow so many."""
        self._in_all = in_all
        self._of_an_address = of_an_address
        self._open: dict[str, int] = {}
        self._waiting: dict[str, dict[Connection, None]] = {}
        self._count = 0
        self._next_log = 0.0

    def join(self, connection: Connection, address: str) -> bool:
        """Take in a new connection, which has no request yet; False: there is no room."""
        address = _holder(address)
        made_room = True
        if self._open.get(address, 0) >= self._of_an_address:
            made_room = self._make_room(self._waiting.get(address), f"of {address or 'this user'}")
        elif self._count >= self._in_all:
            made_room = self._make_room(max(self._waiting.values(), key=len, default=None), "of all callers")
        if not made_room:
            return False
        self._count += 1
        self._open[address] = self._open.get(address, 0) + 1
        self._waiting.setdefault(address, {})[connection] = None
        return True

    def leave(self, connection: Connection, address: str) -> None:
        """Forget a connection that was taken in."""
        address = _holder(address)
        self._count -= 1
        self._open[address] -= 1
        waiting = self._waiting[address]
        waiting.pop(connection, None)
        if not self._open[address]:
            del self._open[address], self._waiting[address]

    def works(self, connection: Connection, address: str) -> None:
        """Note that a request is in flight, which was sent to its end."""
        self._waiting[_holder(address)].pop(connection, None)

    def rests(self, connection: Connection, address: str) -> None:
        """Note that none is any more."""
        self._waiting[_holder(address)][connection] = None

    def _make_room(self, waiting: dict[Connection, None] | None, whose: str) -> bool:
        waiting = waiting or {}
        longest = next(iter(waiting), None)
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + _LOG_SECONDS
            done = "refused one more" if longest is None else "closed the one that waited longest"
            _log.warning(
                "%d connections are open, too many %s (limits: %d in all, %d of one address): %s",
                *(self._count, whose, self._in_all, self._of_an_address, done),
            )
        if longest is None:
            return False
        del waiting[longest]  # it closes a moment later: until then the next one must not count on its place, too
        longest.give_way()
        return True


def _holder(address: str) -> str:
    """Return who counts as one: an address; of IPv6 the network that one machine has, 64 bits."""
    if ":" not in address:
        return address
    found = ipaddress.IPv6Address(address)
    return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))


def shares_of_this_process(part: float = 1.0) -> ConnectionShares:
    """Return this part of what the limit of descriptors leaves for callers; half of it for each address."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    reserved = min(_RESERVED_DESCRIPTORS, descriptors // 4)
    most = min(_MOST_CONNECTIONS, (descriptors - reserved) // _DESCRIPTORS_OF_A_CONNECTION)
    in_all = max(1, int(most * part))
    return ConnectionShares(in_all, max(1, in_all // 2))


def shares_of_commands() -> ConnectionShares:
    """Return what there may be on the admin socket, out of what is reserved."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(8, min(_RESERVED_DESCRIPTORS, descriptors // 4) // 2)
    return ConnectionShares(most, most)


def raise_limit_of_descriptors() -> None:
    """Allow this process as many descriptors as the system lets it have: the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as error:  # macOS names no limit, and has one
            _log.info("the limit of open files stays at %d: %s", soft, error)
