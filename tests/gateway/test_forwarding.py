"""Which headers an engine and an upstream get of those that a caller sends."""

from __future__ import annotations

import http.client
import json

import pytest

from dmrc.gateway.inference.engine_headers import of_plugins
from tests.gateway.conftest import MODEL, Gateway
from tests.gateway.test_upstream import Project, project  # noqa: F401 the fixture

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}
OLLAMAS = {**CHAT, "options": {"num_predict": 4}}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def post(port: int, body: object, headers: dict[str, str], path: str = "/v1/chat/completions") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


@pytest.mark.parametrize(
    "headers",
    [
        {"x-tenant": "a" * 9000},
        {"x-request-id": "a" * 9000},
        {"user-agent": "a" * 9000},
        {f"x-header-{number}": "a" for number in range(110)},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "text/plain; charset=utf-16"},
        {"content-type": "", "accept": "application/xml", "accept-charset": "nonsense", "range": "bytes=5-"},
        {"expect": "200-maybe", "if-none-match": "*", "accept-encoding": "br"},
    ],
    ids=lambda headers: f"{len(headers)} {next(iter(headers))}",
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/anthropic/v1/messages", "/api/chat"])
def test_no_header_of_a_caller_breaks_the_request(gateway: Gateway, headers: dict[str, str], path: str) -> None:
    status, body = post(
        gateway.dmrc.port, {**(OLLAMAS if path.startswith("/api/") else CHAT), "stream": False}, headers, path
    )

    assert status == 200, body


def test_an_upstream_gets_what_belongs_to_a_trace_and_no_credential(project: Project) -> None:  # noqa: F811
    key = project.up().api_key
    secrets = ("api-key", "x-goog-api-key", "x-api-key", "cookie", "x-auth-token", "private-token", "x-litellm-api-key")
    asked = dict.fromkeys(secrets, "planted") | {"authorization": f"Bearer {key}", "proxy-authorization": "planted"}
    known = {"traceparent": TRACE, "x-request-id": "r-1", "user-agent": "shop/1"}

    status, body = post(project.dmrc.port, {**CHAT, "model": "plain-model"}, {**asked, **known})

    assert status == 200, body
    _, headers, _ = project.server.requests[-1]
    assert headers["content-type"] == "application/json"
    assert {name: headers[name] for name in known} == known
    assert "planted" not in json.dumps(headers)
    assert key not in json.dumps(headers)


def test_a_plugin_adds_no_credential() -> None:
    keys = ("Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "api-key", "x-goog-api-key", "x-auth-token")

    passed = of_plugins({**dict.fromkeys(keys, "sk-dmrc-mine"), "X-Session-Id": "7", "x-own": "yes"})

    assert passed == {"content-type": "application/json", "x-session-id": "7", "x-own": "yes"}
