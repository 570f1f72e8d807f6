"""Frames, some with descriptors, between the daemon and a stream process: one unix socket, on an event loop."""

from __future__ import annotations

import array
import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence

_HEAD = struct.Struct("!IBI")
"""Of a frame: bytes of its content, kind, number of the stream."""
_READ_BYTES = 256 << 10
_MOST_DESCRIPTORS = 64
"""In one read. Linux and macOS read no further than to the next bytes that bring some."""
_BACKLOG_BYTES = 1 << 20

Take = Callable[[int, int, bytes], None]
"""Takes a frame: its kind, the number of the stream, its content."""


class Channel:
    """One end of a channel; nothing here waits."""

    def __init__(self, end: socket.socket, take: Take, ended: Callable[[], None]) -> None:
        """Read from `end`, and tell when nothing more comes, for the other process is gone."""
        self._end = end
        self._take = take
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._read_bytes = bytearray()
        self._descriptors: deque[int] = deque()
        self._unsent = bytearray()
        self._is_writing = self._is_closed = False
        self._flushing: asyncio.Handle | None = None
        self._held: list[Callable[[], None]] = []
        end.setblocking(False)
        self._loop.add_reader(end, self._read)

    def send(self, kind: int, number: int, content: bytes = b"") -> None:
        """Send a frame with all others of this turn of the event loop; what the other end does not take yet is kept."""
        if self._is_closed:
            return
        self._unsent += _HEAD.pack(len(content), kind, number) + content
        if self._flushing is None and not self._is_writing:
            self._flushing = self._loop.call_soon(self._flush)

    def send_with(self, descriptors: Sequence[int], kind: int, number: int, content: bytes) -> bool:
        """Send a frame and descriptors, which its reader gets by `descriptor`; False: not now, and none was sent.

        They are sent at once or not at all: a number that waits may be that of another file a moment later.
        """
        self._flush()
        if self._is_closed or self._unsent:
            return False
        frame = _HEAD.pack(len(content), kind, number) + content
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        try:
            sent = self._end.sendmsg([frame], [rights])
        except OSError:  # it has no room, too many are on their way, or nobody is there: `_read` hears of that
            return False
        self._unsent += frame[sent:]
        self._flush()
        return True

    def descriptor(self) -> int:
        """Return the next descriptor that came, now the caller's own."""
        return self._descriptors.popleft()

    @property
    def is_congested(self) -> bool:
        """Return whether more than a MiB waits for the other end."""
        return len(self._unsent) > _BACKLOG_BYTES

    def when_sent(self, call: Callable[[], None]) -> None:
        """Call once all has been sent that waits."""
        self._held.append(call)

    def close(self) -> None:
        """End it; nobody is told here, and the other end hears of it."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._end)
        self._loop.remove_writer(self._end)
        self._end.close()
        while self._descriptors:
            socket.close(self._descriptors.popleft())

    def _flush(self) -> None:
        self._flushing = None
        if self._is_closed:
            return
        try:
            while self._unsent:
                del self._unsent[: self._end.send(self._unsent)]
        except BlockingIOError:
            if not self._is_writing:
                self._is_writing = True
                self._loop.add_writer(self._end, self._flush)
            return
        except OSError:  # nobody is there: `_read` hears of that
            self._unsent.clear()
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._end)
        held, self._held = self._held, []
        for call in held:
            call()

    def _read(self) -> None:
        try:
            data, rights, flags, _ = self._end.recvmsg(_READ_BYTES, socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS))
        except BlockingIOError:
            return
        except OSError:
            data, rights, flags = b"", [], 0
        for _, kind, numbers in rights:
            if kind == socket.SCM_RIGHTS:
                whole = numbers[: len(numbers) - len(numbers) % 4]
                self._descriptors.extend(array.array("i", whole))
        if not data or flags & socket.MSG_CTRUNC:  # without all descriptors nobody knows which ones are whose
            self.close()
            self._ended()
            return
        self._read_bytes += data
        self._take_frames()

    def _take_frames(self) -> None:
        held, start = self._read_bytes, 0
        while len(held) - start >= _HEAD.size and not self._is_closed:
            length, kind, number = _HEAD.unpack_from(held, start)
            end = start + _HEAD.size + length
            if len(held) < end:
                break
            content = bytes(held[start + _HEAD.size : end])
            start = end
            self._take(kind, number, content)
        del held[:start]
