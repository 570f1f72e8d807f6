"""The engine `ray`: llama.cpp's server on the nodes of a cluster of Ray, as an application of Ray Serve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmrc import hookimpl

if TYPE_CHECKING:
    from dmrc.engines.engine import Engine
    from dmrc.settings import Settings


@hookimpl
def dmrc_register_engines(settings: Settings) -> Sequence[Engine]:
    from dmrc_ray.engine import RayEngine

    return [RayEngine(settings.paths)]
