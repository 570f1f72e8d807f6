"""What the daemon and a stream process tell each other of a stream."""

from __future__ import annotations

import array
import enum
import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from dmrc.engines.http_client.connection_options import ConnectionOptions
from dmrc.errors import DmrcError
from dmrc.streaming import Transform


class StreamMessage(enum.IntEnum):
    """What a frame says."""

    CARRY = 1
    """The daemon: carry a stream (`StreamOrder`); the descriptors of its caller and of its engine come with it."""
    ASK = 2
    """The daemon: tell of it what was not told yet."""
    STOP = 3
    """The daemon: let go of both connections."""
    READY = 4
    """The process: it can carry streams."""
    PASSED = 5
    """The process: these chunks have gone to the caller (`Passed`)."""
    TOLD = 6
    """The process: that was all so far, in answer to `ASK`."""
    ENDED = 7
    """The process: it has let go of both connections (`Outcome`)."""


@dataclass(frozen=True, slots=True)
class StreamOrder:
    """A stream to carry."""

    began_at: float
    """When its request was received, by `time.perf_counter`, which is one clock for all processes of a machine."""
    raw: bytes
    """What the engine has sent so far: the head of its answer, and perhaps some of the body."""
    options: ConnectionOptions
    """How the engine is waited for."""
    transforms: tuple[Transform, ...]
    """What it goes through, one after another; nothing has gone through them yet."""
    kept_bytes: int
    """How much the daemon wants to be told of it, for the record; of what comes after that only when it passed."""

    def packed(self) -> bytes | None:
        """Return it as bytes, for a process of the same dmrc; None: a transform has to do with things of this one."""
        try:
            return pickle.dumps(self, pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError):  # which of them, pickle does not promise
            return None

    @staticmethod
    def unpacked(content: bytes) -> StreamOrder:
        """Read what the daemon has packed."""
        order: StreamOrder = pickle.loads(content)  # noqa: S301 nobody but the daemon has the other end
        return order


@dataclass(frozen=True, slots=True)
class Passed:
    """Chunks that have gone to the caller."""

    offsets_ms: Sequence[float]
    """When each did, since the request was received."""
    sizes: Sequence[int]
    """Bytes of each."""
    body: bytes
    """All of them, or those at the beginning; see `StreamOrder.kept_bytes`."""

    def packed(self) -> bytes:
        """Return it as bytes."""
        offsets, sizes = array.array("d", self.offsets_ms), array.array("I", self.sizes)
        return struct.pack("=I", len(sizes)) + offsets.tobytes() + sizes.tobytes() + self.body

    @classmethod
    def unpacked(cls, content: bytes) -> Passed:
        """Read what a process has packed."""
        (count,) = struct.unpack_from("=I", content)
        offsets, sizes = array.array("d"), array.array("I")
        sizes_at = 4 + count * offsets.itemsize
        body_at = sizes_at + count * sizes.itemsize
        offsets.frombytes(content[4:sizes_at])
        sizes.frombytes(content[sizes_at:body_at])
        return cls(offsets, sizes, content[body_at:])


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stream ended."""

    is_complete: bool = False
    """Whether all of it has gone to the caller."""
    error: ConnectionError | DmrcError | None = None
    """Why not: the engine's connection broke off, or what came by it is no answer."""
    bug: str = ""
    """Or where a mistake of ours was raised."""
    may_keep_alive: bool = False
    """Whether the engine's connection can carry another answer."""
    is_cut: bool = False
    """Whether only a part of its last chunk has gone to the caller: it was stopped while the caller read slowly."""

    def packed(self) -> bytes:
        """Return it as bytes; an error as what it is and knows, for each class wants to be made of something else."""
        known = None if self.error is None else (type(self.error), self.error.args, vars(self.error))
        told = (self.is_complete, known, self.bug, self.may_keep_alive, self.is_cut)
        return pickle.dumps(told, pickle.HIGHEST_PROTOCOL)

    @classmethod
    def unpacked(cls, content: bytes) -> Outcome:
        """Read what a process has packed."""
        # Nobody but a process that the daemon has started has the other end.
        is_complete, known, bug, may_keep_alive, is_cut = pickle.loads(content)  # noqa: S301
        error = None
        if known is not None:
            kind, arguments, more = known
            error = kind.__new__(kind, *arguments)
            vars(error).update(more)
        return cls(is_complete, error, bug, may_keep_alive, is_cut)
