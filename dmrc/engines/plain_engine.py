"""What holds for an engine that says nothing else: it takes any option, and counts nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dmrc.answer import ServerKind
from dmrc.engines.devices import Device
from dmrc.engines.engine import Counts, FetchProgress, Finding, MemoryEstimate
from dmrc.engines.local_model import LocalModel
from dmrc.engines.placement import DeviceWish
from dmrc.exchange import Operation
from dmrc.project import Mode, ServingOptions

if TYPE_CHECKING:
    from dmrc.engines.session import Session

_MODES: dict[Operation, Mode] = {"embedding": "embedding", "rerank": "rerank"}


class PlainEngine:
    """See `Engine`: what is missing here is its name, and how it is started."""

    name: str
    server: ServerKind = "other"
    """Whose server it starts or reaches, whatever the options."""
    formats: frozenset[str] = frozenset()
    largest_parallel: int | None = None
    usual_parallel: int = 1
    lists_devices: bool = False
    metrics_path: str | None = None
    is_only_by_name: bool = False
    special_options: frozenset[str] = frozenset()

    # ruff: noqa: ARG002 the arguments are for those who know more
    def server_of(self, options: ServingOptions) -> ServerKind:
        """Return `server`."""
        return self.server

    def check(self, options: ServingOptions, companions: Sequence[str] = ()) -> None:
        """Refuse nothing."""

    def settle(
        self, name: str, model: LocalModel | None, options: ServingOptions, operation: Operation | None
    ) -> ServingOptions:
        """Return the options with a mode: that of the operation, else what is set, else for chats."""
        mode = (options.mode or "completion") if operation is None else _MODES.get(operation, "completion")
        return ServingOptions(mode=mode).over(options)

    def template(self, model: LocalModel, options: ServingOptions) -> str | None:
        """Return the template that was given beside the model, or that is in a GGUF."""
        if model.template is not None:
            return model.template
        return None if model.facts is None else model.facts.chat_template or ""

    def estimate(
        self, model: LocalModel | None, options: ServingOptions, parallel: int, card_bytes: int = 0
    ) -> MemoryEstimate | None:
        """Return None: it is not known."""
        return None

    def largest_context(
        self,
        model: LocalModel | None,
        options: ServingOptions,
        parallel: int,
        available_bytes: int,
        card_bytes: int | None = None,
    ) -> int | None:
        """Return None: it is not known."""
        return None

    def device_wish(self, options: ServingOptions) -> DeviceWish:
        """Return what `x-dmrc: {device, gpu}` say."""
        return DeviceWish.of(options)

    def device_use(self, lines: Sequence[str]) -> Mapping[str, int]:
        """Return nothing: it is not known."""
        return {}

    def keeps_prompts(self, model: LocalModel | None, options: ServingOptions) -> bool:
        """Return False: it keeps none."""
        return False

    def tells_slots(self, options: ServingOptions) -> bool:
        """Return False: it is not known to have any."""
        return False

    def saves_slots(self, model: LocalModel | None, options: ServingOptions) -> str | None:
        """Return None: it cannot."""
        return None

    def asked_parallel(self, options: ServingOptions) -> int | None:
        """Return what the project sets."""
        return options.parallel

    async def devices(self, options: ServingOptions) -> Sequence[Device]:
        """Return none: it is not known."""
        return ()

    def fetch(self, options: ServingOptions, progress: FetchProgress) -> None:
        """Need nothing."""

    async def end_left_behind(self) -> None:
        """Leave nothing behind: children end with their daemon."""

    def surroundings(self) -> Finding | None:
        """Return None: its servers run here."""
        return None

    async def close(self) -> None:
        """Have nothing that its servers share."""

    def disk_bytes(self) -> int:
        """Return 0: it is not known."""
        return 0

    async def counts(self, session: Session) -> Counts | None:
        """Return None: it counts nothing."""
        return None
