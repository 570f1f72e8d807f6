"""Headers are read once, and again where a request has others."""

from __future__ import annotations

from dmrc.gateway.server.request_fields import fields_of, first


def test_each_value_stays_in_its_order() -> None:
    fields = fields_of({"headers": [(b"host", b"a"), (b"x-api-key", b"k"), (b"host", b"\xfc")]})

    assert fields == {"host": ["a", "\xfc"], "x-api-key": ["k"]}
    assert first(fields, "host") == "a"
    assert first(fields, "origin") is None


def test_a_scope_that_is_made_of_another_has_its_own_headers() -> None:
    """As where a body was decoded: what the former scope said of its encoding must not be read again."""
    scope = {"headers": [(b"content-encoding", b"gzip")]}
    assert fields_of(scope) is fields_of({**scope, "path": "/"})

    decoded = {**scope, "headers": []}

    assert fields_of(decoded) == {}
