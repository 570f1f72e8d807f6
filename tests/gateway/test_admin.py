"""The admin API on its socket: bodies are read strictly, its document is its own, and dataclasses are read as ever."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import BaseModel, TypeAdapter, ValidationError

from dmrc import errors
from dmrc.gateway.projects.keys import NamedKey
from dmrc.gateway.routes import admin_documents
from dmrc.gateway.routes.admin_documents import AdminBody, KeyForm, OptionsForm, RegistrationForm
from dmrc.project import Fault, FaultPlan, ModelDeclaration, Replay, ServingOptions, Upstream
from dmrc.projects import Registration
from dmrc.told_errors import told_error
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.gateway.openapi import check, operations, values_of

ROUTES = {
    *("GET /status", "POST /stop", "GET /use", "POST /attach", "GET /projects", "POST /diffs"),
    *("PUT /projects/{name}", "DELETE /projects/{name}"),
    *("PUT /projects/{name}/secrets", "POST /projects/{name}/settle", "PUT /projects/{name}/upstream-keys"),
    *("GET /faults", "PUT /projects/{name}/faults", "DELETE /projects/{name}/faults"),
    *("POST /projects/{name}/join", "DELETE /projects/{name}/services/{service}"),
    *("POST /projects/{name}/services/{service}/rest", "POST /projects/{name}/load/{key}", "POST /load"),
    *("GET /now", "POST /requests/{id}/cancel"),
    *("GET /requests/live", "POST /requests/flush", "POST /ui-token", "GET /runners", "POST /unload"),
    *("GET /configurations", "PUT /configurations", "DELETE /configurations", "GET /plugins", "POST /pulled"),
    *("GET /keys", "POST /keys", "DELETE /keys/{name}"),
    *("GET /projects/{name}/replay", "GET /replay"),
    *("GET /replica-log", "GET /hosts", "POST /hosts/join", "POST /hosts/pull"),
    *("POST /hosted/pull", "POST /hosted/describe", "POST /hosted/load", "POST /hosted/log"),
}
BODIES: list[type[BaseModel]] = [
    each for each in vars(admin_documents).values() if isinstance(each, type) and issubclass(each, AdminBody)
]
REGISTRATION = Registration(
    name="demo",
    directory="/app",
    models={
        "near": ModelDeclaration(
            key="near",
            model="ai/x",
            options=ServingOptions(context_size=64, runtime_flags=("--temp", "0"), keep_alive_seconds=math.inf,
                                   hf_overrides='{"rope_theta": 1}', gpu_memory_utilization=0.5),
        ),
        "far": ModelDeclaration(
            key="far", model="gpt", options=ServingOptions(upstream=Upstream(url="https://host/v1", model="gpt")),
            ready="pulled",
        ),
    },
    services={"app": ("near", "far")},
    key_hashes={"app": "00"},
    extensions={"app": {"x-dmrc-limits": {"a": [1, {"b": None}]}}},
    replay=Replay(directory="/app/cassettes", mode="replay-or-record", speed=1.5, ignore=("user_id", "/run-[0-9]+/")),
    starter=(7, 1.5),
    faults={"app": FaultPlan(seed=7, faults=(Fault(kind="cut", share=0.5, after=3),))},
)  # fmt: skip


@pytest.fixture(scope="module")
def daemon(needs_process: None) -> Iterator[Dmrc]:
    with temporary_dmrc() as dmrc, subprocess.Popen(
        [dmrc.program, "serve"], env=dmrc.environment, stderr=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        assert process.stderr is not None
        while "dmrc serves" not in (line := process.stderr.readline()):
            assert line, "the daemon ended"
        yield dmrc
        process.terminate()
        assert "Traceback" not in process.communicate(timeout=30)[1]


def ask(dmrc: Dmrc, method: str, path: str, body: str | None = None) -> httpx.Response:
    socket = str(next(dmrc.home.rglob("*.sock")))
    with httpx.Client(transport=httpx.HTTPTransport(uds=socket), base_url="http://dmrc", timeout=60) as client:
        return client.request(method, path, content=body)


@pytest.fixture(scope="module")
def document(daemon: Dmrc) -> Any:
    return ask(daemon, "GET", "/openapi.json").json()


def test_its_document_holds_together_and_has_every_route(document: Any) -> None:
    check(document)

    assert {f"{method} {path}" for method, path, _ in operations(document)} == ROUTES


def test_no_listener_of_tcp_tells_of_it(daemon: Dmrc) -> None:
    told = httpx.get(f"http://127.0.0.1:{daemon.port}/openapi.json").json()

    assert not {"/status", "/projects/{name}", "/keys"} & set(told["paths"])


def test_a_bad_body_of_any_route_is_an_error_that_the_command_line_reads(daemon: Dmrc, document: Any) -> None:
    with_bodies = [(method, path) for method, path, operation in operations(document) if "requestBody" in operation]
    assert len(with_bodies) == 19

    for method, path in with_bodies:
        for body in ("", "{", "7", '"x"'):
            answer = ask(daemon, method, path.replace("{", "").replace("}", ""), body)
            assert answer.status_code == 422, (method, path, answer.text)
            error = told_error(answer.json()["error"])
            assert isinstance(error, errors.HttpInputError)
            assert error.message.startswith("the request body ")


@pytest.mark.parametrize(
    ("route", "body", "message"),
    [
        ("POST /attach", {}, "'docker_host' is missing from the body"),
        ("POST /load", {"model": 5}, "'model' must be a string"),
        ("POST /unload", {"models": ["x"], "wait": "no"}, "'wait' must be true or false"),
        ("POST /unload", {"model": "x"}, "'model' is not known here"),
        ("POST /pulled", {"reference": "x"}, "'digest' is missing from the body; 'size_bytes' is missing "),
        ("PUT /projects/demo", {"name": "demo", "directory": 1}, "'directory' must be a string"),
        ("PUT /projects/demo", {"services": {"a": "b"}}, "'services.a' must be a list of strings"),
        ("PUT /projects/demo", {"models": {"m": {"parallel": "1"}}}, "'models.m.parallel' must be a whole number"),
        ("PUT /projects/demo/secrets", ["x", 1], "'[1]' must be a string"),
        ("PUT /projects/demo/upstream-keys", {"A": 1}, "'A' must be a string"),
        ("PUT /configurations", {"options": {"mode": "x"}}, "'options.mode' must be one of "),
        ("POST /keys", {"name": "x", "sha256": "0", "models": "y"}, "'models' must be a list of strings"),
        ("POST /hosted/log", {"model": "x", "options": {}, "lines": -1}, "'lines' must be a whole number from 0 "),
        ("POST /hosted/log", {"model": "x", "options": {}, "lines": 10**30}, "must be a whole number from 0 to 10000"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_name(daemon: Dmrc, route: str, body: object, message: str) -> None:
    answer = ask(daemon, *route.split(), json.dumps(body))

    assert answer.status_code == 422
    assert message in answer.json()["error"]["message"]


def test_a_registration_that_contradicts_itself_or_its_address_is_refused(daemon: Dmrc) -> None:
    undeclared = replace(REGISTRATION, services={"app": ("none",)})

    refused = ask(daemon, "PUT", "/projects/demo", undeclared.to_json())
    other = ask(daemon, "PUT", "/projects/other", REGISTRATION.to_json())

    assert refused.status_code == 422
    assert "a service uses the model 'none', which is not declared" in refused.json()["error"]["message"]
    assert (other.status_code, ask(daemon, "GET", "/projects").json()) == (400, [])


def test_what_is_no_utf_8_passes(daemon: Dmrc) -> None:
    """A variable of the environment, and the name of a directory, may be any bytes; Python has halves of characters."""
    there = replace(REGISTRATION, directory="/app\udcff")

    assert ask(daemon, "PUT", "/projects/demo/secrets", json.dumps(["secret\udcff"])).status_code == 200
    assert ask(daemon, "PUT", "/projects/demo", there.to_json()).status_code == 200
    assert ask(daemon, "DELETE", "/projects/demo").json() == {"known": True}


def test_a_bad_parameter_and_an_unknown_model_are_told(daemon: Dmrc) -> None:
    assert ask(daemon, "PUT", "/projects/demo", REGISTRATION.to_json()).status_code == 200

    wrong = ask(daemon, "POST", "/stop?unless=tired")
    unknown = ask(daemon, "POST", "/projects/demo/load/none")

    ask(daemon, "DELETE", "/projects/demo")
    assert (wrong.status_code, wrong.json()["error"]["message"]) == (400, '\'unless\' must be one of "used", "busy"')
    assert unknown.status_code == 404


def test_a_registration_is_read_as_it_is_written() -> None:
    assert TypeAdapter(RegistrationForm).validate_python(json.loads(REGISTRATION.to_json())) == REGISTRATION


def test_what_another_version_writes_more_is_ignored_where_values_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    key = NamedKey(name="x", sha256="0", models=("ai/x",), created_at=2.0)

    read = TypeAdapter(KeyForm).validate_python({**json.loads(json.dumps(asdict(key))), "new": 1})

    assert read == key
    assert "new" in caplog.text


@pytest.mark.parametrize("kind", [Registration, NamedKey, ServingOptions])
def test_every_field_of_a_dataclass_is_described(document: Any, kind: type) -> None:
    described = set(document["components"]["schemas"][kind.__name__]["properties"])

    assert described == {each.name for each in fields(kind)}


@pytest.mark.parametrize("model", BODIES, ids=lambda model: model.__name__)
def test_what_the_schema_of_a_body_allows_is_read_and_comes_back(model: type[BaseModel]) -> None:
    schema = TypeAdapter(model).json_schema()

    @settings(deadline=None, suppress_health_check=list(HealthCheck))  # the machine may be busy
    @given(document=values_of(schema, schema.get("$defs", {})))
    def check_one(document: dict[str, Any]) -> None:
        read = model.model_validate(document)

        written = read.model_dump(exclude={"options"}, exclude_unset=True)
        assert written == {name: value for name, value in document.items() if name != "options"}
        with pytest.raises(ValidationError):
            model.model_validate({**document, "of_another_version": 1})

    check_one()


@pytest.mark.parametrize(
    ("form", "write"),
    [
        (RegistrationForm, lambda read: json.loads(read.to_json())),
        (KeyForm, asdict),
        (OptionsForm, ServingOptions.to_json),
    ],
    ids=["Registration", "NamedKey", "ServingOptions"],
)
def test_what_the_schema_of_a_dataclass_allows_is_read_and_comes_back(form: Any, write: Any) -> None:
    adapter = TypeAdapter(form)
    schema = adapter.json_schema()

    @settings(deadline=None, suppress_health_check=list(HealthCheck))  # the machine may be busy
    @given(document=values_of(schema, schema.get("$defs", {})))
    def check_one(document: dict[str, Any]) -> None:
        services = {name: [*document.get("models", {})] for name in document.get("services", {})}
        document |= {"services": services} if services else {}

        read = adapter.validate_python(document)

        assert adapter.validate_python(json.loads(json.dumps(write(read)))) == read

    check_one()
