"""A secret planted in every place that a project, a caller, an engine or a plugin can bring one to.

Issue 16: no byte of it under the state directory, and none of the credentials that are for us at an upstream. Each
place has a secret of its own, so that a failure names the place. Those of `DECLARED` are known by their values, since
the project has them as variables; those of `NAMED` only by the names that they stand under.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.gateway.conftest import MODEL
from tests.hooks.written import write
from tests.polling import eventually
from tests.serving import serving

pytestmark = pytest.mark.engine

DECLARED = (
    *("environment", "env-file", "secrets-file", "dot-env", "chat-template", "command"),
    *("system", "user", "assistant", "tool-result", "tool-name", "tool-description", "tool-choice", "arguments"),
    *("stop", "metadata", "grammar", "schema", "json-schema", "part-type", "model", "user-agent", "session-id"),
    *("x-anything", "traceparent", "query", "content-type", "not-json", "cut-json", "streamed-answer", "completion"),
    *("embedding", "responses-input", "responses-instructions", "anthropic", "anthropic-tool-result", "ollama-chat"),
    *("ollama-generate", "upstream-prompt", "plugin-note", "percent-encoded", "base64", "hexadecimal", "escapes"),
    *("nested-json", "json-key", "header-name", "plugin-print", "plugin-error", "note-name"),
)
HEADERS = (
    *("x-auth-token", "x-litellm-api-key", "private-token", "x-amz-security-token", "x-goog-api-key", "api-key"),
    *("cookie", "proxy-authorization", "x-vault-token", "ocp-apim-subscription-key", "x-csrf-token"),
)
BODIES = ("authorization_token", "tool-headers", "api_key", "client_secret", "password-in-arguments", "credentials")
URLS = ("user-in-url", "token-in-url", "key-in-url")
TEXTS = (
    *("in-pieces", "exported", "yaml", "header-in-text", "command-flag", "form", "multipart", "tool-output", "pair"),
    *("schema-default", "upstream-key", "config-content", "volume-option", "provider-option"),
)
NAMED = (*HEADERS, *BODIES, *URLS, *TEXTS)


def secret(place: str) -> str:
    return f"pl4nt3d-{place}-9zk2lw" + {"percent-encoded": "/+&", "nested-json": '"é\\/'}.get(place, "")


PLUGIN = """
import json, pathlib
HEARD = pathlib.Path(__file__).with_name("heard.jsonl")

@hookimpl
def dmrc_request(exchange):
    if exchange.user_agent == "notes":
        print("{PRINT}")
        raise RuntimeError("{ERROR}")

@hookimpl
def dmrc_filter_capture(exchange):
    if exchange.user_agent == "named":
        return exchange.annotated(**{"{NAME}": {"{NAME}": 1}})
    return exchange.annotated(seen=f"of the {SECRET}") if exchange.user_agent == "notes" else exchange

@hookimpl
def dmrc_exchange_completed(exchange):
    with HEARD.open("a") as file:
        file.write(repr(exchange) + "\\n")
"""


class Upstream(ThreadingHTTPServer):
    """Refuses every request by quoting all of it, as some servers do, and remembers what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Quoting)
        self.heard: list[str] = []


class _Quoting(BaseHTTPRequestHandler):
    server: Upstream

    def do_GET(self) -> None:
        self._answer(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.heard.append(str(self.headers))
        self._answer(400, {"error": {"message": f"what is {self.headers} {body}?", "type": "invalid_request_error"}})

    def _answer(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@dataclass
class Planted:
    """A daemon to which all secrets were brought, and what is left of it."""

    dmrc: Dmrc
    key: str
    heard: list[str] = field(default_factory=list)
    left: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)

    def send(self, place: str, path: str, body: object, **more: object) -> None:
        """Send a request; what becomes of it does not matter here."""
        headers = {"authorization": f"Bearer {self.key}", **more.pop("headers", {})}  # type: ignore[dict-item]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.dmrc.port}{path}"
        self.statuses[place] = httpx.post(url, content=content, headers=headers, timeout=60).status_code


def write_project(directory: Path, upstream: str) -> None:
    variables = {f"P{number}_TOKEN": secret(place) for number, place in enumerate(DECLARED) if place not in ELSEWHERE}
    # The wire writes these in another way than the variable holds them.
    (directory / "secrets.txt").write_text(secret("secrets-file") + "\n")
    (directory / "app.env").write_text(f"MYTOKEN={secret('env-file')}\n")
    (directory / ".env").write_text(f"PGPASSWORD={secret('dot-env')}\n")
    (directory / "template.jinja").write_text(
        f"{{# {secret('chat-template')} #}}{secret('chat-template')}"
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    )
    plugin = PLUGIN.replace("{SECRET}", secret("plugin-note")).replace("{NAME}", secret("note-name"))
    plugin = plugin.replace("{PRINT}", secret("plugin-print")).replace("{ERROR}", secret("plugin-error"))
    write(directory / "notes.py", plugin)
    project = {
        "name": "shop",
        "services": {
            "web": {
                "image": "none",
                "models": ["chat", "embed", "far"],
                "environment": variables,
                "env_file": ["app.env"],
                "secrets": ["file"],
                "command": ["psql", "postgres://u:${PGPASSWORD}@db", "--password", secret("command")],
            }
        },
        "models": {
            "chat": {"model": MODEL, "context_size": 512, "x-dmrc": {"chat_template": "./template.jinja"}},
            "embed": {"model": "local/embedder", "context_size": 256},
            "far": {"model": "far/model", "x-dmrc": {"upstream": {"url": upstream, "key": "UPSTREAM"}}},
        },
        "secrets": {"file": {"file": "./secrets.txt"}},
        "configs": {"ini": {"content": f"[db]\npassword = {secret('config-content')}\n"}},
        "volumes": {"share": {"driver_opts": {"o": f"user=bob,password={secret('volume-option')}"}}},
        "x-provider": {"api-key": secret("provider-option")},
        "x-dmrc": {"plugins": ["./notes.py"]},
    }
    (directory / "compose.yaml").write_text(json.dumps(project))


ELSEWHERE = ("env-file", "secrets-file", "dot-env")


def chat(text: str = "Hi", **more: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 1, **more}


def function(name: str = "f", description: str = "", **parameters: object) -> list[object]:
    return [{"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}]


def bring_all(to: Planted) -> None:
    completions, s = "/engines/v1/chat/completions", secret
    for place in ("environment", "env-file", "secrets-file", "dot-env", "chat-template", "command", "user"):
        to.send(place, completions, chat(f"Our {s(place)} it is"))
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": s("arguments")}}
    turns = [
        {"role": "system", "content": s("system")},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": s("assistant"), "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": s("tool-result")},
    ]
    to.send("turns", completions, chat(messages=turns))
    to.send("tool-name", completions, chat(tools=function(s("tool-name"), s("tool-description"))))
    to.send("tool-choice", completions, chat(tool_choice={"type": "function", "function": {"name": s("tool-choice")}}))
    to.send("tool-choice", completions, chat(tool_choice=s("tool-choice")))
    to.send("stop", completions, chat(stop=[s("stop")], metadata={"note": s("metadata")}))
    to.send("grammar", completions, chat(grammar=f"root ::= {s('grammar')}\n{s('grammar')}"))
    to.send("schema", completions, chat(tools=function(type=s("schema"))))
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": s("json-schema")}}}
    to.send("json-schema", completions, chat(response_format=form))
    to.send("part-type", completions, chat(messages=[{"role": "user", "content": [{"type": s("part-type")}]}]))
    to.send("model", completions, {**chat(), "model": s("model")})
    bring_headers_and_bytes(to)
    bring_texts(to)
    to.send("streamed-answer", completions, chat(**said(s("streamed-answer"))))
    to.send("completion", "/v1/completions", {"model": MODEL, "prompt": s("completion"), "max_tokens": 1})
    to.send("embedding", "/v1/embeddings", {"model": "local/embedder", "input": [s("embedding")]})
    asked = {"model": MODEL, "input": s("responses-input"), "instructions": s("responses-instructions")}
    to.send("responses", "/v1/responses", {**asked, "max_output_tokens": 16})
    result = {"type": "tool_result", "tool_use_id": "1", "content": s("anthropic-tool-result")}
    turns = [
        {"role": "user", "content": s("anthropic")},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]},
        {"role": "user", "content": [result]},
    ]
    to.send("anthropic", "/anthropic/v1/messages", {"model": MODEL, "max_tokens": 1, "messages": turns})
    to.send("ollama-chat", "/api/chat", {**chat(s("ollama-chat")), "options": {"num_predict": 1}})
    generate = {"model": MODEL, "prompt": s("ollama-generate"), "options": {"num_predict": 1}}
    to.send("ollama-generate", "/api/generate", generate)
    to.send("upstream-prompt", completions, {**chat(s("upstream-prompt")), "model": "far/model"})


def bring_headers_and_bytes(to: Planted) -> None:
    completions, s = "/engines/v1/chat/completions", secret
    headers = {"user-agent": s("user-agent"), "x-session-id": s("session-id"), "x-anything": f"a {s('x-anything')} b"}
    to.send("headers", f"{completions}?q={s('query')}", chat(), headers={**headers, "traceparent": s("traceparent")})
    to.send("content-type", completions, chat(), headers={"content-type": f"application/json; x={s('content-type')}"})
    to.send("plugin-note", completions, chat(), headers={"user-agent": "notes"})
    to.send("not-json", completions, f"what is {s('not-json')}?".encode())
    to.send("cut-json", completions, json.dumps(chat(s("cut-json"))).encode()[:-3])
    to.send("percent-encoded", completions, chat(quote(s("percent-encoded"), safe="")))
    to.send("base64", completions, chat(base64.b64encode(f"u:{s('base64')}".encode()).decode()))
    far = {**chat(), "model": "far/model"}
    for place in HEADERS:
        to.send(place, completions, far, headers={place: s(place)})
    named = {
        "mcp_servers": [{"type": "url", "url": "https://mcp/x", "authorization_token": s("authorization_token")}],
        "tools": [{"type": "mcp", "server_label": "x", "headers": {"X-Whatever": s("tool-headers")}}],
        "api_key": s("api_key"),
        "metadata": {"client_secret": s("client_secret"), "credentials": {"user": "bob", "is": [s("credentials")]}},
    }
    function_ = {"name": "login", "arguments": json.dumps({"password": s("password-in-arguments")})}
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": function_}]},
        {"role": "tool", "tool_call_id": "1", "content": "ok"},
    ]
    for model in (MODEL, "far/model"):
        to.send("bodies", completions, {**chat(messages=turns), **named, "model": model})
        to.send("bodies", completions, {**chat(messages=turns), **named, "model": model, "tools": None})
    urls = f"https://bob:{s('user-in-url')}@db/x and https://h/?token={s('token-in-url')}&key={s('key-in-url')}"
    to.send("urls", completions, chat(urls))


def bring_texts(to: Planted) -> None:
    """Bring what only a name tells, in texts, in other bodies than JSON, and in JSON in JSON."""
    completions, s = "/engines/v1/chat/completions", secret
    for place in ("config-content", "volume-option", "provider-option", "upstream-key"):
        to.send(place, completions, chat(f"Our {s(place)} it is"))
    escapes = "".join(f"\\u{ord(char):04x}" for char in s("escapes"))
    to.send("escapes", completions, json.dumps(chat("@")).replace("@", escapes).replace('"n"', f'"{escapes}"').encode())
    to.send("nested-json", completions, chat(json.dumps({"a": json.dumps({"b": s("nested-json")})})))
    to.send("json-key", completions, chat(metadata={s("json-key"): 1}))
    to.send("header-name", completions, chat(), headers={f"x-{s('header-name')}": "1"})
    to.send("note-name", completions, chat(s("note-name")), headers={"user-agent": "named"})
    to.send("hexadecimal", completions, chat(s("hexadecimal").encode().hex()))
    text = f"export API_TOKEN={s('exported')}\npassword: {s('yaml')}\nX-Api-Key: {s('header-in-text')}\n"
    to.send("texts", completions, chat(f"{text}run --token {s('command-flag')}"))
    to.send("form", completions, f"user=bob&password={s('form')}".encode())
    part = f'--b\r\nContent-Disposition: form-data; name="token"\r\n\r\n{s("multipart")}\r\n--b--'
    to.send("multipart", completions, part.encode(), headers={"content-type": "multipart/form-data; boundary=b"})
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    output = {"env": [{"name": "API_TOKEN", "value": s("pair")}], "deep": [{"auth": {"is": [s("tool-output")]}}]}
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": json.dumps(output)},
    ]
    tools = function(type="object", properties={"password": {"type": "string", "default": s("schema-default")}})
    for model in (MODEL, "far/model"):
        to.send("turns", completions, {**chat(messages=turns, tools=tools), "model": model})
    pieces = json.dumps(json.dumps({"password": s("in-pieces")}))
    to.send("in-pieces", completions, chat(grammar=f"root ::= {pieces}", stream=True, max_tokens=60))


def said(text: str) -> dict[str, object]:
    """Return what makes the model say a text, piece by piece."""
    return {"grammar": f'root ::= "It is {text} indeed"', "stream": True, "max_tokens": 60}


@contextmanager
def following(dmrc: Dmrc) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [dmrc.program, "requests", "--follow", "--json"]
    process = subprocess.Popen(arguments, env=dmrc.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[Planted]:
    directory, upstream = tmp_path_factory.mktemp("shop"), Upstream()
    with serving(upstream), temporary_dmrc() as dmrc:
        dmrc.environment |= {"DMRC_LOG_FORMAT": "json", "UPSTREAM": secret("upstream-key")}
        write_project(directory, f"http://127.0.0.1:{upstream.server_port}/v1")
        dmrc.ok("package", "--gguf", smollm2, MODEL)
        dmrc.ok("package", "--gguf", smollm2, "--context-size", "256", "local/embedder")
        key = json.loads(dmrc.ok("env", "web", "--format", "json", cwd=directory))["OPENAI_API_KEY"]
        found = Planted(dmrc, key)
        with following(dmrc) as follower:
            bring_all(found)
            count = len(found.statuses)
            eventually(lambda: len(json.loads(dmrc.ok("requests", "--json", "-n", "1000"))) >= count)
        assert follower.stdout is not None
        found.left["live"] = follower.stdout.read()
        found.left["metrics"] = httpx.get(f"http://127.0.0.1:{dmrc.port}/metrics").content
        for form in ("jsonl", "har", "curl"):
            found.left[f"export {form}"] = dmrc.ok("requests", "export", "--as", form).encode()
        before = files_of(dmrc.home)
        dmrc.ok("stop-runner")
        found.left |= {f"{name} before the end": data for name, data in before.items()} | files_of(dmrc.home)
        found.left["plugin"] = (directory / "heard.jsonl").read_bytes()
        found.heard = upstream.heard
        yield found


def files_of(home: Path) -> dict[str, bytes]:
    """Return all files but the models."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.stat().st_size < 64 << 20
    }


@pytest.mark.parametrize("place", [*DECLARED, *NAMED])
def test_a_secret_is_nowhere_under_the_state_directory(planted: Planted, place: str) -> None:
    text = secret(place)
    forms = {text, quote(text, safe=""), base64.b64encode(f"u:{text}".encode()).decode()[4:-4], text.encode().hex()}
    forms |= {"".join(f"\\u{ord(char):04x}" for char in text)}
    for _ in range(4):
        forms |= {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in forms for ascii_only in (True, False)}

    where = [name for name, data in planted.left.items() if any(form.encode() in data for form in forms)]

    assert where == []


def test_logs_and_records_are_this_users_alone(planted: Planted) -> None:
    """Whatever the mode of the home is, which may be older than they are."""
    home = planted.dmrc.home
    files = [path for path in [*home.glob("*.sqlite3*"), *(home / "logs").iterdir()] if path.is_file()]

    assert len(files) > 3
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []


def test_no_credential_that_is_for_us_reaches_an_upstream(planted: Planted) -> None:
    assert len(planted.heard) > len(HEADERS)
    everything = "\n".join(planted.heard)

    assert [place for place in HEADERS if secret(place) in everything] == []
    assert planted.key not in everything


def test_what_was_looked_at_is_what_was_sent(planted: Planted) -> None:
    """So that the others show something: requests were answered, refused, recorded, followed, and counted."""
    assert {200, 400, 404} <= set(planted.statuses.values()) or {200, 400, 403} <= set(planted.statuses.values())
    assert planted.left["export jsonl"].count(b"[redacted]") > len(DECLARED)
    assert planted.left["live"].count(b"\n") > 30
    assert b"[redacted]" in planted.left["plugin"]
    assert b"gen_ai_server_request_duration" in planted.left["metrics"]
    assert any(name.startswith("logs/runner-") for name in planted.left)
