"""`/metrics` after a run of mixed requests: it parses, and each counter agrees with the store of exchanges."""

from __future__ import annotations

import collections
import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.dmrc_command import Dmrc
from tests.gateway.plugged import MODEL, Shop
from tests.polling import eventually

pytestmark = pytest.mark.engine

REQUESTS = 200
_OTHERS: tuple[dict[str, object], ...] = (
    {"max_tokens": 3},
    {"max_tokens": 2, "stream": True},
    {"model": "made/up"},
    {"messages": "no list"},
)

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


def test_each_counter_agrees_with_the_record_after_200_mixed_requests(shop: Shop) -> None:
    shop.up()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: shop.ask(_OTHERS[number % len(_OTHERS)]), range(REQUESTS)))

    exchanges = eventually(lambda: found if len(found := recorded(shop.dmrc)) == REQUESTS else None, "all on record")
    told = eventually(
        lambda: found if total(found := samples(shop.dmrc), "dmrc_requests_total") == REQUESTS else None, "all counted"
    )
    assert total(told, "dmrc_captures_recorded_total") == REQUESTS
    assert total(told, "dmrc_captures_dropped_total") == total(told, "dmrc_notices_dropped_total") == 0
    statuses = collections.Counter(str(each["status"]) for each in exchanges)
    assert len(statuses) >= 3
    for status, count in statuses.items():
        assert total(told, "dmrc_requests_total", status=status, project="shop", service="web") == count
    for kind, field in (("input", "prompt_tokens"), ("cached", "cached_tokens"), ("output", "completion_tokens")):
        assert total(told, "dmrc_tokens_total", type=kind) == sum(int(str(each[field] or 0)) for each in exchanges)
    firsts = [each for each in exchanges if each["first_token_ms"] is not None]
    assert total(told, "gen_ai_server_time_to_first_token_seconds_count") == len(firsts) > 0
    assert total(told, "gen_ai_server_request_duration_seconds_count") == REQUESTS
    seconds = sum(float(str(each["total_ms"])) for each in exchanges) / 1000
    assert total(told, "gen_ai_server_request_duration_seconds_sum") == pytest.approx(seconds)
    models = {dict(own).get("model") for name, own in told if name == "dmrc_requests_total"}
    assert models == {"", f"docker.io/{MODEL}:latest"}, "a name that a caller made up is no label"


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


def test_openmetrics_is_spoken_to_those_who_ask_for_it(shop: Shop) -> None:
    shop.up()

    content_type, text = fetch(shop.dmrc, "application/openmetrics-text; version=1.0.0")

    assert content_type.startswith("application/openmetrics-text")
    assert {family.name for family in parse_openmetrics(text)} >= {"dmrc_captures_recorded"}


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
