"""Exchanges as programs that ask again, as archives, and as data sets. Pure."""

from __future__ import annotations

import json
import pprint
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from dmrc import __version__
from dmrc.capture.conversation import answered
from dmrc.capture.replacing import REDACTED
from dmrc.capture.summary import outcome, plain, to_json
from dmrc.dialects.table import OPENAI, dialect_of
from dmrc.exchange import Exchange, JsonValue
from dmrc.json_values import parse_object

_METHODS = {"chat": "chat.completions", "completion": "completions", "embedding": "embeddings"}
_PHRASES = {one.value: one.phrase for one in HTTPStatus}
# What the Python client takes as keywords of its own; it sends all else by `extra_body`.
_KEYWORDS = frozenset(
    {
        *("model", "messages", "prompt", "input", "stream", "stream_options", "temperature", "top_p", "max_tokens"),
        *("max_completion_tokens", "n", "stop", "seed", "tools", "tool_choice", "parallel_tool_calls", "user"),
        *("response_format", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "logit_bias"),
        *("reasoning_effort", "encoding_format", "dimensions"),
    }
)


@dataclass(frozen=True, slots=True)
class ExportForm:
    """One way to write exchanges."""

    text: Callable[[Sequence[Exchange], str], str]
    """Return the exchanges in this form; the gateway's URL is for requests that are to be sent again."""
    accepts: Callable[[Exchange], bool]
    """Tell whether an exchange has what this form needs."""
    needs: str
    """What that is, in a sentence."""


def is_whole(exchange: Exchange) -> bool:
    """Return whether the request is on record as it was sent."""
    body = exchange.request_body
    return not exchange.request_truncated and REDACTED.encode() not in body and b'"[media ' not in body


def _jsonl(exchanges: Sequence[Exchange], _url: str) -> str:
    return "".join(json.dumps(to_json(exchange, with_content=True)) + "\n" for exchange in exchanges)


def _curl(exchanges: Sequence[Exchange], url: str) -> str:
    parts = ["#!/bin/sh\nset -e\n"]
    for exchange in exchanges:
        body, end = exchange.request_body.decode("utf-8", "replace"), "END_OF_REQUEST"
        while end in body:
            end += "_"
        _, is_openai, route = exchange.path.partition("/v1/")
        base = f"${{OPENAI_BASE_URL:-{url}/engines/v1}}/{route}" if is_openai else f"{url}{exchange.path}"
        buffered = " --no-buffer" if exchange.stream else ""
        parts.append(
            f'\n# {_told(exchange)}\ncurl --silent --show-error{buffered} "{base}" \\\n'
            '  --header "Authorization: Bearer ${OPENAI_API_KEY:-none}" \\\n'
            '  --header "Content-Type: application/json" \\\n'
            f"  --data-binary @- <<'{end}'\n{body}\n{end}\n"
        )
    return "".join(parts)


def _python(exchanges: Sequence[Exchange], url: str) -> str:
    parts = [
        "import os\n\nfrom openai import OpenAI\n\nclient = OpenAI(\n"
        f'    base_url=os.environ.get("OPENAI_BASE_URL", "{url}/engines/v1"),\n'
        '    api_key=os.environ.get("OPENAI_API_KEY", "none"),\n)\n'
    ]
    for exchange in exchanges:
        request = parse_object(exchange.request_body)
        keywords = {name: value for name, value in request.items() if name in _KEYWORDS}
        if others := {name: value for name, value in request.items() if name not in _KEYWORDS}:
            keywords["extra_body"] = others
        arguments = "".join(
            f"    {name}={textwrap.indent(pprint.pformat(value, width=100, sort_dicts=False), '    ').lstrip()},\n"
            for name, value in keywords.items()
        )
        parts.append(f"\n# {_told(exchange)}\nanswer = client.{_METHODS[exchange.operation]}.create(\n{arguments})\n")
        if request.get("stream") is True:
            parts.append("for chunk in answer:\n    print(chunk.model_dump_json(exclude_none=True))\n")
        else:
            parts.append("print(answer.model_dump_json(indent=2, exclude_none=True))\n")
    return "".join(parts)


def _node(exchanges: Sequence[Exchange], url: str) -> str:
    parts = [
        'import OpenAI from "openai";\n\nconst client = new OpenAI({\n'
        f'  baseURL: process.env.OPENAI_BASE_URL ?? "{url}/engines/v1",\n'
        '  apiKey: process.env.OPENAI_API_KEY ?? "none",\n});\n'
    ]
    for exchange in exchanges:
        request = parse_object(exchange.request_body)
        document = textwrap.indent(json.dumps(request, indent=2), "  ").lstrip()
        parts.append(
            f"\n// {_told(exchange)}\n{{\n"
            f"  const answer = await client.{_METHODS[exchange.operation]}.create({document});\n"
        )
        if request.get("stream") is True:
            parts.append("  for await (const chunk of answer) console.log(JSON.stringify(chunk));\n}\n")
        else:
            parts.append("  console.log(JSON.stringify(answer, null, 2));\n}\n")
    return "".join(parts)


def _har(exchanges: Sequence[Exchange], url: str) -> str:
    """Return HAR 1.2. Source: http://www.softwareishard.com/blog/har-12-spec/."""
    creator: JsonValue = {"name": "dmrc", "version": __version__}
    entries: list[JsonValue] = [_har_entry(exchange, url) for exchange in exchanges]
    return json.dumps({"log": {"version": "1.2", "creator": creator, "entries": entries}}, indent=2) + "\n"


def _har_entry(exchange: Exchange, url: str) -> dict[str, JsonValue]:
    total, first = exchange.total_ms or 0.0, exchange.first_token_ms or exchange.total_ms or 0.0
    host = exchange.request_headers.get("host")
    status = exchange.status or 0
    kind = exchange.response_headers.get("content-type", "application/json")
    request: dict[str, JsonValue] = {
        **_har_message(exchange.request_headers, exchange.request_body),
        "method": exchange.method,
        "url": f"{f'http://{host}' if host else url}{exchange.path}",
        "queryString": [],
        "postData": {
            "mimeType": exchange.request_headers.get("content-type", "application/json"),
            "text": exchange.request_body.decode("utf-8", "replace"),
        },
    }
    response: dict[str, JsonValue] = {
        **_har_message(exchange.response_headers, exchange.response_body),
        "status": status,
        "statusText": _PHRASES.get(status, ""),
        "content": {
            "size": len(exchange.response_body),
            "mimeType": kind,
            "text": exchange.response_body.decode("utf-8", "replace"),
        },
        "redirectURL": "",
    }
    return {
        "startedDateTime": datetime.fromtimestamp(exchange.received_at, UTC).isoformat(timespec="milliseconds"),
        "time": total,
        "request": request,
        "response": response,
        "cache": {},
        "timings": {"send": 0, "wait": min(first, total), "receive": max(0.0, total - first)},
        "comment": _told(exchange),
    }


def _har_message(headers: Mapping[str, str], body: bytes) -> dict[str, JsonValue]:
    named: list[JsonValue] = [{"name": name, "value": value} for name, value in headers.items()]
    return {"httpVersion": "HTTP/1.1", "cookies": [], "headers": named, "headersSize": -1, "bodySize": len(body)}


def _openai_eval(exchanges: Sequence[Exchange], _url: str) -> str:
    """Return samples. Source: https://github.com/openai/evals/blob/main/docs/build-eval.md."""
    samples = (
        {"input": parse_object(exchange.request_body)["messages"], "ideal": answered(exchange)[0].text}
        for exchange in exchanges
    )
    return "".join(json.dumps(sample) + "\n" for sample in samples)


def _told(exchange: Exchange) -> str:
    """Return a comment: when, who, and how it ended; of a request that was not sent yet only the former."""
    when = datetime.fromtimestamp(exchange.received_at).strftime("%Y-%m-%d %H:%M:%S")
    who = "/".join(name for name in (exchange.project, exchange.service) if name) or exchange.client_address or "-"
    if exchange.status is None and not exchange.response_body and exchange.total_ms is None:
        return f"{when}, {plain(who, 80)}"
    replica = ", ".join(plain(name, 80) for name in dict.fromkeys((exchange.replica, exchange.node)) if name)
    place = f", replica {replica}" if replica else ""
    return f"{when}, {plain(who, 80)}, status {exchange.status}{place}, {exchange.id}"


def _is_json(exchange: Exchange) -> bool:
    return not exchange.request_truncated and bool(parse_object(exchange.request_body))


def _is_of_a_client(exchange: Exchange) -> bool:
    is_openai = dialect_of(exchange.dialect, exchange.operation) is OPENAI
    return is_openai and exchange.operation in _METHODS and _is_json(exchange)


def _is_sample(exchange: Exchange) -> bool:
    done = exchange.operation == "chat" and outcome(exchange) == "done" and _is_json(exchange)
    return done and "messages" in parse_object(exchange.request_body) and bool(answered(exchange))


_BODY = "It needs the whole body of the request: capture is full, and the body is JSON of at most 1 MiB."

FORMS: Mapping[str, ExportForm] = {
    "jsonl": ExportForm(_jsonl, lambda _: True, "It needs nothing."),
    "curl": ExportForm(_curl, _is_json, _BODY),
    "python": ExportForm(
        _python, _is_of_a_client, f"{_BODY} It is for chat, completions and embeddings of OpenAI's routes."
    ),
    "node": ExportForm(
        _node, _is_of_a_client, f"{_BODY} It is for chat, completions and embeddings of OpenAI's routes."
    ),
    "har": ExportForm(_har, lambda _: True, "It needs nothing."),
    "openai-eval": ExportForm(
        _openai_eval, _is_sample, "It needs chats that were answered, with their bodies on record."
    ),
}
"""The forms by name."""
