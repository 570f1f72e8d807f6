"""Why a container did not start, as its keeper says it."""

from __future__ import annotations

import re

from dmrc.engines.failures import Cause

SAID = "dmrc: "
"""Begins a line of the keeper's that says why."""


def _cause(words: str, remedy: str) -> Cause:
    return Cause(re.compile(rf"^{SAID}({words})$", re.MULTILINE), "{0}", remedy, "dmrc/engines/container/keeper.py")


CAUSES = (
    _cause(r"no Docker engine answers .*|Docker at .* cannot be used.*", "Start Docker, or leave x-dmrc.engine out"),
    _cause(r"Docker at .* refuses .*", "Add yourself to the group docker and log in anew, or leave x-dmrc.engine out"),
    _cause(r"image .* cannot be pulled.*", "Check its name, the network, and docker login; or bring it by docker load"),
    _cause(r".*could not select device driver .*", "Install NVIDIA's Container Toolkit, or write x-dmrc.image"),
    _cause(r".*", ""),
)
"""The first that is found counts; after them come those of the server in the container."""
