"""`dmrc requests` on a store of its own: no daemon runs."""

import json
import os
import pty
import re
import select
import subprocess
import time
from contextlib import closing
from dataclasses import replace

import pytest

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.reading import complete
from dmrc.exchange import id_at
from tests.capture.recorded import recorded
from tests.dmrc_command import Dmrc


def asked(text: str, number: int = 0, name: str = "chat.json", **changes):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    at = time.time() - 1000 + number
    exchange = recorded(name, id=f"{id_at(at)}-7000-8000-{number:012x}", received_at=at, request_body=body)
    return replace(complete(exchange), **{"project": "facts", "service": "web", "model_key": "llm", **changes})


@pytest.fixture
def record(dmrc: Dmrc):
    """Put exchanges on record."""

    def put(*exchanges) -> None:
        dmrc.home.mkdir(exist_ok=True)
        with closing(ExchangeDatabase(dmrc.home / "exchanges.sqlite3")) as database:
            database.insert_many(exchanges)

    return put


def on_a_terminal(dmrc: Dmrc, *arguments: str, columns: int = 80, answer: bytes = b"") -> str:
    """Run dmrc on a terminal of this width, and return what it shows."""
    master, slave = pty.openpty()
    environment = {**dmrc.environment, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen([dmrc.program, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    os.write(master, answer)
    shown = b""
    while select.select([master], [], [], 30)[0]:
        try:
            shown += os.read(master, 65536)
        except OSError:  # Linux says EIO when the other side has closed
            break
    process.wait(10)
    os.close(master)
    return shown.decode()


def cells(line: str) -> list[str]:
    """Return what the columns of a line show; the time of yesterday's request is two words."""
    return re.split(" {2,}", line.strip())


def test_a_list_is_aligned_and_in_the_order_of_time(dmrc: Dmrc, record) -> None:
    old = asked("of another day", -3 * 86400)
    record(old, asked("short", 1), asked("another one", 2, service="a-much-longer-name", status=404, error_type="x"))

    header, of_another_day, first, second = dmrc.ok("requests").splitlines()

    assert cells(of_another_day)[1:3] == [old.id[-8:], "facts/web"]
    assert header.index("PROMPT") == of_another_day.index("of another day")
    assert header.index("PROMPT") == first.index("short") == second.index("another one")
    assert header.index("SERVICE") == first.index("facts/web") == second.index("facts/a-much-longer-name")
    assert "21→6" in first
    assert "  404  " in second


def test_the_list_has_the_total_time_and_no_units_without_numbers(dmrc: Dmrc, record) -> None:
    """Issue 16, G: a call that took five minutes was shown as `-→- tok    - ms    - tok/s`."""
    nothing = dict.fromkeys(("prompt_tokens", "completion_tokens", "first_token_ms", "completion_tokens_per_second"))
    record(asked("slow", total_ms=301_800.0, client_disconnected=True, **nothing))

    header, line = dmrc.ok("requests").splitlines()

    assert header.split() == ["TIME", "ID", "SERVICE", "MODEL", "STATUS", "TOKENS", "FIRST", "TOOK", "TOK/S", "PROMPT"]
    assert cells(line)[2:] == ["facts/web", "llm", "200×", "5 min 2 s", "cancelled", "slow"]


def test_replicas_are_shown_where_there_are_several_and_found_by_their_node(dmrc: Dmrc, record) -> None:
    here = asked("one", 1, node="node-a", replica="llm-1")
    there = asked("two", 2, node="node-b", replica="llm-2")
    record(here, there, asked("three", 3, replica="10.0.0.7:8080"), asked("four", 4))

    header, *lines = dmrc.ok("requests").splitlines()
    header_of_one, line = dmrc.ok("requests", "--node", "node-b").splitlines()
    shown = dmrc.ok("requests", "show", there.id)
    as_json = json.loads(dmrc.ok("requests", "--json"))
    exported = dmrc.ok("requests", "export", "--as", "curl", "--node", "node-b")

    place = header.index("NODE")
    assert [one[place:].split()[0] for one in lines] == ["node-a", "node-b", "10.0.0.7:8080", "200"]
    assert cells(line)[2:5] == ["facts/web", "llm", "node-b"]
    assert line.endswith("two")
    assert "NODE" in header_of_one
    assert "replica llm-2 on node-b" in shown.splitlines()[1]
    assert [(one["replica"], one["node"]) for one in as_json[1:3]] == [("llm-2", "node-b"), ("10.0.0.7:8080", None)]
    assert "status 200, replica llm-2, node-b, " in exported


@pytest.mark.parametrize(
    "spelling", ["gemma3-qat:27B-Q4_K_M", "ai/gemma3-qat:27B-Q4_K_M", "docker.io/ai/gemma3-qat:27B-Q4_K_M"]
)
def test_a_model_has_one_spelling_and_pushes_nothing_off_the_screen(dmrc: Dmrc, record, spelling: str) -> None:
    long = {"service": "a-very-long-name-of-it"}
    record(asked("why?", 1, model_key=None, model_requested=spelling), asked("how?", 2, **long))

    shown = re.sub(r"\x1b\[[\d;]*m", "", on_a_terminal(dmrc, "requests", columns=100)).splitlines()

    header, first, second = shown
    assert first[header.index("MODEL") :].startswith("gemma3-qat:27… ")
    places = [line.index("21→6") + 4 for line in (first, second)]
    assert places == [header.index("TOKENS") + 6] * 2
    assert (first[-4:], second[-4:]) == ("why?", "how?")


def test_filters_of_the_command_line_hold_together(dmrc: Dmrc, record) -> None:
    record(
        asked("about whales", 1),
        asked("about ships", 2, status=404, error_type="not_found_error", total_ms=7000.0),
        asked("about whales and ships", 3, project="other", status=200),
    )

    def words(*options: str) -> list[str]:
        lines = dmrc.ok("requests", *options).splitlines()[1:]
        return [line[line.index("about") :] for line in lines]

    assert words("--grep", "whales") == ["about whales", "about whales and ships"]
    assert words("--grep", "ships whales", "--project", "other") == ["about whales and ships"]
    assert words("--errors") == words("--status", "404") == words("--status", "4xx") == ["about ships"]
    assert words("--slow") == words("--slow", "6s") == ["about ships"]
    assert words("--since", "2h", "-n", "1") == ["about whales and ships"]
    assert words("--since", "1m") == words("--before", "2020-01-01") == words("--model", "nothing") == []
    assert len(json.loads(dmrc.ok("requests", "--service", "web", "--json"))) == 3


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--since", "soon"), "--since must be a time, not 'soon'. Use 10m, 2h, 7d"),
        (("--slow", "very"), "--slow must be a time span, not 'very'"),
        (("--status", "40"), "--status must be an HTTP status, not '40'"),
        (("--follow", "--grep", "x"), "--follow does not go with --grep"),
        (("rm",), "requests are deleted by id or by options"),
        (("show", "ffff0000"), "no request 'ffff0000' is recorded"),
        (("export", "--as", "curl"), "no request can be written as curl"),
    ],
)
def test_a_mistake_is_told_in_one_line(dmrc: Dmrc, option: tuple[str, ...], message: str) -> None:
    done = dmrc.run("requests", *option)

    assert done.returncode in (2, 3)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("columns", [20, 60, 90, 120])
def test_a_line_fits_the_terminal_whatever_is_in_it(dmrc: Dmrc, record, columns: int) -> None:
    from rich.cells import cell_len

    record(
        asked("漢字" * 100, 1), asked("\x1b[31mred\x1b[2J\r\n" + "x" * 300, 2, error_message="\x1b]0;t\x07" + "e" * 300)
    )

    shown = on_a_terminal(dmrc, "requests", columns=columns)

    lines = re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert all(cell_len(line) <= columns for line in lines), lines
    assert "\x1b[" in shown
    assert "\x1b[2J" not in shown


def test_a_chat_is_shown_as_one(dmrc: Dmrc, record) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
    messages = [
        {"role": "system", "content": "Be\x1b[2J brief."},
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"rain":true}'},
    ]
    exchange = asked("", request_body=json.dumps({"messages": messages}).encode())
    record(exchange)

    page = dmrc.ok("requests", "show", exchange.id[-8:])

    body = page[page.index("system") :]
    assert body.startswith(
        "system\n  Be [2J brief.\n\nuser\n  Rain?\n\n"
        'assistant\n  calls weather c1\n    {\n      "city": "Bern"\n    }\n'
        '\ntool c1\n  {\n    "rain": true\n  }\n\nassistant\n  The planet is called Kepler-'
    )
    assert "21 (3 cached) → 6 tokens" in page
    assert "\x1b" not in page
    assert "\x1b[" in on_a_terminal(dmrc, "requests", "show", exchange.id)


def test_raw_bytes_are_those_on_record(dmrc: Dmrc, record) -> None:
    exchange = asked("hi", name="chat.sse", request_body=b"\xff\x00{", response_body=b"data: \xfe\r\n\r\n")
    record(exchange)

    def raw(*options: str) -> bytes:
        command = [dmrc.program, "requests", "show", exchange.id, "--raw", *options]
        return subprocess.run(command, env=dmrc.environment, check=True, capture_output=True).stdout

    assert raw("--part", "request") == b"\xff\x00{"
    assert raw("--part", "response") == b"data: \xfe\r\n\r\n"
    assert raw() == b"\xff\x00{\ndata: \xfe\r\n\r\n\n"


def test_what_is_removed_is_asked_about_and_gone(dmrc: Dmrc, record) -> None:
    exchanges = [asked(f"Xanadu{number}", number) for number in range(6)]
    record(*exchanges)

    assert dmrc.run("requests", "rm", "--project", "facts").returncode == 2
    assert "Delete 6 requests for good? [y/N]" in on_a_terminal(
        dmrc, "requests", "rm", "--project", "facts", answer=b"n\n"
    )
    assert len(dmrc.ok("requests").splitlines()) == 1 + 6

    assert dmrc.run("requests", "rm", exchanges[0].id[-8:], exchanges[1].id).stderr == "2 requests deleted\n"
    assert dmrc.run("requests", "rm", "--grep", "xanadu2", "--yes").returncode == 0
    on_a_terminal(dmrc, "requests", "rm", "--grep", "xanadu3", answer=b"y\n")

    assert len(dmrc.ok("requests").splitlines()) == 1 + 2
    files = b"".join(path.read_bytes() for path in dmrc.home.iterdir() if path.is_file())
    assert [number for number in range(6) if f"Xanadu{number}".encode() in files] == [4, 5]
    assert dmrc.run("requests", "rm", "--before", "0s", "--yes").stderr == "2 requests deleted\n"


def test_a_store_that_was_never_written_is_empty(dmrc: Dmrc) -> None:
    done = dmrc.run("requests")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no request was recorded yet\n")
    assert json.loads(dmrc.ok("requests", "--json")) == []
