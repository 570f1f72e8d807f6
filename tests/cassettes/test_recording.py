"""A run records: what is written, where, and what a disk or another writer does to it."""

import os
import threading
import time
from pathlib import Path

import pytest

from dmrc.cassettes.runs import ReplayRun
from dmrc.project import Replay
from tests.cassettes.exchanges import chat, exchange, whole
from tests.cassettes.running import asked, recorded, replay
from tests.polling import eventually

pytestmark = pytest.mark.fast


def test_what_is_recorded_again_and_says_the_same_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    recorded(tmp_path, *(exchange(chat(text), whole(text.upper())) for text in ("one", "two")))
    before = (tmp_path / "api.jsonl").read_bytes()

    report = recorded(tmp_path, *(exchange(chat(text), whole(text.upper(), id="x")) for text in ("two", "one")))

    assert (tmp_path / "api.jsonl").read_bytes() == before
    assert report["services"]["api"]["unchanged"] == 2


def test_what_is_recorded_again_and_says_something_else_takes_its_place(tmp_path: Path) -> None:
    recorded(tmp_path, *(exchange(chat(text), whole(text.upper())) for text in ("one", "two", "three")))
    before = (tmp_path / "api.jsonl").read_text().splitlines()

    report = recorded(tmp_path, exchange(chat("two"), whole("2")), exchange(chat("four"), whole("4")))

    after = (tmp_path / "api.jsonl").read_text().splitlines()
    assert [after[index] for index in (0, 1, 3)] == [before[index] for index in (0, 1, 3)]
    assert '"content":"2"' in after[2].replace(" ", "")
    assert '"content":"4"' in after[4].replace(" ", "")
    assert (report["services"]["api"]["recorded"], report["services"]["api"]["replaced"]) == (2, 1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": 500}, "it was answered with status 500"),
        ({"status": 429}, "it was answered with status 429"),
        ({"client_disconnected": True}, "the caller hung up before the end"),
        ({"response_truncated": True}, "the answer is too long to be kept whole"),
        ({"request_truncated": True}, "the request is too long to be kept whole"),
        ({"annotations": {"fault": "cut"}}, "a fault was made on purpose"),
        ({"annotations": {"replayed": "api.jsonl:2"}}, "it was answered from a cassette"),
        ({"annotations": {"not_recorded": True}, "status": 422}, "it was refused, since no cassette had it"),
        ({"error_type": "server_error"}, "its answer broke off"),
        ({"response_body": b"", "chunk_offsets": ()}, "its content is not on record"),
    ],
)
def test_what_cannot_be_answered_again_is_left_out_and_counted(tmp_path: Path, change: dict, why: str) -> None:
    report = recorded(tmp_path, exchange(chat("Hello"), whole("Hi"), **change))

    assert report["services"]["api"]["left_out"] == {why: 1}
    assert not (tmp_path / "api.jsonl").exists()


def test_what_is_recorded_is_answered_while_more_is_written_to_its_cassette(tmp_path: Path) -> None:
    """An answer that cannot be read goes to the model, in silence: lines that are added made all of them unreadable."""
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")))
    run = ReplayRun.load(Replay(directory=str(tmp_path), mode="replay-or-record"))

    recorded(tmp_path, exchange(chat("Bye"), whole("Bye")))  # as the run itself does, in a thread

    assert run.take("api", asked("Hello"), stream=False).place == "api.jsonl:2"


def test_what_is_added_is_answered_from_then_on(tmp_path: Path) -> None:
    run = ReplayRun.load(Replay(directory=str(tmp_path), mode="replay-or-record"))
    assert run.take("api", asked("Hello"), stream=False) is None

    run.add(exchange(chat("Hello"), whole("Hi")))
    run.flush()

    assert run.take("api", asked("Hello"), stream=False).place == "api.jsonl:2"
    run.close()


def test_two_writers_of_one_cassette_lose_nothing(tmp_path: Path) -> None:
    runs = [ReplayRun.load(Replay(directory=str(tmp_path), mode="record")) for _ in range(2)]

    def record(run: ReplayRun, name: str) -> None:
        for number in range(50):
            run.add(exchange(chat(f"{name} {number}"), whole("Hi")))
            run.flush()

    threads = [threading.Thread(target=record, args=(run, name)) for run, name in zip(runs, "ab", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in runs:
        run.close()

    found = replay(tmp_path)
    for name in "ab":
        for number in range(50):
            assert found.take("api", asked(f"{name} {number}"), stream=False) is not None


def test_a_directory_that_cannot_be_written_is_told_and_what_waits_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "file"
    run = ReplayRun.load(Replay(directory=str(place), mode="record"))
    place.write_text("no directory")
    run.add(exchange(chat("Hello"), whole("Hi")))
    run.flush()
    assert "cannot be written" in run.report()["trouble"]

    place.unlink()
    run.close()

    assert run.report()["trouble"] is None
    assert (place / "api.jsonl").exists()


@pytest.mark.parametrize("end", [5, 30, -40, -2])
def test_a_line_that_was_cut_off_when_a_daemon_was_killed_costs_itself_alone(tmp_path: Path, end: int) -> None:
    recorded(tmp_path, exchange(chat("one"), whole("1")), exchange(chat("two"), whole("2")))
    path = tmp_path / "api.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:end])

    assert replay(tmp_path).take("api", asked("two"), stream=False) is None
    assert replay(tmp_path).take("api", asked("one"), stream=False) is not None
    recorded(tmp_path, exchange(chat("three"), whole("3")), mode="replay-or-record")

    after = path.read_text().splitlines(keepends=True)
    assert after[:2] == lines[:2]
    assert "three" in after[2]
    assert len(after) == 3


def test_what_is_recorded_is_on_disk_within_a_second_whoever_is_killed_then(tmp_path: Path) -> None:
    def seconds_until_written(place: Path) -> float:
        run = ReplayRun.load(Replay(directory=str(place), mode="record"))
        began = time.monotonic()
        run.add(exchange(chat("Hello"), whole("Hi")))
        eventually((place / "api.jsonl").exists)
        seconds = time.monotonic() - began
        run.close()
        assert replay(place).take("api", asked("Hello"), stream=False) is not None
        return seconds

    # Half a second, and the disk; on a busy machine one of three tries tells of the run and not of the machine.
    assert any(seconds_until_written(tmp_path / str(number)) < 1 for number in range(3))


def test_requests_that_end_in_another_order_are_written_as_they_were_asked(tmp_path: Path) -> None:
    exchanges = [exchange(chat(f"Question {at}"), whole("Hi"), received_at=float(at)) for at in (3, 1, 2)]
    recorded(tmp_path, *exchanges)

    places = [replay(tmp_path).take("api", asked(f"Question {at}"), stream=False).place for at in (1, 2, 3)]

    assert places == ["api.jsonl:2", "api.jsonl:3", "api.jsonl:4"]


@pytest.mark.parametrize(
    ("above", "directory", "file"), [(0o755, 0o755, 0o644), (0o770, 0o770, 0o660), (0o700, 0o700, 0o600)]
)
def test_who_may_read_the_project_may_read_its_cassettes(tmp_path: Path, above: int, directory: int, file: int) -> None:
    """The daemon's own umask lets nobody else read what it writes, and cassettes are committed."""
    project = tmp_path / "project"
    project.mkdir()
    project.chmod(above)
    before = os.umask(0o077)
    try:
        recorded(project / "tests" / "cassettes", exchange(chat("hi"), whole("Hello.")))
    finally:
        os.umask(before)

    made = [project / "tests", project / "tests" / "cassettes", project / "tests" / "cassettes" / "api.jsonl"]
    assert [path.stat().st_mode & 0o777 for path in made] == [directory, directory, file]


def test_a_run_goes_on_while_another_one_adds_to_its_cassette(tmp_path: Path) -> None:
    recorded(tmp_path, exchange(chat("Hello"), whole("Hi")), exchange(chat("Bye"), whole("See you")))
    run = replay(tmp_path)
    recorded(tmp_path, exchange(chat("more"), whole("?")), mode="replay-or-record")

    assert run.take("api", asked("Bye"), stream=False).answer.body == b"".join(whole("See you"))
    assert run.take("api", asked("more"), stream=False) is None
