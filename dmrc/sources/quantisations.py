"""The quantisations of a model that lie in one place: told by the names of their files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dmrc.sources.local_files import SHARD

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

# `model-Q4_K_M.gguf`, `model.q8_0.gguf`, `Model-UD-Q4_K_XL-00001-of-00002.gguf`, `Q6_K/…`.
_QUANTISATION = re.compile(r"(?:^|[-._/])((?:UD-)?(?:I?Q[1-8](?:_\w+)?|TQ[12]_0|MXFP4(?:_\w+)?|BF16|F16|F32))$", re.I)


def quantisation_of(file_name: str) -> str:
    """Return the quantisation that a file's name, or its directory's, tells: `Q4_K_M`; empty without one."""
    path = file_name[: -len(".gguf")]
    if shard := SHARD.fullmatch(file_name):
        path = shard["stem"]
    for part in reversed(path.split("/")):
        if match := _QUANTISATION.search(part):
            return match[1].upper()
    return ""


def quantisations(siblings: Mapping[str, RepoSibling]) -> tuple[dict[str, list[RepoSibling]], list[RepoSibling]]:
    """Return the GGUF files of a repository by their quantisations, and the projector of a model that sees.

    The projector is the one in F16, where there are several; none is an empty list.
    """
    gguf = [each for name, each in siblings.items() if name.lower().endswith(".gguf")]
    projectors = [each for each in gguf if "mmproj" in each.rfilename.lower()]
    found: dict[str, list[RepoSibling]] = {}
    for each in gguf:
        if each not in projectors:
            found.setdefault(quantisation_of(each.rfilename), []).append(each)
    best = sorted(projectors, key=lambda each: ("f16" not in each.rfilename.lower(), each.rfilename))
    return found, best[:1]
