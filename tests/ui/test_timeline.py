from dmrc.ui.timeline import segments
from tests.capture.recorded import recorded


def told(**changes: object) -> list[tuple[str, str, float]]:
    exchange = recorded("chat.json", total_ms=125.0, **changes)
    return [(one.kind, one.name, one.milliseconds) for one in segments(exchange)]


def test_the_time_of_an_answer_without_a_first_token_is_called_what_it_is() -> None:
    """Issue 16, B15: it was 100 % "prefill", for a refusal with 429 too."""
    assert told() == [("unknown", "waiting for the answer", 125.0)]
    assert told(queue_ms=25.0) == [("queue", "queue", 25.0), ("unknown", "waiting for the answer", 100.0)]


def test_an_upstream_that_tells_no_times_is_waited_for() -> None:
    assert told(engine="upstream") == [("unknown", "waiting for the upstream", 125.0)]


def test_the_time_before_and_after_the_first_token_has_two_names() -> None:
    assert told(first_token_ms=50.0) == [("prefill", "prefill", 50.0), ("decode", "decode", 75.0)]
