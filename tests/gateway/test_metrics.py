"""`/metrics` after a run of mixed requests: it parses, and each counter agrees with the store of exchanges."""

from __future__ import annotations

import collections
import http.client
import itertools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.dmrc_command import Dmrc
from tests.gateway.plugged import MODEL, Shop, post
from tests.polling import eventually
from tests.registry import RegistryServer

pytestmark = pytest.mark.engine

REQUESTS = 200
EMBEDDER = "local/embedder"
_OTHERS: tuple[tuple[str, dict[str, object]], ...] = (
    ("chat/completions", {"max_tokens": 3}),
    ("chat/completions", {"max_tokens": 2, "stream": True}),
    ("chat/completions", {"model": "made/up"}),
    ("chat/completions", {"messages": "no list"}),
    ("completions", {"prompt": "Once", "max_tokens": 3}),
    ("embeddings", {"model": EMBEDDER, "input": "Once"}),
    ("chat/completions", {"max_tokens": 3}),
)
"""Routes, and what is asked there beside a model and messages."""

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


def test_each_counter_agrees_with_the_record_after_200_mixed_requests(shop: Shop, gguf: Path) -> None:
    shop.dmrc.ok("package", "--gguf", gguf, "--context-size", "128", EMBEDDER)
    shop.up()
    (shop.directory / "compose.yaml").write_text(
        "name: shop\nservices:\n"
        "  web: {image: none, models: [llm, words]}\n  index: {image: none, models: [llm, words]}\n"
        f"models:\n  llm: {{model: {MODEL}, context_size: 64}}\n  words: {{model: {EMBEDDER}}}\n"
    )
    keys = [
        json.loads(shop.dmrc.ok("env", name, "--format", "json", cwd=shop.directory))["OPENAI_API_KEY"]
        for name in ("web", "index")
    ]

    def ask(number: int) -> None:
        route, more = _OTHERS[number % len(_OTHERS)]
        question = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **more}
        post(shop.dmrc, json.dumps(question).encode(), keys[number % 2], route)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(REQUESTS)))

    exchanges = eventually(lambda: found if len(found := recorded(shop.dmrc)) == REQUESTS else None, "all on record")
    told = eventually(
        lambda: found if total(found := samples(shop.dmrc), "dmrc_requests_total") == REQUESTS else None, "all counted"
    )
    assert total(told, "dmrc_captures_recorded_total") == REQUESTS
    assert total(told, "dmrc_captures_dropped_total") == total(told, "dmrc_notices_dropped_total") == 0
    statuses = collections.Counter(str(each["status"]) for each in exchanges)
    assert len(statuses) >= 3
    kinds = collections.Counter(
        (str(each["service"]), str(each["operation"]), str(each["status"])) for each in exchanges
    )
    assert {(service, operation) for service, operation, _ in kinds} == set(
        itertools.product(("web", "index"), ("chat", "completion", "embedding"))
    )
    for (service, operation, status), count in kinds.items():
        names = {"project": "shop", "service": service, "operation": operation, "status": status}
        assert total(told, "dmrc_requests_total", **names) == count
    for kind, field in (("input", "prompt_tokens"), ("cached", "cached_tokens"), ("output", "completion_tokens")):
        assert total(told, "dmrc_tokens_total", type=kind) == sum(int(str(each[field] or 0)) for each in exchanges)
    firsts = [each for each in exchanges if each["first_token_ms"] is not None]
    assert total(told, "gen_ai_server_time_to_first_token_seconds_count") == len(firsts) > 0
    assert total(told, "gen_ai_server_request_duration_seconds_count") == REQUESTS
    seconds = sum(float(str(each["total_ms"])) for each in exchanges) / 1000
    assert total(told, "gen_ai_server_request_duration_seconds_sum") == pytest.approx(seconds)
    models = {dict(own).get("model") for name, own in told if name == "dmrc_requests_total"}
    assert models == {"", *(f"docker.io/{name}:latest" for name in (MODEL, EMBEDDER))}, (
        "a name that a caller made up is no label"
    )


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


@pytest.mark.registry
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
    need = json.loads(shop.dmrc.ok("ps", "--json"))[0]["memory_estimated_bytes"]
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


def test_openmetrics_is_spoken_to_those_who_ask_for_it(shop: Shop) -> None:
    shop.up()
    assert shop.ask()[0] == 200
    eventually(lambda: total(samples(shop.dmrc), "dmrc_requests_total"), "the request")

    content_type, text = fetch(shop.dmrc, "application/openmetrics-text; version=1.0.0")

    assert content_type.startswith("application/openmetrics-text")
    names = {family.name for family in parse_openmetrics(text)}
    assert names >= {"dmrc_captures_recorded", "dmrc_requests", "dmrc_runner_slots", "llamacpp:tokens_predicted"}


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
