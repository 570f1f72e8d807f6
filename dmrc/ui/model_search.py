"""The search of the page of models: of Docker Hub and Hugging Face, with what each model would take here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from dmrc.background import apart
from dmrc.engines.local_model import LocalModel
from dmrc.models.remote import RemoteVariant, search_everywhere, variants_of
from dmrc.project import DEFAULT_ENGINE, ServingOptions
from dmrc.scheduler.outlook import Forecast
from dmrc.scheduler.target import Target
from dmrc.sources.variants import ModelVariant
from dmrc.ui.documents import HTML
from dmrc.ui.rendering import render

if TYPE_CHECKING:
    from dmrc.gateway.plugins.context import DaemonParts

_RESULTS = 24


@dataclass(frozen=True, slots=True)
class VariantRow:
    """One line of `variants.html`."""

    variant: ModelVariant
    """What can be pulled."""
    forecast: Forecast
    """Whether it would load now, with the usual context, and what it would take."""
    is_here: bool
    """Whether the store has a model of this name."""


class ModelSearch:
    """The handlers. What they ask is elsewhere, and may take its time: each has a thread of its own."""

    def __init__(self, parts: DaemonParts) -> None:
        """Search where the daemon's models come from."""
        self._parts = parts

    def add_to(self, router: APIRouter) -> None:
        """Add the routes; before those of models, whose names would be these."""
        router.get("/ui/models/search", response_class=Response, responses=HTML)(self.search)
        router.get("/ui/models/variants", response_class=Response, responses=HTML)(self.variants)

    async def search(self, term: Annotated[str, Query(max_length=200)] = "") -> Response:
        """Return what was found as a part of a page; a catalog that does not answer is named in a line."""
        found = await apart(partial(search_everywhere, self._parts.models, term, _RESULTS), "search")
        return HTMLResponse(render("found.html", found=found, term=term))

    async def variants(self, name: Annotated[str, Query(max_length=512)]) -> Response:
        """Return the quantisations of a model that was found, as a part of a page."""
        found = await apart(partial(variants_of, self._parts.models, name), "variants")
        forecasts = await self._parts.scheduler.outlook.forecasts([_target(one) for one in found])
        store, registry = self._parts.models.store, self._parts.settings.default_registry
        rows = [
            VariantRow(one.variant, forecast if one.facts is not None else Forecast("unknown"), is_here)
            for one, forecast, is_here in zip(
                found, forecasts, [store.knows(one.variant.name, registry) for one in found], strict=True
            )
        ]
        return HTMLResponse(render("variants.html", rows=rows, name=name))


def _target(found: RemoteVariant) -> Target:
    """Return the target that it would be with the usual options, had it been pulled."""
    model = None if found.facts is None else LocalModel(path=Path(found.variant.name), facts=found.facts)
    engine = DEFAULT_ENGINE if model is not None else ""
    return Target(
        reference=found.variant.name, server="llama-server", model=model, options=ServingOptions(engine=engine or None)
    )
