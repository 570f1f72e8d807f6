"""The daemon's end of the connection to its recorder process, which is started with it."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from weakref import WeakKeyDictionary

from dmrc.capture.frames import FrameKind, FrameReader, RecorderFrame, framed
from dmrc.capture.masking import CaptureLimits
from dmrc.capture.redaction import Redactor

_log = logging.getLogger(__name__)

_READ_BYTES = 256 << 10
_TOGETHER_BYTES = 1 << 20
_MOST_REDACTORS = 64
_LONGEST_REASON = 300


class ProcessLink:
    """One process, from its start to its end. Sends in the thread that made it; hears in one of its own."""

    def __init__(
        self,
        database: Path,
        max_file_bytes: int | None,
        limits: CaptureLimits,
        on_frame: Callable[[RecorderFrame], None],
        on_end: Callable[[], None],
    ) -> None:
        """Start the process; `on_frame` and `on_end` are called in the hearing thread.

        Raises:
            OSError: It cannot be started.
            RuntimeError: The hearing thread cannot; the process ends by itself.
        """
        self._redactors: WeakKeyDictionary[Redactor, int] = WeakKeyDictionary()
        self._numbers = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._on_frame = on_frame
        self._on_end = on_end
        self.has_ended = False
        """Whether its end was heard of."""
        self.is_ready = False
        """Whether it has said that it has started."""
        self.is_troubled = False
        """Whether it has said that it cannot write now what it has read."""
        self.did_work = False
        """Whether it has written anything."""
        self._channel, theirs = socket.socketpair()
        try:
            # A session of its own: Ctrl+C in a terminal, and a signal for the daemon's group, are not for it.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dmrc.capture.recorder_process"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except BaseException:
            self._channel.close()
            raise
        finally:
            theirs.close()
        self._thread = threading.Thread(target=self._hear, name="dmrc-recorder-acks", daemon=True)
        self._thread.start()
        self.put(framed(FrameKind.OPEN, str(database), max_file_bytes, asdict(limits)))

    @property
    def pid(self) -> int:
        """Return the id of the process."""
        return self._process.pid

    def put(self, frame: bytes) -> None:
        """Have a frame sent with the next ones."""
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        if self._waiting_bytes >= _TOGETHER_BYTES:
            self.send()

    def send(self) -> None:
        """Send the frames that were put; blocks while the process is busy. That one has died `on_end` tells."""
        frames, self._waiting, self._waiting_bytes = self._waiting, [], 0
        with contextlib.suppress(OSError):  # the hearing thread sees it too
            self._channel.sendall(b"".join(frames))

    def number_of(self, redactor: Redactor | None) -> int | None:
        """Return the number by which the process knows a redactor; what it masks is sent to it once."""
        if redactor is None:
            return None
        number = self._redactors.get(redactor)
        if number is None:
            if self._numbers % _MOST_REDACTORS == 0:
                self._redactors.clear()
                self.put(framed(FrameKind.REDACTOR, 0, []))
            self._numbers = number = self._numbers + 1
            self._redactors[redactor] = number
            self.put(framed(FrameKind.REDACTOR, number, list(redactor.values)))
        return number

    def end(self, seconds: float) -> None:
        """Wait for its end, `seconds` at most; then it is killed, and what it has not written is lost."""
        with contextlib.suppress(OSError):  # it has ended by itself
            self._channel.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self.reap()

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def reap(self) -> str:
        """Take note of the end of one that has ended; return how it did, in words."""
        self._thread.join()
        self._channel.close()
        lines = self._process.communicate()[1].decode(errors="replace").strip().splitlines()
        code = self._process.returncode
        said = f": {lines[-1][:_LONGEST_REASON]}" if lines else ""
        return f"{f'signal {-code}' if code < 0 else f'exit code {code}'}{said}"

    def _hear(self) -> None:
        frames = FrameReader()
        try:
            while data := self._received():
                for frame in frames.read(data):
                    self._take_in(frame)
        finally:
            self.has_ended = True
            self._on_end()

    def _received(self) -> bytes:
        try:
            return self._channel.recv(_READ_BYTES)
        except OSError:
            return b""

    def _take_in(self, frame: RecorderFrame) -> None:
        self.is_ready = True
        self.is_troubled = frame.kind == FrameKind.TROUBLE or (self.is_troubled and frame.kind != FrameKind.DONE)
        self.did_work |= frame.kind == FrameKind.DONE
        try:
            self._on_frame(frame)
        except Exception:  # noqa: BLE001 the others are heard all the same
            _log.exception("what the recorder process told is not understood")
