"""What `x-dmrc: {faults: …}` and `dmrc faults set` say: which requests of a service fail on purpose, and how."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from dmrc.errors import ProjectError
from dmrc.fields import mapping, one_of, positive, refuse_unknown
from dmrc.project.option_fields import share

FaultKind = Literal[
    "rate_limit", "error", "missing_model", "slow_first_token", "cut", "malformed_tool_arguments"
]  # fmt: skip
"""What goes wrong."""

FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

_LONGEST_SECONDS = 3600
_SETTINGS: Mapping[FaultKind, str] = {
    "rate_limit": "retry_after",
    "error": "status",
    "slow_first_token": "seconds",
    "cut": "after",
}
"""The one setting of a fault, where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of fault, and which requests meet it. What belongs to another kind has no effect."""

    kind: FaultKind
    """What goes wrong."""
    share: float = 1.0
    """The share of all requests that it is made for, above 0 and up to 1; 1 is every one."""
    first: int | None = None
    """Where it is not None, it is made for this many requests, the first ones, and no other; then `share` is 1."""
    retry_after: int = 1
    """Of `rate_limit`: `Retry-After`, in seconds."""
    status: int = 500
    """Of `error`: the HTTP status, 500 to 599."""
    seconds: float = 5.0
    """Of `slow_first_token`: how long the first piece is held back."""
    after: int = 5
    """Of `cut`: how many pieces (events of the stream) come before it breaks off."""

    def __str__(self) -> str:
        """Return it in one line: `rate_limit 20 %, retry_after 2`."""
        how_many = f"{self.share:.4%}".rstrip("0%").rstrip(".") + " %"
        when = f"the first {self.first}" if self.first is not None else "always" if self.share == 1 else how_many
        return ", ".join(f"{name} {value}" for name, value in {self.kind: when, **self.setting}.items())

    @property
    def setting(self) -> dict[str, float]:
        """Return its own setting by name: `{"retry_after": 2}`; nothing where it has none."""
        name = _SETTINGS.get(self.kind)
        return {name: getattr(self, name)} if name else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """Which requests of a service meet which fault."""

    seed: int = 0
    """Another one is another sequence; the same one is the same sequence again."""
    faults: tuple[Fault, ...] = ()
    """Each kind once, in the order of `FAULT_KINDS`; none: no fault is made."""

    @classmethod
    def parse(cls, value: object, where: str) -> FaultPlan | None:
        """Read a plan; None stays None, and `off` is a plan without faults.

        Shape:
            `{seed: 7, rate_limit: {share: 0.2, retry_after: 2}, cut: {share: 0.1, after: 12}, error: {first: 2}}`; a
            number alone is the share.

        Raises:
            ProjectError: It is something else; the place is named.
        """
        if value is None:
            return None
        if value is False or value == "off":  # YAML 1.1 reads a bare `off` as false
            return cls()
        fields = mapping(value, where)
        refuse_unknown(fields, (*FAULT_KINDS, "seed"), where)
        faults = tuple(_fault(kind, fields[kind], f"{where}.{kind}") for kind in FAULT_KINDS if kind in fields)
        if not faults:
            raise ProjectError(f"{where} names no fault", remedy=f"There are: {', '.join(FAULT_KINDS)}")
        together = sum(fault.share for fault in faults if fault.first is None)
        if together > 1 + 1e-9:
            raise ProjectError(
                f"the shares in {where} are {together:g} together, and can be 1 at most",
                remedy="A request meets one fault",
            )
        return cls(seed=_seed(fields.get("seed", 0), f"{where}.seed"), faults=faults)

    def fault_of(self, service: str, number: int) -> Fault | None:
        """Return what the `number`-th request of a service meets, the first one being 1; None: nothing.

        Faults with `first` come one after the other, then each request draws for itself: what it draws depends on the
        seed, the service and the number, and on nothing else.
        """
        passed, bound = 0, 0.0
        for fault in self.faults:
            passed += fault.first or 0
            if fault.first is not None and number <= passed:
                return fault
        drawn = random.Random(f"{self.seed} {service} {number}").random()  # noqa: S311 the same again is what is wanted
        for fault in self.faults:
            if fault.first is None:
                bound += fault.share
                if drawn < round(bound, 9):
                    return fault
        return None

    def __str__(self) -> str:
        """Return it in one line: `rate_limit 20 %, retry_after 2; error the first 2, status 500; seed 7`."""
        seed = [f"seed {self.seed}"] if any(fault.first is None and fault.share < 1 for fault in self.faults) else []
        return "; ".join([*map(str, self.faults), *seed]) or "none"

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FaultPlan:
        """Read what `dataclasses.asdict` made of one, here or in another version."""
        return cls(seed=document.get("seed", 0), faults=tuple(map(_from_json, document.get("faults", ()))))


def _from_json(document: Mapping[str, Any]) -> Fault:
    names = ("share", "first", "retry_after", "status", "seconds", "after")
    kind = one_of(document.get("kind"), "kind", FAULT_KINDS)
    return Fault(kind=kind, **{name: document[name] for name in names if name in document})


def _fault(kind: FaultKind, value: object, where: str) -> Fault:
    """Read one fault: a share, or a mapping."""
    if not isinstance(value, Mapping):
        return Fault(kind=kind, share=share(value, where))
    fields, setting = mapping(value, where), _SETTINGS.get(kind)
    refuse_unknown(fields, ("share", "first", *([setting] if setting else [])), where)
    if "share" in fields and "first" in fields:
        raise ProjectError(f"{where} has a share and a first", remedy="Write one of them")
    said: dict[str, Any] = {}
    if setting is not None and setting in fields:
        said[setting] = _setting(setting, fields[setting], f"{where}.{setting}")
    if "first" in fields:
        return Fault(kind=kind, first=positive(fields["first"], f"{where}.first", 2), **said)
    return Fault(kind=kind, share=share(fields.get("share", 1), f"{where}.share"), **said)


def _setting(name: str, value: object, where: str) -> float:
    """Return a setting of a fault, checked.

    Raises:
        ProjectError: It cannot be that.
    """
    lowest, highest = {"status": (500, 599), "after": (1, 1_000_000)}.get(name, (0, _LONGEST_SECONDS))
    kinds = (int, float) if name == "seconds" else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds) or not lowest <= value <= highest:
        number = "a number" if name == "seconds" else "a whole number"
        raise ProjectError(f"{where} must be {number} from {lowest} to {highest}, not {value!r}")
    return value


def _seed(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ProjectError(f"{where} must be a whole number, not {value!r}", remedy="Write 7, for example")
    return value
