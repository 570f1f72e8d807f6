"""What is to answer, as the daemon reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from dmrc.comparison.changes import Answerer, Changes, name_of
from dmrc.errors import InputError
from dmrc.exchange import JsonValue


def body(changes: Changes, sources: Sequence[Answerer], key_sha256: str) -> str:
    """Return the wish as JSON.

    Raises:
        InputError: The variable of the upstream's key is not set; or as `Changes.options` does.
        ProjectError: As `Changes.options` does.
    """
    options = changes.options(sources)
    model = changes.model if options.upstream is None else options.upstream.model
    document: Mapping[str, JsonValue] = {
        "name": name_of(sources),
        "key_sha256": key_sha256,
        "sources": [
            {"project": project, "model_key": model_key, "reference": reference}
            for project, model_key, reference in sources
        ],
        "model": model,
        "options": options.to_json(),
        "upstream_keys": dict(_upstream_keys(changes)),
    }
    return json.dumps(document)


def _upstream_keys(changes: Changes) -> dict[str, str]:
    """Return the key of the upstream, by its variable."""
    if changes.upstream_key is None:
        return {}
    if not (key := os.environ.get(changes.upstream_key)):
        raise InputError(f"--upstream-key names {changes.upstream_key}, which is not set", remedy="Set it")
    return {changes.upstream_key: key}
