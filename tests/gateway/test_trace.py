"""The caller's trace, which goes into the record and into the identifiers of others."""

import pytest

from dmrc.gateway.inference.kept_requests import trace_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_trace_and_span_are_those_of_the_header() -> None:
    assert trace_of(f"00-{TRACE}-{SPAN}-01") == (TRACE, SPAN)


@pytest.mark.parametrize(
    "header", [None, "", "00", f"00-{TRACE}", f"00-{'z' * 32}-{SPAN}-01", f"00-{TRACE}-{'z' * 16}-01"]
)
def test_what_is_no_trace_is_none(header: str | None) -> None:
    assert trace_of(header) == (None, None)
