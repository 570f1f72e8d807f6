"""HTML out of templates, in which every value is escaped."""

from __future__ import annotations

import json
import time
from functools import cache
from typing import TYPE_CHECKING

from fastapi.responses import HTMLResponse

from dmrc import __version__
from dmrc.figures import ago_text, count_text, share_text, span_text
from dmrc.gguf import format_size
from dmrc.ui.static_files import static_address

if TYPE_CHECKING:
    import jinja2

LONGEST_SHOWN = 20_000
"""Characters of a text that a page shows; a browser takes seconds to lay out a line of megabytes."""

LONGEST_MESSAGE = 1000
"""Characters of a message among many; the page of its request has all of them."""

_LONGEST_PRETTY = 200_000
# What a terminal would act on has a picture in Unicode from U+2400 on.
_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
_CONTROLS |= {0x7F: 0x2421, **dict.fromkeys(range(0x80, 0xA0), 0xFFFD), **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)}


def render(template: str, **values: object) -> str:
    """Return a part of a page."""
    return _environment().get_template(template).render(values)


def page(template: str, *, here: str, status: int = 200, **values: object) -> HTMLResponse:
    """Return a page; `here` is its name in the navigation."""
    return HTMLResponse(render(template, here=here, version=__version__, **values), status)


def visible(text: str) -> str:
    """Return the text with a picture for each control character, so that an ANSI escape is seen."""
    return text.translate(_CONTROLS)


def pretty(text: str) -> str:
    """Return JSON with line ends, and anything else as it is."""
    if len(text) > _LONGEST_PRETTY:
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _size(size_bytes: float | None) -> str:
    return "" if size_bytes is None else format_size(size_bytes)


def _ago(unix_seconds: float | None) -> str:
    return "" if unix_seconds is None else ago_text(time.time() - unix_seconds)


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # not needed until somebody looks

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dmrc.ui"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"visible": visible, "pretty": pretty, "milliseconds": span_text}
    environment.filters |= {"count": count_text, "span": span_text, "share": share_text, "size": _size, "ago": _ago}
    environment.globals |= {"longest_shown": LONGEST_SHOWN, "longest_message": LONGEST_MESSAGE}
    environment.globals["static"] = static_address()
    return environment
