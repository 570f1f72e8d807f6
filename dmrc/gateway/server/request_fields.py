"""The headers of a request, read once for all who ask for some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.types import Scope

RequestFields = Mapping[str, Sequence[str]]
"""Values by name, in lower case; those of a header that was sent several times in their order."""

_READ = "dmrc.fields"


def fields_of(scope: Scope) -> RequestFields:
    """Return the headers of a request."""
    headers = scope["headers"]
    known: tuple[object, RequestFields] | None = scope.get(_READ)
    if known is not None and known[0] is headers:
        return known[1]
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    scope[_READ] = headers, found
    return found


def first(fields: RequestFields, name: str) -> str | None:
    """Return the first value of a header; None where it was not sent."""
    values = fields.get(name)
    return values[0] if values else None
