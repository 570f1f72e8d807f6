"""`/metrics` for Prometheus, as a plugin: requests, tokens and times, runners and their queues, llama.cpp's own.

Names and buckets of `gen_ai_server_…` are OpenTelemetry's.
Source: https://github.com/open-telemetry/semantic-conventions/blob/main/docs/gen-ai/gen-ai-metrics.md

Labels hold what is declared or stored, and never what a caller made up: a name that no model has is an empty `model`.

llama.cpp's own keep their names. A counter of its that does not end in `_total` is passed on without a type:
OpenMetrics knows no such counter, and the client would add the ending.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import Response

from dmrc import Exchange, Runner, hookimpl
from dmrc.engines.session import Session
from dmrc.gateway.plugins.context import DaemonParts
from dmrc.gateway.plugins.replica_metrics import Names, of_replicas
from dmrc.scheduler import runner as scheduled

_WHO = ("project", "service", "model", "engine")
_REPLICA = ("model", "engine", "node", "replica")
_OPENMETRICS = "application/openmetrics-text"
_ENGINE_SECONDS = 2.0
_COUNTER_WITHOUT_TOTAL = re.compile(r"^(# TYPE \S+(?<!_total)) counter$", re.MULTILINE)
_OPERATION_NAMES = {"completion": "text_completion", "embedding": "embeddings", "response": "chat"}
_DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST_TOKEN_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_PER_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)

_nodes, _replicas = Names(), Names()

disable_created_metrics()  # type: ignore[no-untyped-call]
_registry = CollectorRegistry()


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=_registry)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, text, labels, registry=_registry, buckets=buckets)


_requests = _counter("dmrc_requests", "Finished requests", *_WHO, "operation", "status")
_tokens = _counter("dmrc_tokens", "Tokens: input, those of it from a cache, output", *_WHO, "type")
_answers = _counter("dmrc_replica_requests", "Finished requests of models with replicas", *_REPLICA, "status")
_disconnects = _counter("dmrc_client_disconnects", "Requests whose caller went away", *_WHO)
_starts = _counter("dmrc_runner_starts", "Runners that became ready", "model", "engine")
_stops = _counter("dmrc_runner_stops", "Runners that ended, by reason", "model", "engine", "reason")
_load_seconds = _counter("dmrc_runner_load_seconds", "Time spent loading", "model", "engine")
_pulls = _counter("dmrc_pulls", "Models pulled")
_pulled_bytes = _counter("dmrc_pulled_bytes", "Bytes of models pulled")
_duration = _histogram(
    "gen_ai_server_request_duration_seconds",
    "Time to the last byte",
    _DURATION_BUCKETS,
    *_WHO,
    "gen_ai_operation_name",
    "error_type",
)
_first_token = _histogram(
    "gen_ai_server_time_to_first_token_seconds",
    "Time to the first token",
    _FIRST_TOKEN_BUCKETS,
    *_WHO,
    "gen_ai_operation_name",
)
_per_token = _histogram(
    "gen_ai_server_time_per_output_token_seconds",
    "Time per token after the first",
    _PER_TOKEN_BUCKETS,
    *_WHO,
    "gen_ai_operation_name",
)


# Each request looks for six of them, nearly always those of the one before; to find them again the client makes a text
# of each label, and takes a lock.
@lru_cache(maxsize=4096)
def _counts(counter: Counter, *labels: str) -> Counter:
    return counter.labels(*labels)


@lru_cache(maxsize=4096)
def _times(histogram: Histogram, *labels: str) -> Histogram:
    return histogram.labels(*labels)


@hookimpl
def dmrc_exchange_completed(exchange: Exchange) -> None:
    """Count a finished request."""
    named = (exchange.project, exchange.service, exchange.model_reference, exchange.engine)
    who = tuple(name or "" for name in named)
    _counts(_requests, *who, exchange.operation, str(exchange.status or "")).inc()
    counts = (("input", exchange.prompt_tokens), ("cached", exchange.cached_tokens))
    for kind, count in (*counts, ("output", exchange.completion_tokens)):
        _counts(_tokens, *who, kind).inc(count or 0)
    if exchange.replica is not None:
        place = (_nodes.label(exchange.node or ""), _replicas.label(exchange.replica))
        _counts(_answers, *who[2:], *place, str(exchange.status or "")).inc()
    if exchange.client_disconnected:
        _counts(_disconnects, *who).inc()
    operation = _OPERATION_NAMES.get(exchange.operation, exchange.operation)
    if exchange.total_ms is not None:
        _times(_duration, *who, operation, _error_type(exchange)).observe(exchange.total_ms / 1000)
    if exchange.first_token_ms is None:
        return
    _times(_first_token, *who, operation).observe(exchange.first_token_ms / 1000)
    later = (exchange.completion_tokens or 0) - 1
    if later > 0 and exchange.total_ms is not None:
        _times(_per_token, *who, operation).observe((exchange.total_ms - exchange.first_token_ms) / 1000 / later)


@hookimpl
def dmrc_runner_started(runner: Runner) -> None:
    """Count a load."""
    _starts.labels(runner.model_reference, runner.engine).inc()
    _load_seconds.labels(runner.model_reference, runner.engine).inc(runner.load_seconds)


@hookimpl
def dmrc_runner_stopped(runner: Runner, reason: str) -> None:
    """Count an end; `evicted` is one that gave way."""
    _stops.labels(runner.model_reference, runner.engine, reason).inc()


@hookimpl
def dmrc_model_pulled(size_bytes: int) -> None:
    """Count a pull."""
    _pulls.inc()
    _pulled_bytes.inc(size_bytes)


@hookimpl
def dmrc_register_routes(app: FastAPI) -> None:
    """Add `/metrics`."""
    parts: DaemonParts = app.state.parts

    async def metrics(request: Request) -> Response:
        runners = parts.scheduler.runners()
        engines = await asyncio.gather(*(_of_engine(runner) for runner in runners))
        own = [*_registry.collect(), *_of_daemon(parts, runners), *_of_devices(parts)]
        scrape = _Scrape([*own, *_merged(engines)])
        if _OPENMETRICS not in request.headers.get("accept", ""):
            return Response(generate_latest(scrape), headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})
        # Every name is legal in both forms. Any other escaping makes `_` of the `:` in llama.cpp's names, and only in
        # the samples: https://github.com/prometheus/client_python/blob/master/prometheus_client/openmetrics/exposition.py
        text = openmetrics.generate_latest(scrape, escaping=openmetrics.ALLOWUTF8)  # type: ignore[no-untyped-call]
        return Response(text, headers={"content-type": openmetrics.CONTENT_TYPE_LATEST})

    app.add_api_route("/metrics", metrics, methods=["GET"], response_model=None)


class _Scrape:
    """What an encoder asks for."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _error_type(exchange: Exchange) -> str:
    """Return one of few words: an engine's own would be labels without end."""
    if exchange.was_cancelled:
        return "cancelled"
    if exchange.status is None or exchange.status >= 400:
        return str(exchange.status or "no_answer")
    return "broken_stream" if exchange.error_type else ""


def _of_daemon(parts: DaemonParts, runners: Iterable[scheduled.ManagedRunner]) -> Iterator[Metric]:
    labels = ("runner", "model", "engine")
    gauges = {
        "in_use": GaugeMetricFamily("dmrc_runner_slots_in_use", "Requests being served", labels=labels),
        "parallel": GaugeMetricFamily("dmrc_runner_slots", "Requests that can be served at once", labels=labels),
        "waiting": GaugeMetricFamily("dmrc_runner_waiting", "Requests that wait for a slot", labels=labels),
    }
    memory = GaugeMetricFamily("dmrc_runner_memory_bytes", "Memory reserved", labels=labels)
    on_card = GaugeMetricFamily(
        "dmrc_runner_device_memory_bytes", "Memory of a graphics card reserved", labels=(*labels, "device")
    )
    for runner in runners:
        names = (runner.key, runner.target.reference, runner.target.engine)
        for attribute, gauge in gauges.items():
            gauge.add_metric(names, getattr(runner, attribute))
        held = runner.held
        memory.add_metric(names, held.estimated_bytes)
        for device, reserved in held.cards.items():
            on_card.add_metric((*names, device), reserved)
    yield from (*gauges.values(), memory, on_card, *of_replicas(runners))
    counts = parts.recorder.counts()
    dropped = CounterMetricFamily("dmrc_captures_dropped", "Requests that could not be recorded")
    dropped.add_metric((), counts.dropped)
    refused = CounterMetricFamily("dmrc_captures_refused", "Requests that a filter kept out of the record")
    refused.add_metric((), counts.refused)
    recorded = CounterMetricFamily("dmrc_captures_recorded", "Requests on record")
    recorded.add_metric((), counts.recorded)
    lost = CounterMetricFamily("dmrc_notices_dropped", "Notifications that a plugin did not get", labels=("plugin",))
    for plugin in parts.plugins.all():
        lost.add_metric((plugin.name,), plugin.dropped)
    yield from (dropped, refused, recorded, lost)


def _of_devices(parts: DaemonParts) -> Iterator[Metric]:
    """Yield the memory of graphics cards as each engine saw it last: to ask again takes a child."""
    labels = ("engine", "device", "description")
    total = GaugeMetricFamily("dmrc_device_memory_bytes", "Memory of a graphics card", labels=labels)
    free = GaugeMetricFamily(
        "dmrc_device_memory_free_bytes", "Memory of it that was free when last seen", labels=labels
    )
    seen_at = GaugeMetricFamily("dmrc_device_seen_timestamp_seconds", "When it was last seen", labels=labels)
    for engine, seen in parts.scheduler.devices.last.items():
        for device in seen.devices:
            names = (engine, device.name, device.description)
            total.add_metric(names, device.total_bytes)
            free.add_metric(names, device.free_bytes)
            seen_at.add_metric(names, seen.at)
    yield from (total, free, seen_at)


async def _of_engine(runner: scheduled.ManagedRunner) -> list[Metric]:
    """Return what an engine tells of itself, named by its runner; `dmrc_runner_metrics_up` is 0 where it does not."""
    names = {"runner": runner.key, "model": runner.target.reference, "engine": runner.target.engine}
    up = GaugeMetricFamily("dmrc_runner_metrics_up", "Whether the engine told its own metrics", labels=tuple(names))
    families: list[Metric] = []
    if runner.session is not None and runner.engine.metrics_path is not None:
        try:
            async with asyncio.timeout(_ENGINE_SECONDS):
                told = _COUNTER_WITHOUT_TOTAL.sub(
                    r"\1 untyped", await _told(runner.session, runner.engine.metrics_path)
                )
                families = list(text_string_to_metric_families(told))
        except (ConnectionError, TimeoutError, ValueError):
            families = []  # the gauge says so
    for family in families:
        family.samples = [sample._replace(labels={**sample.labels, **names}) for sample in family.samples]
    up.add_metric(tuple(names.values()), float(bool(families)))
    return [up, *families]


async def _told(session: Session, path: str) -> str:
    answer = await session.get(path)
    try:
        body = b"".join([chunk async for chunk in answer])
    finally:
        answer.close()
    return body.decode() if answer.status == 200 else ""


def _merged(told: Iterable[Iterable[Metric]]) -> Iterable[Metric]:
    """Join the families of several runners: each may be told only once."""
    families: dict[str, Metric] = {}
    for each in (family for families_of_one in told for family in families_of_one):
        families.setdefault(each.name, Metric(each.name, each.documentation, each.type)).samples.extend(each.samples)
    return families.values()
