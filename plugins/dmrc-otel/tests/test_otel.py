"""The plugin against a receiver that reads OTLP as a collector does."""

from __future__ import annotations

import dataclasses
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from dmrc import Exchange
from dmrc.hooks.plugins import Plugins
from dmrc.project import LocalPlugin
from tests.dmrc_command import Dmrc
from tests.gateway.plugged import MODEL, Shop
from tests.polling import eventually
from tests.tiny_gguf import write_tiny_llama

FILE = Path(__file__).parent.parent / "dmrc_otel.py"
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
EXCHANGE = Exchange(
    id="0199",
    trace_id=TRACE_ID,
    span_id=SPAN_ID,
    project="shop",
    service="web",
    method="POST",
    path="/v1/chat/completions",
    operation="chat",
    model_requested="llm",
    model_reference="docker.io/ai/smollm2:latest",
    engine="llama.cpp",
    received_at=1_700_000_000.25,
    first_token_ms=20.0,
    total_ms=500.0,
    status=200,
    finish_reason="stop",
    prompt_tokens=40,
    completion_tokens=20,
    request_body=b'{"temperature": 0.5, "messages": [{"content": "a secret of mine"}]}',
)


class Receiver(http.server.ThreadingHTTPServer):
    """A collector: OTLP over HTTP, in protobuf."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.traces: list[ExportTraceServiceRequest] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.bytes = b""

    @property
    def spans(self) -> dict[str, list[Span]]:
        """What came, by the name of the service."""
        found: dict[str, list[Span]] = {}
        for resource in (one for request in self.traces for one in request.resource_spans):
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            found.setdefault(names["service.name"], []).extend(s for scope in resource.scope_spans for s in scope.spans)
        return found

    def requests(self, service: str) -> list[Span]:
        """Return the spans of a service's requests, without those of their parts."""
        return [span for span in self.spans.get(service, ()) if span.kind == Span.SPAN_KIND_SERVER]

    @property
    def metric_names(self) -> set[str]:
        """What metrics came."""
        resources = [one for request in self.metrics for one in request.resource_metrics]
        return {metric.name for one in resources for scope in one.scope_metrics for metric in scope.metrics}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.bytes += body
        if self.path == "/v1/traces":
            self.server.traces.append(ExportTraceServiceRequest.FromString(body))
        else:
            self.server.metrics.append(ExportMetricsServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        yield server
        server.shutdown()


def send(*exchanges: Exchange) -> None:
    plugins = Plugins()
    assert plugins.load_local("shop", LocalPlugin.of(FILE)).state == "loaded"
    (completed,) = plugins.implementations("dmrc_exchange_completed", ("shop",))
    for exchange in exchanges:
        completed({"exchange": exchange})
    for telemetry in completed.function.__globals__["_telemetry"].values():
        telemetry.close()


def values(span: Span) -> dict[str, object]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_a_request_is_a_server_span_in_the_trace_of_its_caller(receiver: Receiver) -> None:
    send(EXCHANGE)

    (span,) = receiver.requests("web")
    assert span.name == "chat docker.io/ai/smollm2:latest"
    assert span.kind == Span.SPAN_KIND_SERVER
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert span.end_time_unix_nano - span.start_time_unix_nano == 500_000_000
    assert [event.name for event in span.events] == ["gen_ai.first_token"]
    found = values(span)
    assert found["gen_ai.usage.input_tokens"] == 40
    assert found["gen_ai.request.temperature"] == 0.5
    assert found["gen_ai.provider.name"] == "llama.cpp"
    assert not {"error.type", "dmrc.replica", "dmrc.node"} & found.keys()
    assert receiver.metric_names == {
        "gen_ai.server.request.duration",
        "gen_ai.server.time_per_output_token",
        "gen_ai.server.time_to_first_token",
    }


def test_the_span_of_a_model_with_replicas_names_the_one_that_answered(receiver: Receiver) -> None:
    send(dataclasses.replace(EXCHANGE, replica="llm-2", node="node-b"))

    (span,) = receiver.requests("web")
    assert (values(span)["dmrc.replica"], values(span)["dmrc.node"]) == ("llm-2", "node-b")


def test_a_trace_that_its_caller_does_not_sample_has_no_span_of_ours(receiver: Receiver) -> None:
    def of(flags: str) -> Exchange:
        return dataclasses.replace(EXCHANGE, request_headers={"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-{flags}"})

    send(of("00"), of("zz"), of("01"), of("03"))

    assert [span.trace_id.hex() for span in receiver.requests("web")] == [TRACE_ID] * 3


def test_in_a_daemon_a_request_of_a_service_is_a_span_below_that_of_its_caller(
    receiver: Receiver, dmrc: Dmrc, tmp_path: Path
) -> None:
    import openai

    endpoint = f"http://127.0.0.1:{receiver.server_port}"
    dmrc.environment |= {
        "DMRC_PLUGINS": str(FILE),
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    dmrc.ok("package", "--gguf", write_tiny_llama(tmp_path / "tiny.gguf"), MODEL)
    shop = Shop(dmrc, tmp_path / "shop")
    shop.up()

    client = openai.OpenAI(base_url=f"http://127.0.0.1:{dmrc.port}/engines/v1", api_key=shop.key)
    client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "hi"}],
        max_tokens=2,
        extra_headers={"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"},
    )

    (span,) = eventually(lambda: receiver.requests("web"), "a span")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert values(span)["gen_ai.usage.output_tokens"] == 2


def turn(number: int, messages: list[dict[str, object]], answer: dict[str, object], **changes: object) -> Exchange:
    """Return the request of a second of a conversation that nobody names."""
    document = {"choices": [{"index": 0, "message": {"role": "assistant", **answer}}]}
    values = {
        "id": f"01990000-0000-7000-8000-{number:012x}",
        "received_at": 1_700_000_000.0 + number,
        "trace_id": None,
        "span_id": None,
        "request_body": json.dumps({"messages": messages}).encode(),
        "response_body": json.dumps(document).encode(),
        "response_headers": {"content-type": "application/json"},
    }
    return dataclasses.replace(EXCHANGE, **(values | changes))


ASKED = {"role": "user", "content": "Weather in Bern?"}
CALLED = {
    "content": None,
    "tool_calls": [
        {"id": "call_9aB3kd82LmQ", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
    ],
}
RESULT = {"role": "tool", "tool_call_id": "call_9aB3kd82LmQ", "content": "sunny"}


def test_requests_of_a_conversation_are_one_trace_with_the_tools_between(receiver: Receiver) -> None:
    first = turn(0, [ASKED], CALLED)
    second = turn(3, [ASKED, {"role": "assistant", **CALLED}, RESULT], {"content": "It is sunny."})
    other = turn(4, [{"role": "user", "content": "Something else"}], {"content": "Yes."})

    send(first, second, other)

    one, two, three = receiver.requests("web")
    assert two.trace_id == one.trace_id != three.trace_id
    assert (one.parent_span_id, two.parent_span_id, three.parent_span_id) == (b"", one.span_id, b"")
    assert [values(span)["gen_ai.conversation.id"] for span in (one, two, three)] == [first.id, first.id, other.id]
    (tool,) = (span for span in receiver.spans["web"] if span.name == "execute_tool weather")
    assert (tool.trace_id, tool.parent_span_id) == (one.trace_id, one.span_id)
    assert (tool.start_time_unix_nano, tool.end_time_unix_nano) == (one.end_time_unix_nano, two.start_time_unix_nano)
    assert values(tool)["gen_ai.tool.call.id"] == "call_9aB3kd82LmQ"
    assert b"Bern" not in receiver.bytes and b"sunny" not in receiver.bytes


def test_a_caller_that_has_a_trace_keeps_it_and_its_conversation_is_linked(receiver: Receiver) -> None:
    said = {"content": "It is sunny, and will be so for the rest of the week."}
    asked = [ASKED, {"role": "assistant", **said}, {"role": "user", "content": "And in Rome?"}]

    send(turn(0, [ASKED], said), turn(1, asked, {"content": "Rain."}, trace_id=TRACE_ID, span_id=SPAN_ID))

    one, two = receiver.requests("web")
    assert (two.trace_id.hex(), two.parent_span_id.hex()) == (TRACE_ID, SPAN_ID) and one.trace_id != two.trace_id
    assert [(link.trace_id, link.span_id) for link in two.links] == [(one.trace_id, one.span_id)]
    assert values(one)["gen_ai.conversation.id"] == values(two)["gen_ai.conversation.id"]


def test_a_session_that_its_caller_names_is_the_conversation(receiver: Receiver) -> None:
    send(*(turn(number, [ASKED], {"content": "Yes."}, session_id="s-1") for number in range(2)))

    one, two = receiver.requests("web")
    assert one.trace_id == two.trace_id
    assert {values(span)["gen_ai.conversation.id"] for span in (one, two)} == {"s-1"}


@pytest.mark.parametrize(
    ("times", "parts"),
    [
        ({"load_ms": 100.0, "queue_ms": 0.2, "first_token_ms": 220.0}, {"load": 100, "prefill": 120, "decode": 280}),
        ({"load_ms": 0.1, "queue_ms": 30.0, "first_token_ms": 50.0}, {"queue": 30, "prefill": 20, "decode": 450}),
        ({"first_token_ms": None}, {}),
    ],
)
def test_the_parts_of_the_time_are_spans_below_the_request(
    receiver: Receiver, times: dict[str, float | None], parts: dict[str, int]
) -> None:
    send(dataclasses.replace(EXCHANGE, **times))

    (span,) = receiver.requests("web")
    found = [one for one in receiver.spans["web"] if one.parent_span_id == span.span_id]
    lengths = {one.name: (one.end_time_unix_nano - one.start_time_unix_nano) / 1e6 for one in found}
    assert lengths == pytest.approx(parts)
    if found:
        assert found[0].start_time_unix_nano == span.start_time_unix_nano
        assert found[-1].end_time_unix_nano == span.end_time_unix_nano


def test_no_word_of_a_prompt_is_sent(receiver: Receiver) -> None:
    send(EXCHANGE)

    assert b"docker.io/ai/smollm2" in receiver.bytes
    assert b"a secret of mine" not in receiver.bytes


def test_a_failure_is_an_error_of_its_own_service(receiver: Receiver) -> None:
    fields = {"id": "1", "method": "POST", "path": "/v1/x", "received_at": 1.0, "total_ms": 2.0}
    refused = Exchange(**fields, operation="chat", service="other", status=429, error_type="rate_limit_error")
    gone = Exchange(**fields, operation="embedding", service="other", status=200, client_disconnected=True)

    send(refused, gone)

    spans = receiver.requests("other")
    assert [values(span)["error.type"] for span in spans] == ["rate_limit_error", "cancelled"]
    assert {span.status.code for span in spans} == {Status.STATUS_CODE_ERROR}
    assert [span.name for span in spans] == ["chat", "embeddings"]
    assert all(not span.parent_span_id for span in spans)
