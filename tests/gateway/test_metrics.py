"""`/metrics` after a run of mixed requests: it parses, and each counter agrees with the store of exchanges."""

from __future__ import annotations

import collections
import http.client
import json
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.dmrc_command import Dmrc
from tests.gateway.plugged import MODEL, Shop
from tests.polling import eventually
from tests.registry import RegistryServer
from tests.tiny_gguf import write_tiny_llama

pytestmark = pytest.mark.engine

Body = dict[str, object]

EMBEDDER = "local/embedder"
COMPOSE = f"""
name: shop
services:
  web: {{image: none, models: [llm]}}
  other: {{image: none, models: [llm, embed]}}
models:
  llm: {{model: {MODEL}, context_size: 16384}}
  embed: {{model: {EMBEDDER}, context_size: 256}}
"""
CHAT: Body = {"model": MODEL, "max_tokens": 3, "messages": [{"role": "user", "content": "hi"}]}
ENDLESS: Body = {"stream": True, "max_tokens": 16000, "ignore_eos": True}
MIXED: tuple[tuple[str, str, Body], ...] = (
    ("web", "chat/completions", CHAT),
    ("other", "chat/completions", {**CHAT, "stream": True}),
    ("other", "completions", {"model": MODEL, "prompt": "ba be", "max_tokens": 2}),
    ("other", "embeddings", {"model": EMBEDDER, "input": "ba be"}),
    ("web", "embeddings", {"model": EMBEDDER, "input": "ba be"}),
    ("web", "chat/completions", {**CHAT, "model": "made/up"}),
    ("other", "chat/completions", {**CHAT, "messages": "no list"}),
    ("web", "chat/completions", {**CHAT, **ENDLESS}),
)
"""Service, route and body; the fifth wants what nobody has, and the last one goes away after the first token."""
REQUESTS = 25 * len(MIXED)
KIND = ("service", "operation", "status")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def fetch(dmrc: Dmrc, accept: str = "") -> tuple[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", dmrc.port, timeout=30)
    connection.request("GET", "/metrics", headers={"accept": accept} if accept else {})
    answer = connection.getresponse()
    assert answer.status == 200
    return answer.headers["content-type"], answer.read().decode()


def samples(dmrc: Dmrc) -> Samples:
    families = text_string_to_metric_families(fetch(dmrc)[1])
    return {(each.name, frozenset(each.labels.items())): each.value for one in families for each in one.samples}


def total(found: Samples, name: str, **labels: str) -> float:
    return sum(value for (each, own), value in found.items() if each == name and labels.items() <= own)


def recorded(dmrc: Dmrc) -> list[dict[str, object]]:
    exchanges: list[dict[str, object]] = json.loads(dmrc.ok("requests", "--json", "-n", "1000"))
    return exchanges


@pytest.fixture
def keys(dmrc: Dmrc, tmp_path: Path) -> dict[str, str]:
    """The keys of two services of one project."""
    gguf = write_tiny_llama(tmp_path / "tiny.gguf", context_length=16384)
    for model in (MODEL, EMBEDDER):
        dmrc.ok("package", "--gguf", gguf, model)
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    environments = {name: dmrc.ok("env", name, "--format", "json", cwd=tmp_path) for name in ("web", "other")}
    return {name: json.loads(text)["OPENAI_API_KEY"] for name, text in environments.items()}


def ask(dmrc: Dmrc, key: str, route: str, body: Body) -> None:
    """Ask, and go away after the first token of an endless answer."""
    connection = http.client.HTTPConnection("127.0.0.1", dmrc.port, timeout=60)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connection.request("POST", f"/engines/v1/{route}", json.dumps(body), headers)
    answer = connection.getresponse()
    answer.readline() if ENDLESS.items() <= body.items() else answer.read()
    answer.close()
    connection.close()


def test_each_counter_agrees_with_the_record_after_200_mixed_requests(dmrc: Dmrc, keys: dict[str, str]) -> None:
    def one(number: int) -> None:
        service, route, body = MIXED[number % len(MIXED)]
        ask(dmrc, keys[service], route, body)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(REQUESTS)))

    exchanges = eventually(lambda: found if len(found := recorded(dmrc)) == REQUESTS else None, "all on record")
    eventually(lambda: total(samples(dmrc), "dmrc_requests_total") == REQUESTS, "all counted")
    told = samples(dmrc)  # the last one's tokens and times are counted a moment after it
    assert total(told, "dmrc_captures_recorded_total") == REQUESTS
    assert total(told, "dmrc_captures_dropped_total") == total(told, "dmrc_notices_dropped_total") == 0
    kinds = collections.Counter(tuple(str(each[name]) for name in KIND) for each in exchanges)
    assert set(kinds.values()) >= {25, 50}
    assert {kind[:3] for kind in kinds} == {
        *(("web", "chat", status) for status in ("200", "404")),
        *(("other", "chat", status) for status in ("200", "400")),
        *(("other", "completion", "200"), ("other", "embedding", "200"), ("web", "embedding", "403")),
    }
    for kind, count in kinds.items():
        assert total(told, "dmrc_requests_total", project="shop", **dict(zip(KIND, kind, strict=True))) == count
    for kind, field in (("input", "prompt_tokens"), ("cached", "cached_tokens"), ("output", "completion_tokens")):
        assert total(told, "dmrc_tokens_total", type=kind) == sum(int(str(each[field] or 0)) for each in exchanges)
    gone = [each for each in exchanges if each["client_disconnected"]]
    assert total(told, "dmrc_client_disconnects_total", service="web") == len(gone) == 25
    assert total(told, "gen_ai_server_request_duration_seconds_count", error_type="cancelled") == len(gone)
    firsts = [each for each in exchanges if each["first_token_ms"] is not None]
    assert total(told, "gen_ai_server_time_to_first_token_seconds_count") == len(firsts) > 0
    assert total(told, "gen_ai_server_request_duration_seconds_count") == REQUESTS
    seconds = sum(float(str(each["total_ms"])) for each in exchanges) / 1000
    assert total(told, "gen_ai_server_request_duration_seconds_sum") == pytest.approx(seconds)
    models = {dict(own).get("model") for name, own in told if name == "dmrc_requests_total"}
    known = {f"docker.io/{name}:latest" for name in (MODEL, EMBEDDER)}
    assert models == {"", *known}, "a name that a caller made up is no label"


def test_runners_and_what_llama_cpp_tells_of_itself(shop: Shop) -> None:
    shop.up()
    assert shop.ask()[0] == 200

    told = eventually(
        lambda: found if total(found := samples(shop.dmrc), "llamacpp:tokens_predicted_total") else None, "its tokens"
    )

    assert total(told, "dmrc_runner_starts_total", engine="llama.cpp") == 1
    assert total(told, "dmrc_runner_slots") >= 1
    assert total(told, "dmrc_runner_memory_bytes") > 0
    assert total(told, "dmrc_runner_metrics_up") == 1
    (runner,) = {dict(own)["runner"] for name, own in told if name == "llamacpp:tokens_predicted_total"}
    assert runner == json.loads(shop.dmrc.ok("ps", "--json"))[0]["id"]
    shop.dmrc.ok("unload", MODEL)
    eventually(lambda: total(samples(shop.dmrc), "dmrc_runner_stops_total", reason="unloaded") == 1)


def test_openmetrics_is_spoken_to_those_who_ask_for_it_with_what_llama_cpp_tells(shop: Shop) -> None:
    shop.up()
    assert shop.ask()[0] == 200

    wanted = "application/openmetrics-text; version=1.0.0"
    content_type, text = eventually(
        lambda: found if "llamacpp:" in (found := fetch(shop.dmrc, wanted))[1] else None,
        "what the engine tells in time",
    )

    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in parse_openmetrics(text)}
    assert families.keys() >= {"dmrc_captures_recorded", "llamacpp:tokens_predicted", "llamacpp:requests_processing"}
    assert "llamacpp_" not in text
    (sample,) = families["llamacpp:tokens_predicted"].samples
    assert (sample.name, sample.labels["engine"]) == ("llamacpp:tokens_predicted_total", "llama.cpp")


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_names_of_llama_cpp_are_its_own(shop: Shop, accept: str) -> None:
    """It has a counter without `_total`, to which the client would add one."""
    shop.up()
    assert shop.ask()[0] == 200
    (socket,) = (shop.dmrc.home / "run").glob("runner-*.sock")
    own = names_in(subprocess.check_output(["curl", "-s", "--unix-socket", socket, "http://engine/metrics"], text=True))
    assert "llamacpp:n_tokens_max" in own

    told = eventually(
        lambda: found if "llamacpp:n_tokens_max" in (found := names_in(fetch(shop.dmrc, accept)[1])) else None,
        "what the engine tells in time",
    )

    assert {name for name in told if name.startswith("llamacpp")} == own


def names_in(text: str) -> set[str]:
    """Return the names of the samples of a page of metrics."""
    return {re.split(r"[{ ]", line, maxsplit=1)[0] for line in text.splitlines() if line and not line.startswith("#")}


def test_pulls_evictions_and_captures_that_were_refused_are_counted(
    shop: Shop, registry: RegistryServer, gguf: Path
) -> None:
    shop.dmrc.environment["DMRC_MEMORY"] = "400MiB"
    shop.plugin("masks", "@hookimpl\ndef dmrc_filter_capture(exchange):\n    raise ValueError")
    shop.up()
    registry.push_model("me/one:v1", gguf, config={"architecture": "llama"})
    shop.dmrc.ok("pull", f"{registry.address}/me/one:v1")
    before = samples(shop.dmrc)
    assert total(before, "dmrc_pulls_total") == 1
    assert total(before, "dmrc_pulled_bytes_total") > gguf.stat().st_size

    assert shop.ask()[0] == 200
    (runner,) = json.loads(shop.dmrc.ok("ps", "--json"))
    need = runner["memory_estimated_bytes"] - runner["prompt_cache_bytes"]
    shop.dmrc.ok("stop-runner")
    shop.dmrc.environment["DMRC_MEMORY"] = str(round(need * 1.5))
    shop.up()
    assert shop.ask()[0] == 200
    assert shop.ask({"model": f"{registry.address}/me/one:v1"}, key="")[0] == 200

    told = eventually(
        lambda: found if total(found := samples(shop.dmrc), "dmrc_captures_refused_total") else None, "what was refused"
    )
    assert total(told, "dmrc_runner_stops_total", reason="evicted") == 1
    assert total(told, "dmrc_captures_refused_total") == 1
    assert total(told, "dmrc_captures_dropped_total") == 0


def test_a_capture_that_cannot_be_written_is_counted_as_dropped(shop: Shop) -> None:
    shop.plugin(
        "breaks",
        """
import dataclasses
@hookimpl
def dmrc_filter_capture(exchange):
    return dataclasses.replace(exchange, prompt_tokens=2**70) if exchange.stream else exchange
""",
    )
    shop.up()

    assert [shop.ask()[0], shop.ask({"stream": True})[0]] == [200, 200]

    def counts() -> dict[str, float]:
        told = samples(shop.dmrc)
        return {
            name: total(told, f"dmrc_{name}_total") for name in ("captures_dropped", "captures_recorded", "requests")
        }

    # Requests are counted beside the record, and perhaps after it.
    expected = {"captures_dropped": 1, "captures_recorded": 1, "requests": 2}
    eventually(lambda: counts() == expected, f"counts of {expected}")
    assert [each["stream"] for each in recorded(shop.dmrc)] == [False]


@pytest.fixture
def with_plugin(dmrc: Dmrc, tmp_path: Path, gguf: Path) -> Callable[..., Shop]:
    """Return a function that makes a project where everybody has one of the plugins of this repository."""

    def make(name: str, **environment: str) -> Shop:
        path = Path(__file__).parents[2] / "plugins" / f"dmrc-{name}" / f"dmrc_{name}.py"
        dmrc.environment.update({"DMRC_PLUGINS": str(path), **environment})
        dmrc.ok("package", "--gguf", gguf, MODEL)
        shop = Shop(dmrc, tmp_path / "shop")
        shop.up()
        return shop

    return make


def test_the_plugin_jsonl_writes_what_a_service_asked(with_plugin: Callable[..., Shop], tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    shop = with_plugin("jsonl", DMRC_JSONL=str(log))

    assert shop.ask()[0] == 200

    line = json.loads(eventually(lambda: log.exists() and log.read_text(), "a line"))
    assert (line["project"], line["service"], line["status"]) == ("shop", "web", 200)
    assert line["request"]["messages"] == [{"role": "user", "content": "hi"}]
    assert shop.key not in log.read_text()
