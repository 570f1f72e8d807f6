"""The head of a request, as it goes over the wire."""

from __future__ import annotations

from collections.abc import Mapping


def request_head(method: str, target: str, host: str, headers: Mapping[str, str]) -> bytes:
    """Return request line and headers.

    Raises:
        ValueError: A header has a line break in it.
    """
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join((*lines, "", ""))
    if head.count("\r") != len(lines) + 1 or head.count("\n") != len(lines) + 1:
        raise ValueError("a header has a line break in it")  # it came from a plugin: the server lets none in
    return head.encode("latin-1")
