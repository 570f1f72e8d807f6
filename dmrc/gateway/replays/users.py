"""Who waits for what a run comes to, and what each of them is told of it."""

from __future__ import annotations

from dataclasses import dataclass

from dmrc.fields import JsonValue
from dmrc.projects import process_of


@dataclass(frozen=True, slots=True)
class RunUser:
    """A command that waits for the end of a run: `dmrc up`, or `dmrc exec`."""

    process: tuple[int, float]
    """Its process, and when that began: `process_of`."""
    service: str | None
    """Whose program it runs; None of one that starts containers."""

    @classmethod
    def of(cls, process: int | None, service: str | None) -> RunUser | None:
        """Return who asks, by the number of its process; None where it has ended, or waits for nothing."""
        found = process_of(process) if process is not None else None
        return cls(found, service) if found is not None else None

    @property
    def is_there(self) -> bool:
        """Return whether it waits still."""
        return process_of(self.process[0]) == self.process


@dataclass(frozen=True, slots=True)
class JoinedRun:
    """The run that a command has begun or joined."""

    run: str
    """Tells it from others; its report says it too."""
    missed: int
    """Requests that were not recorded before: of those the command says nothing."""

    def to_json(self) -> JsonValue:
        """Return it as JSON can hold it."""
        return {"run": self.run, "missed": self.missed}
