"""Plugins of a project and of everybody, good and bad, on a real daemon with a real engine."""

import http.client
import json
import shutil
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.dmrc_command import Dmrc
from tests.gateway.plugged import MODEL, PULLED, REFUSES_ODD, WATCHES, Shop, daemon, listed, notes, post
from tests.hooks.written import write
from tests.polling import eventually
from tests.processes import engines_of
from tests.registry import RegistryServer

pytestmark = pytest.mark.engine

RAISES = """
@hookimpl
def dmrc_request(request):
    raise ValueError("no idea")
@hookimpl
def dmrc_exchange_completed(exchange):
    raise ValueError("no idea")
"""
SLEEPS = """
@hookimpl
def dmrc_request(request):
    time.sleep(60)
"""
DOZES = """
@hookimpl
def dmrc_exchange_completed(exchange):
    time.sleep(10)
"""
LIMITS = Path(__file__).parent.parent.parent / "plugins" / "dmrc-limits" / "dmrc_limits.py"
MISSPELT = """
@hookimpl
def dmrc_exchange_complete(exchange):
    pass
"""


def test_requests_go_on_whatever_plugins_do_and_the_list_names_the_sinners(shop: Shop) -> None:
    watches = shop.plugin("watches", WATCHES)
    shop.plugin("raises", RAISES)
    shop.plugin("sleeps", SLEEPS)
    shop.plugin("dozes", DOZES)
    shop.plugin("misspelt", MISSPELT)
    shop.plugin("gone", "import nothing_of_that_name")
    shop.up()

    began = time.monotonic()
    status, answer = shop.ask()

    assert (status, json.loads(answer)["object"]) == (200, "chat.completion")
    assert time.monotonic() - began < 40
    eventually(lambda: notes(watches, "completed"))
    eventually(lambda: shop.states()["raises"]["errors"] == 2)  # it hears in a thread of its own
    states = shop.states()
    assert {name: (each["state"], each["errors"]) for name, each in states.items()} == {
        "watches": ("loaded", 0),
        "raises": ("loaded", 2),
        "sleeps": ("loaded", 1),
        "dozes": ("loaded", 0),
        "misspelt": ("failed", 0),
        "gone": ("failed", 0),
    }
    assert "did you mean 'dmrc_exchange_completed'?" in str(states["misspelt"]["reason"])
    assert states["gone"]["reason"] == "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    for name in ("watches", "raises", "sleeps", "dozes"):
        assert f"plugin {shop.plugins[name]} runs in the daemon: dmrc_" in shop.printed
    for name in ("misspelt", "gone"):
        assert f"plugin {shop.plugins[name]} is skipped: {states[name]['reason']}\n" in shop.printed
    log = shop.dmrc.ok("logs")
    assert "plugin 'raises' failed in dmrc_request: ValueError: no idea" in log
    assert "plugin 'sleeps' failed in dmrc_request: it took more than 5 s" in log
    (exchange,) = json.loads(shop.dmrc.ok("requests", "--json"))
    assert sorted(exchange["annotations"]["filters_skipped"]) == ["raises", "sleeps"]
    eventually(lambda: float(str(shop.states()["dozes"]["mean_ms"] or 0)) >= 10_000, "the time that one took")


def test_every_request_is_told_exactly_once_failed_and_refused_ones_too(shop: Shop, tmp_path: Path) -> None:
    watches = write(tmp_path / "watches.py", WATCHES + REFUSES_ODD)
    shop.dmrc.environment["DMRC_PLUGINS"] = str(watches)
    shop.up()

    statuses = [
        shop.ask()[0],
        shop.ask({"stream": True})[0],
        shop.ask({"seed": 1})[0],
        shop.ask({"seed": 2})[0],
        shop.ask({"model": "local/none"})[0],
        shop.ask(key="sk-dmrc-unknown")[0],
        shop.ask(key="")[0],
        post(shop.dmrc, b"no json", shop.key)[0],
    ]
    connection = http.client.HTTPConnection("127.0.0.1", shop.dmrc.port)
    body = {"model": MODEL, "stream": True, "max_tokens": 60, "ignore_eos": True, "messages": []}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {shop.key}"})
    connection.getresponse().readline()
    connection.close()

    told = eventually(lambda: len(found := notes(watches, "completed")) >= len(statuses) + 1 and found)
    assert statuses == [200, 200, 418, 200, 404, 401, 200, 400]
    assert [what["status"] for _, what in told][: len(statuses)] == statuses
    recorded = [each["id"] for each in json.loads(shop.dmrc.ok("requests", "--json"))]
    assert sorted(recorded) == sorted(str(what["id"]) for _, what in told)
    assert {what["authorization"] for _, what in told} == {"[redacted]"}


def test_starts_and_stops_of_runners_come_in_pairs_with_the_reason(shop: Shop) -> None:
    watches = shop.plugin("watches", WATCHES)
    shop.up()

    shop.ask()
    shop.dmrc.ok("unload", MODEL)
    shop.ask()
    for child in engines_of(daemon(shop.dmrc)):
        child.send_signal(signal.SIGKILL)
    eventually(lambda: len(notes(watches, "stopped")) == 2)
    shop.ask()
    shop.dmrc.ok("stop-runner")

    runners = [(hook, what) for hook, what in notes(watches) if hook in ("started", "stopped")]
    assert [hook for hook, _ in runners] == ["started", "stopped"] * 3
    assert [what["reason"] for hook, what in runners if hook == "stopped"] == ["unloaded", "died", "shutdown"]
    assert runners[3][1]["exit_code"] == -signal.SIGKILL
    for (_, started), (_, stopped) in zip(runners[::2], runners[1::2], strict=True):
        assert (started["id"], started["at"]) == (stopped["id"], stopped["at"])


def test_none_of_the_strangers_runs_where_the_settings_say_so(shop: Shop) -> None:
    shop.dmrc.environment["DMRC_PLUGINS"] = "none"
    ran = shop.directory / "ran"
    shop.plugin(
        "refuses", f"open({str(ran)!r}, 'w')\n@hookimpl\ndef dmrc_request(request):\n    return Refusal(message='no')"
    )

    shop.up()

    assert shop.ask()[0] == 200
    assert shop.states()["refuses"]["state"] == "disabled"
    assert not ran.exists()
    assert f"plugin {shop.plugins['refuses']} is skipped: DMRC_PLUGINS allows none\n" in shop.printed


def test_a_refusal_reaches_the_official_client_as_its_own_kind_of_error(shop: Shop) -> None:
    import openai

    shop.plugin(
        "limits",
        "@hookimpl\nasync def dmrc_request(exchange):\n    return Refusal(message='slower, please', status=429,"
        " error_type='rate_limit_error', retry_after_seconds=7)",
    )
    shop.up()
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{shop.dmrc.port}/v1", api_key=shop.key, max_retries=0)

    with pytest.raises(openai.RateLimitError, match="slower, please") as raised:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])

    assert raised.value.response.headers["retry-after"] == "7"
    assert raised.value.type == "rate_limit_error"


def test_limits_of_a_service_refuse_what_is_beyond(shop: Shop) -> None:
    shop.directory.mkdir()
    shop.plugins["limits"] = Path(shutil.copy(LIMITS, shop.directory))
    shop.up(service=", x-dmrc-limits: {requests_per_minute: 2}")

    answers = [shop.ask() for _ in range(3)]

    assert [status for status, _ in answers] == [200, 200, 429]
    assert b"has used its 2 requests per minute" in answers[2][1]


def test_the_record_is_of_what_was_sent_to_the_engine_and_of_what_the_caller_got(shop: Shop) -> None:
    shop.plugin(
        "changes",
        """
@hookimpl
def dmrc_request(request):
    request.body["max_tokens"] = 1
    return request.annotated(why="short")
@hookimpl
async def dmrc_response_stream(exchange, stream):
    async for chunk in stream:
        yield chunk.replace(b'"model"', b'"MODEL"')
@hookimpl
def dmrc_filter_capture(exchange):
    return exchange.annotated(seen=True)
""",
    )
    shop.up()

    answers = [shop.ask()[1], shop.ask({"stream": True})[1]]

    exchanges = json.loads(shop.dmrc.ok("requests", "--json"))
    for answer, exchange in zip(answers, exchanges, strict=True):
        assert b'"MODEL"' in answer
        assert b'"model"' not in answer
        assert exchange["completion_tokens"] == 1
        assert exchange["annotations"] == {
            "why": "short",
            "request_changed_by": ["changes"],
            "stream_changed_by": ["changes"],
            "seen": True,
        }


def test_a_capture_whose_filter_fails_is_dropped_and_the_request_goes_on(shop: Shop) -> None:
    shop.plugin("masks", "@hookimpl\ndef dmrc_filter_capture(exchange):\n    raise ValueError")
    shop.up()

    assert shop.ask()[0] == 200

    eventually(lambda: shop.states()["masks"]["errors"] == 1)
    assert json.loads(shop.dmrc.ok("requests", "--json")) == []


def test_a_pull_is_told_once_in_the_daemon_or_else_in_the_command(
    dmrc: Dmrc, registry: RegistryServer, gguf: Path, tmp_path: Path
) -> None:
    watches = write(tmp_path / "watches.py", WATCHES + PULLED)
    dmrc.environment |= {"DMRC_PLUGINS": str(watches)}
    registry.push_model("me/one:v1", gguf)
    registry.push_model("me/two:v1", gguf, config={"architecture": "llama"})

    dmrc.ok("pull", f"{registry.address}/me/one:v1")
    dmrc.ok("pull", f"{registry.address}/me/one:v1")
    dmrc.ok("run", f"{registry.address}/me/one:v1", "hi")  # which starts the daemon
    dmrc.ok("pull", f"{registry.address}/me/two:v1")

    pulled = eventually(lambda: len(found := notes(watches, "pulled")) > 1 and found)
    assert [str(what["reference"]).rpartition("/")[2] for _, what in pulled] == ["one:v1", "two:v1"]
    assert str(pulled[0][1]["digest"]).startswith("sha256:")
    assert int(str(pulled[0][1]["size_bytes"])) > gguf.stat().st_size


def test_the_list_without_a_daemon_is_what_would_load(shop: Shop) -> None:
    shop.plugin("watches", WATCHES)
    shop.up()
    shop.dmrc.ok("stop-runner")

    done = shop.dmrc.run("plugins")

    assert "the daemon does not run; this is what it would load" in done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert " loaded " in rows["watches"]
    assert rows["dmrc.sources.oci"].split()[1:5] == ["0.1.0", "built", "in", "loaded"]


ROUTES = """
@hookimpl
def dmrc_register_routes(app):
    @app.get("/hello")
    def hello():
        return {"hello": "there"}
    @app.get("/engines/v1/models")
    def models():
        return {"stolen": True}
    @app.get("/broken")
    def broken():
        raise ValueError("no")
"""


def get(dmrc: Dmrc, path: str, **headers: str) -> tuple[int, bytes]:
    try:
        request = urllib.request.Request(f"http://127.0.0.1:{dmrc.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_routes_of_a_plugin_stand_behind_the_gateways_checks_and_replace_none_of_its_own(
    shop: Shop, tmp_path: Path
) -> None:
    path = write(tmp_path / "routes.py", ROUTES)
    shop.dmrc.environment["DMRC_PLUGINS"] = str(path)
    shop.up()

    assert get(shop.dmrc, "/hello") == (200, b'{"hello":"there"}')
    assert get(shop.dmrc, "/hello", host="evil.example")[0] == 403
    assert get(shop.dmrc, "/hello", origin="https://evil.example")[0] == 403
    assert get(shop.dmrc, "/hello", authorization="Bearer sk-dmrc-unknown")[0] == 401
    assert b"stolen" not in get(shop.dmrc, "/engines/v1/models")[1]
    status, body = get(shop.dmrc, "/broken")
    assert (status, "a plugin made a mistake" in json.loads(body)["error"]["message"]) == (500, True)
    assert get(shop.dmrc, "/nothing")[0] == 404
    (routes,) = (each for each in listed(shop.dmrc) if each["name"] == "routes")
    assert routes["errors"] == 1
