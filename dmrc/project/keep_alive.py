"""How long an idle runner stays loaded, as people write it."""

from __future__ import annotations

import math
import re

from dmrc.errors import ProjectError

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|$)", re.ASCII)
_DURATION = re.compile(r"-?(?:(?:\d+(?:\.\d+)?(?:ms|s|m|h))+|\d+(?:\.\d+)?)", re.ASCII)
_DURATION_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_FOR_EVER_SECONDS = 10 * 365 * 86400


def parse_keep_alive(value: object, where: str) -> float | None:
    """Return the seconds that `5m`, `1h30m`, `90` or `0` mean; below zero is for ever (inf), None stays None.

    Source: https://github.com/ollama/ollama/blob/main/docs/faq.md, which has the same forms.

    Raises:
        ProjectError: It is none of these.
    """
    if value is None:
        return None
    written = str(value).strip()
    if isinstance(value, bool) or not _DURATION.fullmatch(written):
        raise ProjectError(f"{where} must be a duration, not '{written[:40]}'", remedy="Use 5m, 1h, 0 or -1")
    seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(written))
    return math.inf if seconds > _FOR_EVER_SECONDS or (written[0] == "-" and seconds > 0) else seconds
