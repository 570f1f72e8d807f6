"""Bodies of the routes that manage: what is accepted, and in which words the rest is refused. Without a daemon."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from pydantic import BaseModel, TypeAdapter
from starlette.types import Message, Receive, Scope, Send

from dmrc.errors import DmrcError, PermissionDeniedError
from dmrc.gateway.routes.dmr_documents import Backend, Create, DmrConfigure, DmrUnload, Repackage
from dmrc.gateway.routes.error_documents import OpenAIError
from dmrc.gateway.routes.ollama_documents import Copy, OllamaModelName, Pull
from dmrc.gateway.server.app import _on_error
from dmrc.gateway.server.typed_routes import QueryFlag, include, route_class, typed_router
from tests.gateway.openapi import values_of

BODIES: list[type[BaseModel]] = [Backend, DmrConfigure, Create, Repackage, DmrUnload, Copy, OllamaModelName, Pull]


def application(admit: Any = None, bad_body: int = 422) -> FastAPI:
    async def configure(body: DmrConfigure) -> dict[str, object]:
        return body.model_dump(by_alias=True, exclude_unset=True)

    async def count(most: int, deep: QueryFlag = False) -> dict[str, object]:
        return {"most": most, "deep": deep}

    app = FastAPI()
    router = typed_router(route_class(admit, bad_body=bad_body), "test", OpenAIError)
    router.post("/engines/_configure", response_model=dict[str, Any])(configure)
    router.post("/api/configure", response_model=dict[str, Any])(configure)
    router.get("/count", response_model=dict[str, Any])(count)
    include(app, router)
    app.add_exception_handler(DmrcError, _on_error)
    return app


def ask(app: Any, method: str, path: str, body: str | None = None, **headers: str) -> httpx.Response:
    async def play() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.request(method, path, content=body, headers=headers)

    return asyncio.run(play())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": None}, "'model' is missing from the body. Send {\"model\": \"ai/smollm2\"}"),
        ({"model": " "}, "'model' must be a string that is not empty. Send {\"model\": \"ai/smollm2\"}"),
        ({"mode": "x"}, "'mode' must be one of \"completion\", \"embedding\", \"reranking\""),
        ({"context-size": "4096"}, "'context-size' must be a whole number"),
        ({"context-size": True}, "'context-size' must be a whole number"),
        ({"runtime-flags": "--x"}, "'runtime-flags' must be a list of strings"),
        ({"runtime-flags": ["--x", 5]}, "'runtime-flags[1]' must be a string"),
        ({"raw-runtime-flags": "--x '"}, "'raw-runtime-flags' cannot be split into flags: No closing quotation"),
        ({"keep_alive": []}, "'keep_alive' must be a whole number or a number or a string"),
        ({"llamacpp": []}, "'llamacpp' must be an object"),
        ({"llamacpp": {"reasoning-budget": -2}}, "'llamacpp.reasoning-budget' must be a whole number of at least -1"),
        ({"speculative": {"num_tokens": -1}}, "'speculative.num_tokens' must be a whole number of at least 0"),
        (
            {"speculative": {"min_acceptance_rate": 2}},
            "'speculative.min_acceptance_rate' must be a number from 0 to 1",
        ),
        ({"vllm": {"gpu-memory-utilization": 2}}, "'gpu-memory-utilization' must be a number above 0 and up to 1, "
                                                  "not 2.0. Write 0.8"),
        ({"vllm": {"hf-overrides": {"a": {"b c": 1}}}}, "'hf-overrides'.a has the name 'b c'. "
                                                        "Names have letters, digits and _ only"),
        ({"mode": 1, "llamacpp": 5}, "'mode' must be one of \"completion\", \"embedding\", \"reranking\"; "
                                     "'llamacpp' must be an object"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_field_is_told_by_its_name(fields: dict[str, object], message: str) -> None:
    answer = ask(application(), "POST", "/engines/_configure", json.dumps({"model": "ai/x", **fields}))

    error = {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_request_error"}
    assert (answer.status_code, answer.json()) == (422, {"error": error})


def test_a_duration_that_is_none_is_refused_by_its_name() -> None:
    answer = ask(application(), "POST", "/engines/_configure", json.dumps({"model": "x", "keep_alive": "soon"}))

    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith("'keep_alive' ")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "the request body is not JSON: "),
        ("", "the request body is not JSON: "),
        ('{"model": "\\ud800"}', "the request body is not JSON: "),
        ("[]", "the request body must be a JSON object"),
        ("null", "the request body must be a JSON object"),
    ],
)
def test_what_is_no_body_has_the_same_status(body: str, message: str) -> None:
    answer = ask(application(), "POST", "/engines/_configure", body)

    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith(message)


def test_the_words_are_those_of_the_callers_api() -> None:
    answer = ask(application(bad_body=400), "POST", "/api/configure", "{}")

    assert (answer.status_code, answer.json()) == (
        400,
        {"error": '\'model\' is missing from the body. Send {"model": "ai/smollm2"}'},
    )


def test_a_bad_address_is_400_as_ever() -> None:
    app = application()

    missing, wrong = ask(app, "GET", "/count"), ask(app, "GET", "/count?most=x")

    assert (missing.status_code, missing.json()["error"]["message"]) == (400, "'most' is missing from the query")
    assert (wrong.status_code, wrong.json()["error"]["message"]) == (400, "'most' must be a whole number")
    words = {word: ask(app, "GET", f"/count?most=1&deep={word}").json()["deep"] for word in ("1", "T", "true", "x", "")}
    assert words == {"1": True, "T": True, "true": True, "x": False, "": False}


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_is_read_whatever_its_content_type_says(kind: str) -> None:
    headers = {"content-type": kind} if kind else {}

    answer = ask(application(), "POST", "/engines/_configure", '{"model": "ai/x", "more": 1}', **headers)

    assert (answer.status_code, answer.json()) == (200, {"model": "ai/x"})


def test_who_may_not_ask_is_refused_before_the_body_is_read() -> None:
    def admit(_scope: Scope) -> None:
        raise PermissionDeniedError("no")

    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/engines/_configure", "query_string": b"", "headers": []}
    asyncio.run(_called(application(admit), scope, receive, send))

    assert sent[0]["status"] == 403


async def _called(app: FastAPI, scope: Scope, receive: Receive, send: Send) -> None:
    await app({**scope, "root_path": "", "http_version": "1.1"}, receive, send)


def test_a_body_that_is_too_long_is_413() -> None:
    answer = ask(application(), "POST", "/engines/_configure", json.dumps({"model": "x" * (1 << 20)}))

    assert answer.status_code == 413


@pytest.mark.parametrize("model", BODIES, ids=lambda model: model.__name__)
def test_what_the_schema_of_a_body_allows_is_read_and_comes_back(model: type[BaseModel]) -> None:
    schema = TypeAdapter(model).json_schema()
    for name in ("vllm", "keep_alive", "raw-runtime-flags"):  # refused, and words of a language of their own
        schema["properties"].pop(name, None)

    @settings(deadline=None, suppress_health_check=list(HealthCheck))  # the machine may be busy
    @given(document=values_of(schema, schema.get("$defs", {})))
    def check_one(document: dict[str, Any]) -> None:
        read = model.model_validate(document)

        assert read.model_dump(by_alias=True, exclude_unset=True) == _without_null(document)
        assert model.model_validate(read.model_dump(by_alias=True)) == model.model_validate(_without_null(document))

    check_one()


def _without_null(value: Any) -> Any:
    """Programs in Go write null for what is not set."""
    if isinstance(value, dict):
        return {name: _without_null(inner) for name, inner in value.items() if inner is not None}
    return value
