"""What a browser needs to let a page read the gateway's answers, and what it must not get."""

import http.client
import json

import pytest

from dmrc.errors import SettingError
from dmrc.gateway.server.cors import Origins
from dmrc.settings import Settings
from tests.gateway.conftest import MODEL, Gateway


def ask(gateway: Gateway, method: str, path: str, body: object = None, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.dmrc.port, timeout=60)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, json.dumps(body) if body else None, sent)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443"])
def test_pages_on_loopback_may_call_from_any_port(origin: str) -> None:
    assert Origins([]).allow(origin)


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://localhost.evil.example", "http://[", "x"])
def test_others_may_not(origin: str) -> None:
    assert not Origins(["https://app.example"]).allow(origin)


def test_every_origin_may_call_only_where_a_key_is_required() -> None:
    with pytest.raises(SettingError, match="DMRC_ORIGINS is '\\*'"):
        Settings.from_environment({"DMRC_ORIGINS": "*"})

    origins = Settings.from_environment({"DMRC_ORIGINS": "*", "DMRC_REQUIRE_KEY": "1"}).origins

    assert Origins(origins).allow("https://anything.example")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/engines/v1/models", "/"])
def test_a_preflight_is_answered_on_every_route(gateway: Gateway, path: str) -> None:
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization,content-type"}

    response = ask(gateway, "OPTIONS", path, Origin="http://localhost:3000", **asked)

    assert response.status == 204
    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert response.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-credentials"] is None


@pytest.mark.parametrize("stream", [False, True])
def test_a_page_on_loopback_may_read_the_answer(gateway: Gateway, stream: bool) -> None:
    body = {"model": MODEL, "max_tokens": 2, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}

    response = ask(gateway, "POST", "/v1/chat/completions", body, Origin="http://localhost:3000")

    assert response.status == 200
    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "x-dmrc-exchange-id" in response.headers["access-control-expose-headers"]
    assert response.headers["vary"] == "Origin"


def test_a_page_may_read_an_error_too(gateway: Gateway) -> None:
    response = ask(gateway, "POST", "/v1/chat/completions", {"model": "ai/none"}, Origin="http://localhost:3000")

    assert response.status == 404
    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "GET"])
def test_a_foreign_page_gets_nothing(gateway: Gateway, method: str) -> None:
    asked = {"Access_Control_Request_Method": "POST"} if method == "OPTIONS" else {}

    response = ask(gateway, method, "/v1/models", Origin="https://evil.example", **asked)

    assert response.headers["access-control-allow-origin"] is None
    assert response.status in (403, 405)


def test_without_an_origin_nothing_is_added(gateway: Gateway) -> None:
    response = ask(gateway, "GET", "/v1/models")

    assert response.status == 200
    assert response.headers["access-control-allow-origin"] is None
