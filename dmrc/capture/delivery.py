"""One exchange on its way to the recorder process."""

from __future__ import annotations

from dataclasses import dataclass

from dmrc.capture.joining.evidence import Evidence
from dmrc.capture.redaction import Redactor
from dmrc.capture.rows import ExchangeTexts
from dmrc.exchange import Exchange, JsonValue
from dmrc.settings import CaptureLevel


@dataclass(slots=True, eq=False)
class Delivery:
    """One exchange that is accepted, and neither written nor given up."""

    number: int
    """Its place in the order in which they were accepted."""
    exchange: Exchange
    """As it finished; as it is to be written where `words` are there."""
    level: CaptureLevel | None
    """How much of it is recorded; None: the policy was not asked yet."""
    document: dict[str, JsonValue] | None
    """What its request was read as."""
    size: int
    """Bytes that it takes of `CaptureLimits.queue_bytes`."""
    redactor: Redactor | None = None
    """What masks it."""
    words: ExchangeTexts | None = None
    """What was said in it, where it was prepared in the daemon; the process only writes it."""
    evidence: Evidence | None = None
    """By what it is joined to a conversation, likewise."""
    is_ready: bool = False
    """Whether it may be sent."""
    is_told: bool = False
    """Whether those who want to know heard of it."""
    deaths: int = 0
    """How many processes died that had this one alone."""
