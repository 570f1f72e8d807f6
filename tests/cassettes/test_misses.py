"""What a run does not answer: requests that no cassette has, and cassettes that cannot be read."""

from pathlib import Path

import pytest

from dmrc.cassettes.errors import CassetteError
from dmrc.cassettes.interaction import Asked
from tests.cassettes.exchanges import chat, exchange, whole
from tests.cassettes.running import asked, recorded, replay

pytestmark = pytest.mark.fast


def test_a_service_gets_nothing_of_another_one_and_who_is_not_known_all(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi"), service="web"))
    run = replay(tmp_path)

    assert run.take("api", asked("Hello"), stream=False) is None
    assert run.take(None, asked("Hello"), stream=False).place == "web.jsonl:2"


def test_a_miss_names_the_nearest_and_the_first_difference_with_both_texts(tmp_path: Path) -> None:
    recorded(
        tmp_path,
        exchange(chat("What is the capital of France?"), whole("Paris")),
        exchange(chat("Summarise the following text in 3 lines: whales"), whole("…")),
    )
    run = replay(tmp_path)

    miss = run.miss("api", asked("Summarise the following text in 4 lines: whales"))

    assert miss.message == (
        "service 'api' asked what is not recorded; the nearest is api.jsonl:3:"
        " message 1 (user) differs at character 33: recorded 'Summarise the following text in 3 lines: whales',"
        " asked 'Summarise the following text in 4 lines: whales'"
    )
    assert run.report()["misses"][0]["nearest"] == "api.jsonl:3"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"temperature": 0.5}, "temperature is not in it: 0.5"),
        (
            {"messages": [{"role": "user", "content": "Hello"}, {"role": "user", "content": "And?"}]},
            'message 2 (user) is not in it: "And?"',
        ),
        ({"messages": [{"role": "system", "content": "Hello"}]}, 'the role of message 1 differs: recorded "user"'),
        (
            {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]},
            'message 1 (system) is not in it: "Be brief."',
        ),
        ({"messages": []}, 'message 1 (user) is missing, where it has "Hello"'),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools is not in it: "),
    ],
)
def test_a_difference_is_named_wherever_it_is(tmp_path: Path, more: dict, told: str) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))

    run = replay(tmp_path)
    assert told in run.miss("api", asked("Hello", **more)).message


def test_another_model_or_route_is_named_where_nothing_else_is_recorded(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))
    run = replay(tmp_path)
    small = Asked.of(exchange(chat("Hello"), whole(""), model_key="small"))

    assert 'api.jsonl:2: the model differs: recorded "llm", asked "small"' in run.miss("api", small).message


def test_a_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))
    with (tmp_path / "api.jsonl").open("a") as file:
        file.write('{"request": {"body": []}}\n')

    with pytest.raises(CassetteError, match=r"api\.jsonl:3: the request cannot be read: 'operation' is missing"):
        replay(tmp_path)


def test_a_cassette_that_is_written_into_while_it_is_replayed_is_not_misread(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))
    run = replay(tmp_path)
    with (tmp_path / "api.jsonl").open("r+") as file:
        file.write("{" * 50)

    with pytest.raises(CassetteError, match="was changed while it is in use"):
        run.take("api", asked("Hello"), stream=False)


def test_a_miss_is_told_although_its_cassette_was_changed(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))
    run = replay(tmp_path)
    with (tmp_path / "api.jsonl").open("r+") as file:
        file.write("{" * 50)

    miss = run.miss("api", asked("Bye"))

    assert "asked what is not recorded, and the nearest cannot be told" in miss.message
    assert [one["message"] for one in run.report()["misses"]] == [miss.message]


def test_who_is_not_known_gets_first_what_was_recorded_of_such(tmp_path: Path) -> None:
    for service in ("0web", None):
        recorded(tmp_path, exchange(chat("Hello"), whole("Hi"), service=service))

    assert replay(tmp_path).take(None, asked("Hello"), stream=False).place == "_anyone.jsonl:2"


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))

    with pytest.raises(CassetteError, match="is not a directory"):
        replay(tmp_path / "api.jsonl")
