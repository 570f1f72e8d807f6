"""Requests as OpenTelemetry spans and metrics over OTLP, each under the name of its compose service.

Those of one conversation are in one trace: that of their caller, else that of the first of them.
Names are those of OpenTelemetry's semantic conventions for generative AI. No words of prompts and answers are sent.
Source: https://github.com/open-telemetry/semantic-conventions/blob/main/docs/gen-ai/gen-ai-spans.md
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from dmrc import ConversationMemory, Exchange, JoinedExchange, hookimpl

__version__ = "0.1.0"

_OPERATIONS = {"completion": "text_completion", "embedding": "embeddings", "response": "chat"}
_PARAMETERS = ("frequency_penalty", "max_tokens", "presence_penalty", "seed", "temperature", "top_k", "top_p")
_DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

_SHORTEST_MS = 1.0

_FLAGS = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-([0-9a-f]{2}).*")

_AttributeValue = str | int | float | bool | tuple[str, ...]


class Telemetry:
    """The exporters of one compose service; where they send is said by the `OTEL_EXPORTER_OTLP_…` variables."""

    def __init__(self, project: str, service: str) -> None:
        """Connect at the first export."""
        resource = Resource.create({"service.name": service, "service.namespace": project})
        self._spans = TracerProvider(resource=resource)
        self._spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._spans.get_tracer("dmrc", __version__)
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        self._metrics = MeterProvider(resource=resource, metric_readers=[reader])
        meter = self._metrics.get_meter("dmrc", __version__)
        self._duration = meter.create_histogram(
            "gen_ai.server.request.duration", "s", explicit_bucket_boundaries_advisory=_DURATION
        )
        self._first_token = meter.create_histogram(
            "gen_ai.server.time_to_first_token", "s", explicit_bucket_boundaries_advisory=_FIRST_TOKEN
        )
        self._per_token = meter.create_histogram(
            "gen_ai.server.time_per_output_token", "s", explicit_bucket_boundaries_advisory=_PER_TOKEN
        )

    def add(self, exchange: Exchange, joined: JoinedExchange | None = None) -> None:
        """Send one exchange; what is not in a trace of its caller is in that of its conversation."""
        operation = _OPERATIONS.get(exchange.operation, exchange.operation)
        model = exchange.model_reference or exchange.model_requested or ""
        began = round(exchange.received_at * 1e6) * 1000
        seconds = (exchange.total_ms or 0.0) / 1000
        root = None if joined is None else _roots.of(joined.conversation_id)
        context = _parent(exchange) or (root and trace.set_span_in_context(NonRecordingSpan(root), Context()))
        span = self._tracer.start_span(
            f"{operation} {model}".strip(),
            context=context,
            kind=SpanKind.SERVER,
            attributes=dict(attributes(exchange, operation, joined)),
            links=[Link(root)] if root is not None and _parent(exchange) is not None else (),
            start_time=began,
        )
        if joined is not None:
            _roots.begin(joined.conversation_id, span.get_span_context())
            self._add_tools(joined, context)
        self._add_parts(exchange, trace.set_span_in_context(span, Context()), began)
        if "error.type" in (failure := _failure(exchange)):
            span.set_status(Status(StatusCode.ERROR, exchange.error_message))
        if exchange.first_token_ms is not None:
            span.add_event("gen_ai.first_token", timestamp=began + round(exchange.first_token_ms * 1e6))
        span.end(began + round(seconds * 1e9))
        names = {"gen_ai.operation.name": operation, "gen_ai.request.model": exchange.model_reference or "", **failure}
        self._duration.record(seconds, names)
        if exchange.first_token_ms is not None:
            self._first_token.record(exchange.first_token_ms / 1000, names)
            later = (exchange.completion_tokens or 0) - 1
            if later > 0:
                self._per_token.record((seconds - exchange.first_token_ms / 1000) / later, names)

    def _add_parts(self, exchange: Exchange, context: Context, began: int) -> None:
        """Send where the time of a request went; nothing of what nobody measured."""
        at = began
        for name, milliseconds in parts(exchange):
            end = at + round(milliseconds * 1e6)
            self._tracer.start_span(name, context=context, start_time=at).end(end)
            at = end

    def _add_tools(self, joined: JoinedExchange, context: Context | None) -> None:
        """Send the time of the application between an answer that called a tool and the request with its result."""
        for tool in joined.tools:
            said = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool.name}
            if tool.call_id:
                said["gen_ai.tool.call.id"] = tool.call_id
            begun = round(tool.began_at * 1e6) * 1000
            span = self._tracer.start_span(
                f"execute_tool {tool.name}", context=context, attributes=said, start_time=begun
            )
            span.end(max(begun, round(tool.ended_at * 1e6) * 1000))

    def close(self) -> None:
        """Send what waits, and end. Blocks."""
        self._spans.shutdown()
        self._metrics.shutdown()


class Roots:
    """The span of the first request of each conversation. Safe in threads."""

    def __init__(self, most: int = 10_000) -> None:
        """Remember so many conversations."""
        self._most = most
        self._spans: OrderedDict[str, SpanContext] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, conversation: str) -> SpanContext | None:
        """Return the span of its first request; None where there was none."""
        with self._lock:
            return self._spans.get(conversation)

    def begin(self, conversation: str, span: SpanContext) -> None:
        """Remember the span where it is the first."""
        with self._lock:
            self._spans.setdefault(conversation, span)
            self._spans.move_to_end(conversation)
            if len(self._spans) > self._most:
                self._spans.popitem(last=False)


_conversations = ConversationMemory()
_roots = Roots()
_telemetry: dict[tuple[str, str], Telemetry] = {}
_lock = threading.Lock()


@hookimpl
def dmrc_exchange_completed(exchange: Exchange) -> None:
    """Send it in the name of the service that asked; callers without one are `dmrc`."""
    joined = _conversations.join(exchange)
    of(exchange.project or "dmrc", exchange.service or "dmrc").add(exchange, joined)


def of(project: str, service: str) -> Telemetry:
    """Return the exporters of a service, always the same."""
    with _lock:
        if (project, service) not in _telemetry:
            _telemetry[project, service] = Telemetry(project, service)
        return _telemetry[project, service]


def parts(exchange: Exchange) -> Iterator[tuple[str, float]]:
    """Yield the parts of the time of a request, in their order, and how long each took; milliseconds."""
    load, queue = exchange.load_ms or 0.0, exchange.queue_ms or 0.0
    yield from ((name, span) for name, span in (("load", load), ("queue", queue)) if span >= _SHORTEST_MS)
    first, total = exchange.first_token_ms, exchange.total_ms
    if first is None or total is None:
        return
    waited = sum(span for span in (load, queue) if span >= _SHORTEST_MS)
    yield "prefill", max(0.0, first - waited)
    yield "decode", max(0.0, total - max(first, waited))


def attributes(
    exchange: Exchange, operation: str, joined: JoinedExchange | None = None
) -> Iterator[tuple[str, _AttributeValue]]:
    """Yield the attributes of a span, those that are known."""
    request = _document(exchange.request_body)
    known: dict[str, _AttributeValue | None] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": exchange.engine or "dmrc",
        "gen_ai.request.model": exchange.model_requested,
        "gen_ai.request.stream": exchange.stream,
        "gen_ai.response.model": exchange.model_reference,
        "gen_ai.response.finish_reasons": (exchange.finish_reason,) if exchange.finish_reason else None,
        "gen_ai.conversation.id": exchange.session_id or (joined and joined.conversation_id),
        "gen_ai.usage.input_tokens": exchange.prompt_tokens,
        "gen_ai.usage.output_tokens": exchange.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": exchange.cached_tokens,
        "http.request.method": exchange.method,
        "http.response.status_code": exchange.status,
        "url.path": exchange.path,
        "client.address": exchange.client_address,
        "user_agent.original": exchange.user_agent,
        "dmrc.exchange.id": exchange.id,
        "dmrc.queue_ms": exchange.queue_ms,
        "dmrc.load_ms": exchange.load_ms,
        "dmrc.replica": exchange.replica,
        "dmrc.node": exchange.node,
        **_failure(exchange),
    }
    for name in _PARAMETERS:
        value = request.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            known[f"gen_ai.request.{name}"] = value
    yield from ((name, value) for name, value in known.items() if value is not None)


def _failure(exchange: Exchange) -> Mapping[str, _AttributeValue]:
    if exchange.client_disconnected:
        return {"error.type": "cancelled"}
    if exchange.error_type or exchange.status is None or exchange.status >= 400:
        return {"error.type": exchange.error_type or str(exchange.status or "no_answer")}
    return {}


def _document(body: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}  # cut off, or not kept
    return document if isinstance(document, dict) else {}


def _parent(exchange: Exchange) -> Context | None:
    """Return the caller's span, from its `traceparent`; one that is not sampled has no spans of ours either."""
    if exchange.trace_id is None or exchange.span_id is None:
        return None
    said = _FLAGS.fullmatch(exchange.request_headers.get("traceparent", ""))
    sampled = TraceFlags(TraceFlags.SAMPLED if said is None else int(said[1], 16))
    parent = SpanContext(int(exchange.trace_id, 16), int(exchange.span_id, 16), True, sampled)
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())
