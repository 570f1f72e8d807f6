"""What a request is told that gets no slot, for nothing that it did."""

from __future__ import annotations

from dmrc.errors import BusyError
from dmrc.scheduler.target import Target


def unloaded(target: Target) -> BusyError:
    """Return that its model was unloaded while it waited."""
    return BusyError(f"model '{target.reference}' was unloaded meanwhile", retry_after_seconds=1, remedy="Try again")


def stopping() -> BusyError:
    """Return that nobody is served any more."""
    return BusyError("the daemon is stopping", retry_after_seconds=5, remedy="Try again when it runs: dmrc status")
