"""What callers see when an engine dies or they go away themselves."""

import http.client
import json
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.gateway.conftest import MODEL, Gateway
from tests.polling import eventually
from tests.processes import engines_of

LONG = [{"role": "user", "content": "Tell me a very long story about a whale and a ship."}]
Recorded = Callable[[str], dict[str, object]]


def children(gateway: Gateway) -> list[psutil.Process]:
    return engines_of(gateway.dmrc.daemon())


def open_stream(gateway: Gateway) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.dmrc.port, timeout=60)
    body = json.dumps({"model": MODEL, "messages": LONG, "stream": True, "max_tokens": 450, "ignore_eos": True})
    headers = {"authorization": f"Bearer {gateway.keys['web']}"}
    connection.request("POST", "/engines/v1/chat/completions", body, headers)
    return connection, connection.getresponse()


@pytest.fixture
def stream(gateway: Gateway) -> Iterator[http.client.HTTPResponse]:
    connection, answer = open_stream(gateway)
    assert answer.readline().startswith(b"data: ")
    yield answer
    connection.close()


def test_a_child_killed_in_mid_stream_ends_the_stream_with_an_error_and_never_with_done(
    gateway: Gateway, stream: http.client.HTTPResponse, recorded: Recorded
) -> None:
    for child in children(gateway):
        child.send_signal(signal.SIGKILL)

    rest = stream.read()

    events = [line for line in rest.splitlines() if line.startswith(b"data: ")]
    assert b"[DONE]" not in rest
    assert "broke off" in json.loads(events[-1][6:])["error"]["message"]
    exchange = recorded(stream.headers["x-dmrc-exchange-id"])
    assert exchange["status"] == 200
    assert exchange["error_type"] == "server_error"


def test_the_next_request_after_a_crash_starts_the_model_again(gateway: Gateway) -> None:
    import openai

    gateway.client().chat.completions.create(model=MODEL, messages=LONG, max_tokens=2)
    before = {child.pid for child in children(gateway)}
    for child in children(gateway):
        child.send_signal(signal.SIGKILL)

    def answers() -> bool:
        try:
            gateway.client().chat.completions.create(model=MODEL, messages=LONG, max_tokens=2)
        except openai.InternalServerError as error:
            assert error.status_code in (500, 503), error
            return False
        return True

    eventually(answers)
    assert {child.pid for child in children(gateway)}.isdisjoint(before)


def test_a_child_killed_during_a_whole_answer_gives_an_honest_status(gateway: Gateway) -> None:
    import openai

    eventually(lambda: try_once(gateway))
    with ThreadPoolExecutor(1) as pool:
        body = {"ignore_eos": True}
        asked = pool.submit(
            gateway.client().chat.completions.create, model=MODEL, messages=LONG, max_tokens=450, extra_body=body
        )
        eventually(lambda: any(r["in_use"] for r in json.loads(gateway.dmrc.ok("ps", "--json"))))
        for child in children(gateway):
            child.send_signal(signal.SIGKILL)

        with pytest.raises(openai.InternalServerError, match="broke off"):
            asked.result()


def test_a_caller_that_goes_away_frees_the_slot_and_is_recorded_as_gone(gateway: Gateway, recorded: Recorded) -> None:
    eventually(lambda: try_once(gateway))
    connection, answer = open_stream(gateway)
    assert answer.readline().startswith(b"data: ")
    exchange_id = answer.headers["x-dmrc-exchange-id"]

    answer.close()
    connection.close()

    eventually(lambda: all(r["in_use"] == 0 for r in json.loads(gateway.dmrc.ok("ps", "--json"))))
    assert recorded(exchange_id)["client_disconnected"] is True


def test_eight_callers_on_two_slots_all_get_their_answers(gateway: Gateway) -> None:
    eventually(lambda: try_once(gateway))

    def ask(number: int) -> str:
        answer = gateway.client().chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": f"Count to {number}."}], max_tokens=8
        )
        return answer.choices[0].message.content or ""

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))

    assert all(answers)


def try_once(gateway: Gateway) -> bool:
    """Whether the model answers; it may still back off after a crash that another test caused."""
    import openai

    try:
        gateway.client().chat.completions.create(model=MODEL, messages=LONG, max_tokens=1)
    except openai.InternalServerError:
        return False
    return True
