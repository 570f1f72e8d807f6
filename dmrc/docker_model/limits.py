"""What plain Compose cannot do for a project, which its user should hear: it takes one URL from us, and no variable."""

from __future__ import annotations

import os
from collections.abc import Mapping

from dmrc.docker_context import is_behind_proxy


def limits(project: Mapping[str, object] | None, reference: str, docker_host: str, address: str) -> list[str]:
    """Return a line for each thing that will not work as the file says.

    `project` is what Compose prints of it, or None where it cannot be read here; `reference` is the model that Compose
    tells of now, one after the other. What concerns all of them is said with the first.
    """
    declared = project.get("models") if project else None
    models = [each for each in declared.values() if isinstance(each, dict)] if isinstance(declared, dict) else []
    lines = []
    if (not models or models[0].get("model") == reference) and is_behind_proxy(os.environ, docker_host, address):
        lines.append(
            f"Docker's config.json sends what containers ask {address} through a proxy, which gets the request and the "
            f"key. Add {address} to proxies.default.noProxy, or start with: dmrc up"
        )
    same = [each for each in models if each.get("model") == reference]
    if any(each != same[0] for each in same):
        lines.append(
            f"'{reference}' is declared with different settings, and Compose gives all its services one URL: the last "
            "one counts. Start with: dmrc up"
        )
    return lines
