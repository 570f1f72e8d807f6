"""Records for the page to show: errors, tools, pictures, long prompts, right-to-left text, and all else that happens.

`plant(home, 2000)` writes them before a daemon starts. The same amount is always the same record, but for its times,
which end now: half of it lies in the last hour.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from dmrc.capture.database import ExchangeDatabase
from dmrc.exchange import FAULT, REPLAYED, Exchange, JsonValue, id_at
from dmrc.settings import Settings

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> \x1b[31mred\x1b[0m"
RIGHT_TO_LEFT = "اكتب لي ملخصًا قصيرًا عن تاريخ القاهرة، من فضلك. שלום, וגם בעברית."
PICTURE_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
WORDS = (
    "Summarise the release notes for customers|Which orders of last week were returned, and why?|Translate the label"
    " into French|Write a commit message for this diff|Is this review positive or negative?|Plan three days in Lisbon"
    "|Extract the invoice number and the total|Explain this stack trace|Name five books like this one"
)
ANSWER = "Here is what I found. The figures are from last week, and two of them are estimates. "
_CHAT, _RECORDED_BATCH = "/engines/v1/chat/completions", 500
_SERVICES = (
    ("shop", "web", "ai/smollm2:135M-Q4_K_M", "chat"),
    ("shop", "search", "ai/smollm2:135M-Q4_K_M", "chat"),
    ("shop", "mails", "ai/gemma3-qat:27B-Q4_K_M", "writer"),
    ("museum", "guide", "ai/qwen3:8B-Q4_K_M", "guide"),
    ("museum", "labels", "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M", "labels"),
    ("key:notebook", "notebook", "ai/smollm2:135M-Q4_K_M", None),
)
_TOOL: JsonValue = {
    "type": "function",
    "function": {
        "name": "find_orders",
        "description": "Find orders by their week.",
        "parameters": {"type": "object", "properties": {"week": {"type": "integer"}}, "required": ["week"]},
    },
}

_TOOLS_AT = (1, 15)  # of 17 kinds
Maker = Callable[[Exchange, random.Random, int], Exchange]


def plant(home: Path, amount: int, until: float | None = None) -> list[str]:
    """Write `amount` exchanges into the record of a dmrc that does not run, and return their ids, the oldest first."""
    made = exchanges(amount, time.time() if until is None else until)
    home.mkdir(parents=True, exist_ok=True)
    database = ExchangeDatabase(Settings.from_environment({"DMRC_HOME": str(home)}).paths.exchanges)
    for at in range(0, len(made), _RECORDED_BATCH):
        database.insert_many(made[at : at + _RECORDED_BATCH])
    database.close()
    return [one.id for one in made]


def exchanges(amount: int, until: float) -> list[Exchange]:
    """Return exchanges of several projects, of all kinds, the oldest first; each kind is among the first of them."""
    rng = random.Random(22)
    made: list[Exchange] = []
    for number in range(amount):
        age = _age(number, amount, rng)
        made.append(_of_kind(number, until - age, rng))
    return _joined(sorted(made, key=lambda one: one.id))


def _age(number: int, amount: int, rng: random.Random) -> float:
    """Return the seconds since an exchange: half of them are of the last hour, the others of a day.

    Those of one session follow one another.
    """
    if number % 17 in _TOOLS_AT:
        session = number // 34
        return 3500 * (session % 61 + 1) / 61 * (1 if session % 2 else 24) - number % 34 * 0.6 + 45
    return rng.uniform(20, 3600) if amount < 10 or rng.random() < 0.5 else rng.uniform(3600, 86_000)


def _of_kind(number: int, at: float, rng: random.Random) -> Exchange:
    project, service, model, key = _SERVICES[number % len(_SERVICES)]
    id = f"{id_at(at)}-7{rng.randrange(16**3):03x}-8{rng.randrange(16**3):03x}-{rng.randrange(16**12):012x}"
    words = WORDS.split("|")[number % 9] + ("" if number < 9 else f" ({number})")
    plain = Exchange(
        id=id, project=project, service=service, model_requested=model, model_key=key, conversation_id=id,
        model_reference=f"docker.io/{model}" if model.startswith("ai/") else model, model_digest="sha256:" + "c4" * 32,
        method="POST", path=_CHAT, operation="chat", received_at=at, status=200, client_address="127.0.0.1",
        key_id="4f9a8b7c6d5e", user_agent="OpenAI/Python 2.8.1", engine="llama.cpp", context_tokens=4096,
        request_headers={"content-type": "application/json", "authorization": "[masked]"},
        response_headers={"content-type": "application/json"},
        request_body=_asked(model, [{"role": "user", "content": words}], temperature=0.2, max_tokens=400),
    )  # fmt: skip
    kinds: tuple[Maker, ...] = (_streamed, _with_tool, _failed, _with_picture, _right_to_left, *_OFTEN)
    return kinds[number % len(kinds)](plain, rng, number)


def _asked(model: str, messages: list[JsonValue], **more: JsonValue) -> bytes:
    return json.dumps({"model": model, "messages": messages, **more}).encode()


def _said(one: Exchange, rng: random.Random, text: str, tool: JsonValue = None) -> Exchange:
    """Return it answered as a whole, with the times that an engine tells."""
    prompt, made = rng.randint(40, 1900), rng.randint(8, 400)
    queue = rng.choice((0.0, 0.0, rng.expovariate(1 / 300)))
    load = rng.choice((0.0, 0.0, 0.0, 0.0, rng.uniform(600, 4000)))
    first = load + queue + prompt * rng.uniform(0.1, 0.4)
    rate = rng.uniform(60, 140)
    message: JsonValue = {"role": "assistant", "content": text} if tool is None else tool
    reason = "stop" if tool is None else "tool_calls"
    body = {"id": "chatcmpl-1", "choices": [{"index": 0, "message": message, "finish_reason": reason}]}
    return replace(
        one, response_body=json.dumps(body).encode(), prompt_tokens=prompt, completion_tokens=made, load_ms=load,
        cached_tokens=int(prompt * rng.choice((0, 0.2, 0.9))), queue_ms=queue, first_token_ms=first,
        finish_reason=reason, total_ms=first + made / rate * 1000, prompt_tokens_per_second=rng.uniform(2000, 6000),
        completion_tokens_per_second=rate,
    )  # fmt: skip


def _streamed(one: Exchange, rng: random.Random, number: int) -> Exchange:
    answered = _said(one, rng, "")
    words = (ANSWER * (1 + number % 3)).split(" ")
    first, total = answered.first_token_ms or 0, answered.total_ms or 0
    body, offsets = b"", []
    for at, word in enumerate(words):
        offsets.append((round(first + (total - first) * at / len(words), 1), len(body)))
        body += b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": f"{word} "}}]}).encode() + b"\n\n"
    headers = {"content-type": "text/event-stream"}
    body += b"data: [DONE]\n\n"
    return replace(answered, stream=True, response_body=body, chunk_offsets=tuple(offsets), response_headers=headers)


def _with_tool(one: Exchange, rng: random.Random, number: int) -> Exchange:
    call: JsonValue = {
        "id": f"call_{number // 17}", "type": "function",
        "function": {"name": "find_orders", "arguments": json.dumps({"week": number // 17 % 52})},
    }  # fmt: skip
    calls: JsonValue = {"role": "assistant", "content": None, "tool_calls": [call]}
    asked: list[JsonValue] = [
        {"role": "system", "content": "You answer questions about orders."},
        {"role": "user", "content": WORDS.split("|")[1]},
    ]
    found = '{"orders": [{"id": 7731}]}'
    result: JsonValue = {"role": "tool", "tool_call_id": f"call_{number // 17}", "content": found}
    trace = f"{number // 34 + 1:032x}"
    project, service, model, key = _SERVICES[0 if number % 17 == 1 else 1]
    one = replace(
        one,
        project=project,
        service=service,
        model_requested=model,
        model_reference=f"docker.io/{model}",
        model_key=key,
    )
    if number % 17 == 1:
        one = replace(one, request_body=_asked(str(one.model_requested), asked, tools=[_TOOL], tool_choice="auto"))
        return replace(_said(one, rng, "", calls), trace_id=trace, session_id=f"order-{number // 34}")
    one = replace(one, request_body=_asked(str(one.model_requested), [*asked, calls, result], tools=[_TOOL]))
    return replace(_said(one, rng, ANSWER), trace_id=trace, session_id=f"order-{number // 34}")


def _failed(one: Exchange, rng: random.Random, number: int) -> Exchange:
    status, kind, text = (
        (400, "exceed_context_size_error", "request (9031 tokens) exceeds the context of model chat (4096 tokens)"),
        (404, "not_found_error", "model 'ai/gemma4' is not in the store. Run: dmrc pull ai/gemma4"),
        (429, "overloaded_error", "the queue of model chat is full (64 requests wait). Try again in a moment"),
        (503, "server_error", "model writer cannot be loaded: it needs 17.4 GB, and 9.1 GB are free"),
        (500, "server_error", "the runner of model guide ended with signal 9 while it answered"),
    )[number // 17 % 5]
    body = json.dumps({"error": {"message": text, "type": kind}}).encode()
    return replace(
        one, status=status, error_type=kind, error_message=text, response_body=body, total_ms=rng.uniform(0.4, 900)
    )


def _with_picture(one: Exchange, rng: random.Random, number: int) -> Exchange:
    marker = f"[media image/png, 45123 bytes, sha256:{PICTURE_HASH}]"
    parts: list[JsonValue] = [
        {"type": "text", "text": "What is in this picture?"},
        {"type": "image_url", "image_url": {"url": marker}},
    ]
    body = _asked(str(one.model_requested), [{"role": "user", "content": parts}], max_tokens=200)
    noted: dict[str, JsonValue] = {PICTURE_HASH: {"width": 640, "height": 480}}
    return replace(_said(one, rng, "A red bicycle in front of a shop."), request_body=body, request_media=noted)


def _right_to_left(one: Exchange, rng: random.Random, number: int) -> Exchange:
    body = _asked(str(one.model_requested), [{"role": "user", "content": RIGHT_TO_LEFT}])
    return replace(_said(one, rng, RIGHT_TO_LEFT[::-1]), request_body=body)


def _long(one: Exchange, rng: random.Random, number: int) -> Exchange:
    text = "\n".join(f"Section {line}. The parties agree on what the annex says of deliveries." for line in range(240))
    messages: list[JsonValue] = [{"role": "system", "content": text}, {"role": "user", "content": "Who pays?"}]
    return replace(_said(one, rng, ANSWER * 8), request_body=_asked(str(one.model_requested), messages))


def _upstream(one: Exchange, rng: random.Random, number: int) -> Exchange:
    """A server elsewhere that tells no times and no tokens."""
    answered = _said(one, rng, ANSWER)
    return replace(
        answered, engine="upstream", model_digest=None, load_ms=None, queue_ms=None, first_token_ms=None,
        prompt_tokens_per_second=None, completion_tokens_per_second=None, cached_tokens=None, context_tokens=None,
        prompt_tokens=None, completion_tokens=None, model_requested="gpt-oss:120b", model_reference="gpt-oss:120b",
    )  # fmt: skip


def _cancelled(one: Exchange, rng: random.Random, number: int) -> Exchange:
    streamed = _streamed(one, rng, number)
    half = streamed.chunk_offsets[len(streamed.chunk_offsets) // 2]
    body = streamed.response_body[: half[1]]
    offsets = tuple(at for at in streamed.chunk_offsets if at[1] < half[1])
    return replace(
        streamed, client_disconnected=True, finish_reason=None, response_body=body, chunk_offsets=offsets,
        total_ms=half[0], completion_tokens=len(offsets),
    )  # fmt: skip


def _fault(one: Exchange, rng: random.Random, number: int) -> Exchange:
    failed = _failed(one, rng, 34)
    return replace(failed, annotations={FAULT: "rate_limit"})


def _replayed(one: Exchange, rng: random.Random, number: int) -> Exchange:
    answered = _said(one, rng, ANSWER)
    return replace(answered, engine="recorded", annotations={REPLAYED: f"api.jsonl:{number % 90 + 1}"})


def _embedding(one: Exchange, rng: random.Random, number: int) -> Exchange:
    body = json.dumps({"model": one.model_requested, "input": ["red bicycle", "blue kettle"]}).encode()
    return replace(
        _said(one, rng, ""), path="/engines/v1/embeddings", operation="embedding", request_body=body,
        completion_tokens=0, completion_tokens_per_second=None, finish_reason=None,
        response_body=json.dumps({"data": [{"index": 0, "embedding": [0.1, -0.2]}]}).encode(),
    )  # fmt: skip


def _hostile(one: Exchange, rng: random.Random, number: int) -> Exchange:
    body = _asked(str(one.model_requested), [{"role": "user", "content": HOSTILE}])
    return replace(_said(one, rng, HOSTILE), request_body=body, user_agent=HOSTILE)


_OFTEN: tuple[Maker, ...] = (
    *(_long, _upstream, _cancelled, _fault, _replayed, _embedding, _hostile),
    *(_streamed, _streamed, _streamed, _with_tool, _streamed),
)


def _joined(made: Iterable[Exchange]) -> list[Exchange]:
    """Return them with those of one session in one conversation, that of its first."""
    first: dict[str, str] = {}
    joined = []
    for one in made:
        if one.session_id is not None:
            one = replace(one, conversation_id=first.setdefault(one.session_id, one.id))
        joined.append(one)
    return joined
