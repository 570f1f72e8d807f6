"""Recording and replay in a real daemon: the same bytes in the same pieces, and no model."""

import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path

import pytest

from dmrc.cassettes.interaction import Asked, Interaction, RecordedAnswer, RecordedPiece
from dmrc.cassettes.lines import header, line_of
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.gateway.replaying import CHAT, MODEL, ReplayedShop, Reply, report
from tests.hooks.written import write

pytestmark = pytest.mark.engine

STORY = {"max_tokens": 1000, "messages": [{"role": "user", "content": "Tell me a story"}]}


@pytest.fixture(scope="module")
def dmrc(gguf: Path, needs_engine: None) -> Iterator[Dmrc]:
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", gguf, MODEL)
        yield dmrc


@pytest.fixture
def shop(dmrc: Dmrc, tmp_path: Path) -> Iterator[ReplayedShop]:
    shop = ReplayedShop(dmrc, tmp_path / "shop")
    yield shop
    dmrc.ok("down", cwd=shop.directory)


def ask_all(shop: ReplayedShop) -> list[Reply]:
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    return [
        shop.ask(),
        shop.ask(stream=True, max_tokens=20),
        shop.ask("/v1/messages", **chat, max_tokens=2),
        shop.ask("/v1/messages", **chat, max_tokens=3, stream=True),
        shop.ask("/v1/responses", input="hi", max_output_tokens=2),
        shop.ask("/v1/responses", input="hi", max_output_tokens=3, stream=True),
        shop.ask("/api/chat", **chat, options={"num_predict": 2}),
        shop.ask("/api/generate", prompt="hi", stream=False, options={"num_predict": 2}),
        shop.ask("/v1/completions", prompt="hi", max_tokens=2),
    ]


def test_a_replay_is_what_was_recorded_and_runs_no_model(shop: ReplayedShop) -> None:
    shop.up({"mode": "record"})
    before = ask_all(shop)
    shop.report()
    shop.dmrc.ok("unload", MODEL)

    shop.up("./cassettes")
    after = ask_all(shop)

    assert [reply.status for reply in before] == [200] * len(before)
    assert [reply.pieces for reply in after] == [reply.pieces for reply in before]
    assert [reply.headers["content-type"] for reply in after] == [reply.headers["content-type"] for reply in before]
    assert {reply.headers["x-dmrc-recorded"].partition(":")[0] for reply in after} == {"web.jsonl"}
    assert all("x-dmrc-recorded" not in reply.headers for reply in before)
    assert {one["engine"] for one in json.loads(shop.dmrc.ok("ps", "--json"))} <= {"recorded"}
    exchanges = json.loads(shop.dmrc.ok("requests", "--json", "-n", str(len(after))))
    assert {(one["engine"], one["model_key"]) for one in exchanges} == {("recorded", "llm")}
    assert {one["annotations"]["replayed"] for one in exchanges} == {one.headers["x-dmrc-recorded"] for one in after}
    assert "replayed" in shop.dmrc.ok("requests")


def test_what_is_not_recorded_is_refused_by_name_and_reported(shop: ReplayedShop) -> None:
    shop.up({"mode": "record"})
    shop.ask(messages=[{"role": "user", "content": "What is a whale?"}])
    shop.up("./cassettes")

    missed = shop.ask(messages=[{"role": "user", "content": "What is a whale shark?"}], stream=True)
    at_anthropics = shop.ask("/v1/messages", messages=[{"role": "user", "content": "hi"}], max_tokens=2)

    assert (missed.status, missed.headers["content-type"]) == (422, "application/json")
    error = json.loads(missed.body)["error"]
    assert error["type"] == "not_recorded"
    assert all(words in error["message"] for words in ("web", "whale shark"))
    assert json.loads(at_anthropics.body)["type"] == "error"
    assert at_anthropics.status == 422
    report = shop.report()
    assert [miss["message"] for miss in report["misses"]][:1] == [error["message"]]
    written = json.loads((shop.dmrc.home / "replays" / "shop.json").read_text())
    assert written == report
    assert (shop.dmrc.home / "replays" / "shop.json").stat().st_mode & 0o777 == 0o600
    assert report["project"] == "shop"


def test_who_hangs_up_gets_the_same_answer_when_it_asks_again(shop: ReplayedShop) -> None:
    write_cassette(shop, story([5, 5000], "first"), story([5, 10], "second"))
    shop.up({"mode": "replay", "speed": 1})

    hanging = shop.send(CHAT, {"model": MODEL, **STORY, "stream": True})
    assert b"first" in read_line(hanging)
    hanging.close()
    again = [shop.ask(**STORY, stream=True).body for _ in range(3)]

    assert [b"first" in body for body in again] == [True, False, False]
    assert [b"second" in body for body in again] == [False, True, True]
    exchanges = json.loads(shop.dmrc.ok("requests", "--json", "-n", "4"))
    assert [one["client_disconnected"] for one in exchanges].count(True) == 1


def test_a_broken_cassette_is_told_to_the_command_and_nothing_changes(shop: ReplayedShop) -> None:
    shop.up({"mode": "record"})
    recorded = shop.ask()
    shop.up("./cassettes")
    (shop.directory / "broken").mkdir()
    (shop.directory / "broken" / "web.jsonl").write_text('{"cassette": 1, "service": "web"}\nno json\n')
    text = (shop.directory / "compose.yaml").read_text().replace("./cassettes", "./broken")
    (shop.directory / "compose.yaml").write_text(text)

    done = shop.dmrc.run("env", "web", cwd=shop.directory)

    assert done.returncode != 0
    assert "web.jsonl:2" in done.stderr
    assert shop.ask().body == recorded.body


def test_a_project_goes_on_replaying_in_the_next_daemon(shop: ReplayedShop) -> None:
    shop.up({"mode": "record"})
    recorded = shop.ask(stream=True)
    shop.up("./cassettes")

    shop.dmrc.ok("stop-runner")
    shop.dmrc.ok("ui", "--print")  # which starts one

    assert shop.ask(stream=True).pieces == recorded.pieces


def test_what_is_masked_in_the_record_is_masked_before_it_is_looked_for(shop: ReplayedShop) -> None:
    """A secret of the project, a picture, and what a plugin leaves out: none is in a cassette, and all are found."""
    shop.directory.mkdir()
    write(
        shop.directory / "hides.py",
        """
        from dmrc import mask

        @hookimpl
        def dmrc_filter_capture(exchange):
            return mask(exchange, patterns=[r"[0-9]{4}-[0-9]{4}"])
        """,
    )
    picture = "data:image/png;base64," + "iVBORw0KGgo" + "A" * 600
    said = "hunter2-of-shop, card 4711-0815"
    wish = {"messages": [{"role": "user", "content": said}], "user": picture}
    shop.up({"mode": "record"}, plugins=["./hides.py"], environment={"A_SECRET": "hunter2-of-shop"})
    recorded = shop.ask(**wish)
    shop.up("./cassettes", plugins=["./hides.py"], environment={"A_SECRET": "hunter2-of-shop"})
    written = (shop.cassettes / "web.jsonl").read_bytes()

    replayed = shop.ask(**wish)

    assert recorded.status == 200
    assert replayed.body == recorded.body
    for hidden in (b"hunter2-of-shop", b"4711-0815", b"AAAAAAAA"):
        assert hidden not in written


def test_new_requests_go_to_the_model_and_are_added(shop: ReplayedShop) -> None:
    shop.up({"mode": "replay-or-record"})
    recorded = shop.ask()
    shop.up({"mode": "replay-or-record"})

    replayed, new = shop.ask(), shop.ask(max_tokens=3)

    assert "x-dmrc-recorded" not in recorded.headers
    assert (replayed.body, replayed.headers["x-dmrc-recorded"]) == (recorded.body, "web.jsonl:2")
    assert "x-dmrc-recorded" not in new.headers
    shop.report()
    assert len((shop.cassettes / "web.jsonl").read_text().splitlines()) == 3


def test_a_project_whose_content_is_not_recorded_is_refused(shop: ReplayedShop) -> None:
    with pytest.raises(AssertionError, match="capture is 'metadata', and a cassette needs what is asked and answered"):
        shop.up({"mode": "record"}, capture="metadata")


def test_a_replay_lists_its_models_loads_them_and_lets_nobody_use_others(shop: ReplayedShop) -> None:
    shop.up({"mode": "record"})
    shop.ask()
    shop.up("./cassettes")

    names = [one["id"] for one in shop.get("/v1/models")["data"]]
    loaded = shop.ask("/api/generate")
    foreign = shop.ask(model="local/other")

    assert names == [MODEL]
    assert [one["id"] for one in shop.get(f"/v1/models/{MODEL}").get("data", [{"id": MODEL}])] == [MODEL]
    assert shop.get("/api/tags") == {"models": []}
    assert (loaded.status, json.loads(loaded.body)["done_reason"]) == (200, "load")
    assert [one["engine"] for one in json.loads(shop.dmrc.ok("ps", "--json"))] == ["recorded"]
    assert foreign.status == 404
    assert shop.report()["misses"] == []


def test_the_key_of_a_whole_project_finds_the_recordings_of_all_its_services(shop: ReplayedShop) -> None:
    shop.services = ("web", "api")
    shop.up({"mode": "record"})
    recorded = shop.ask(service="api", max_tokens=4)
    shop.up("./cassettes")

    assert shop.ask(service="web", max_tokens=4).status == 422
    assert shop.ask(service="api", max_tokens=4).body == recorded.body


def test_the_daemon_replays_who_asks_without_a_project(dmrc: Dmrc, tmp_path: Path) -> None:
    refused = dmrc.run("serve", "--replay", cwd=tmp_path)
    assert f"there is no cassette in '{tmp_path}/cassettes'. Make one while models answer: dmrc serve --record" in (
        refused.stderr
    )
    with served(dmrc, tmp_path, "--record") as nobody:
        recorded = nobody.ask(stream=True)
        assert report(dmrc, "/replay")["services"]
    with served(dmrc, tmp_path, "--replay=./cassettes", "--replay-speed", "0") as nobody:
        replayed, missed = nobody.ask(stream=True), nobody.ask(max_tokens=7)
        named, foreign = nobody.ask(stream=True, service="person"), nobody.ask(model="local/other", service="person")

    assert recorded.status == 200
    assert (replayed.pieces, replayed.headers["x-dmrc-recorded"]) == (recorded.pieces, "_anyone.jsonl:2")
    assert (missed.status, named.pieces) == (422, recorded.pieces)
    assert foreign.status == 404  # the key does not open it
    assert json.loads((dmrc.home / "replays" / "_nobody.json").read_text())["mode"] == "replay"


def test_no_request_of_nobody_reaches_a_model_in_a_replay(dmrc: Dmrc, tmp_path: Path) -> None:
    """A request that has no words, as tokens have none, is a miss as any other; what only loads starts no engine."""
    (tmp_path / "cassettes").mkdir()
    (tmp_path / "cassettes" / "_anyone.jsonl").write_text(header("_anyone") + "\n")

    with served(dmrc, tmp_path, "--replay") as nobody:
        missed = [
            nobody.ask("/v1/completions", prompt=[1, 2, 3]),
            nobody.ask("/v1/completions", prompt=""),
            nobody.ask(messages=[{"role": "user", "content": ""}]),
            nobody.ask(messages=[], service="person"),
        ]
        loaded = [nobody.ask("/api/generate"), nobody.ask("/api/generate", service="person")]
        engines = [one["engine"] for one in json.loads(dmrc.ok("ps", "--json"))]
        misses = report(dmrc, "/replay")["misses"]

    assert [reply.status for reply in missed] == [422] * 4
    assert len(misses) == 4
    assert [json.loads(reply.body)["done_reason"] for reply in loaded] == ["load"] * 2
    assert engines == ["recorded"]


def test_a_project_ends_although_the_report_of_its_replay_cannot_be_written(shop: ReplayedShop) -> None:
    shop.up({"mode": "record"})
    shop.ask()
    reports = shop.dmrc.home / "replays"
    shutil.rmtree(reports, ignore_errors=True)
    reports.write_text("no directory")

    try:
        trouble = shop.report()["trouble"]
        shop.dmrc.ok("down", cwd=shop.directory)
    finally:
        reports.unlink()

    assert f"the report cannot be written to '{reports / 'shop.json'}'" in str(trouble)
    assert shop.ask().status == 401  # its key is not valid any more


def test_a_long_answer_is_read_and_given_whole(shop: ReplayedShop) -> None:
    """It is read in a thread: of megabytes of JSON the gateway would stand still."""
    words = story([1], "word" * 50_000)
    write_cassette(shop, replace(words, answer=replace(words.answer, pieces=words.answer.pieces * 2)), words)
    shop.up("./cassettes")

    replayed = [shop.ask(**STORY, stream=True) for _ in range(2)]

    assert [reply.headers["x-dmrc-recorded"] for reply in replayed] == ["web.jsonl:2", "web.jsonl:3"]
    assert replayed[0].body == words.answer.body * 2


@contextmanager
def served(dmrc: Dmrc, directory: Path, *options: str) -> Iterator[ReplayedShop]:
    """Run the daemon in the foreground, with a key of a person."""
    dmrc.run("stop-runner")
    with subprocess.Popen(
        [dmrc.program, "serve", *options], cwd=directory, env=dmrc.environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while "dmrc serves" not in (line := process.stderr.readline()):
            assert line, "the daemon ended"
        assert process.stderr.readline().startswith("requests of no project: ")
        try:
            dmrc.run("key", "revoke", "me")
            key = json.loads(dmrc.ok("key", "create", "--name", "me", "--model", MODEL, "--json"))["key"]
            yield ReplayedShop(dmrc, directory, keys={"person": key})
        finally:
            process.terminate()
            process.communicate(timeout=30)


def test_a_thousand_pieces_keep_their_times_and_come_at_once_where_that_is_wanted(shop: ReplayedShop) -> None:
    waits = [3 + number % 7 for number in range(1000)]  # 6 ms on average, as a small model says its tokens
    write_cassette(shop, story(waits))

    shop.up({"mode": "replay", "speed": 1})
    asked_at = time.perf_counter()
    played = shop.ask(**STORY, stream=True)
    shop.up({"mode": "replay", "speed": 0})
    seconds = []
    for _ in range(10):  # a busy machine delays some of them, and not all
        began = time.perf_counter()
        at_once = shop.ask(**STORY, stream=True)
        seconds.append(time.perf_counter() - began)
    took = min(seconds)

    assert len(played.pieces) == 1000
    assert at_once.pieces == played.pieces
    times = [at for at, _ in played.chunks]
    errors = [
        abs((after - before) * 1000 - wait) for (before, after), wait in zip(pairwise(times), waits[1:], strict=True)
    ]
    medians = [sorted(errors[start : start + 200])[100] for start in range(0, 800, 200)]
    late = [at - asked_at - due / 1000 for at, due in zip(times, accumulate(waits), strict=True)]
    print(f"off by {min(medians):.2f} ms, late {min(late[500:]):.3f} s; {sum(waits) / took / 1000:.0f} x as fast")
    assert min(medians) < 5
    assert min(late[500:]) < 0.25  # no drift: half a millisecond a piece would be that much; a stall is caught up
    assert took * 100 < sum(waits) / 1000


def story(waits: list[int], word: str = "word") -> Interaction:
    """Return a stream with a word for each wait, in milliseconds, but the last one."""
    asked = Asked(dialect="openai", operation="chat", path=CHAT, model="llm", body=STORY)
    said = b'data: {"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n' % word.encode()
    pieces = [*(RecordedPiece(wait, said) for wait in waits[:-1]), RecordedPiece(waits[-1], b"data: [DONE]\n\n")]
    answer = RecordedAnswer(model="m", status=200, content_type="text/event-stream", pieces=tuple(pieces))
    return Interaction(asked, answer)


def write_cassette(shop: ReplayedShop, *interactions: Interaction) -> None:
    shop.cassettes.mkdir(parents=True)
    lines = [header("web"), *map(line_of, interactions)]
    (shop.cassettes / "web.jsonl").write_text("".join(f"{line}\n" for line in lines))


def read_line(connection: http.client.HTTPConnection) -> bytes:
    """Return the first line of an answer that comes in chunks."""
    return connection.getresponse().readline()
