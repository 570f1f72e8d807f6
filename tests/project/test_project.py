import math
import re
from pathlib import Path

import pytest

from dmrc.errors import NotFoundError, ProjectError
from dmrc.project import Project

FILES = (Path("/app/compose.yaml"),)


def project(models: object = None, services: object = None, **more: object) -> Project:
    models = {"llm": {"model": "ai/smollm2"}} if models is None else models
    services = {"app": {"models": {"llm": None}}} if services is None else services
    return Project.parse({"name": "demo", "models": models, "services": services, **more}, FILES)


def test_options_under_x_dmrc_are_read() -> None:
    parsed = project({"llm": {"model": "a", "x-dmrc": {"keep_alive": -1, "parallel": 2, "ready": "pulled"}}})

    model = parsed.models["llm"]
    assert (model.options.keep_alive_seconds, model.options.parallel, model.ready) == (math.inf, 2, "pulled")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("5m", 300.0), ("1h", 3600.0), (0, 0.0), ("90", 90.0), ("1.5s", 1.5), ("1h30m", 5400.0), ("0s", 0.0)),
        *(("-1", math.inf), ("-5m", math.inf), (-1, math.inf), (10**30, math.inf)),
    ],
)
def test_keep_alive_is_a_duration(text: object, seconds: float) -> None:
    assert (
        project({"llm": {"model": "a", "x-dmrc": {"keep_alive": text}}}).models["llm"].options.keep_alive_seconds
        == seconds
    )


@pytest.mark.parametrize(
    ("models", "services", "message"),
    [
        ({"llm": {}}, None, "models.llm has no 'model'"),
        (
            {"llm": {"model": "a", "context_size": "lots"}},
            None,
            "models.llm.context_size must be a whole number above 0, not 'lots'",
        ),
        (
            {"llm": {"model": "a", "context_size": 0}},
            None,
            "models.llm.context_size must be a whole number above 0, not 0",
        ),
        (
            {"llm": {"model": "a", "context_size": True}},
            None,
            "models.llm.context_size must be a whole number above 0, not True",
        ),
        ({"llm": {"model": "a", "runtime_flags": "--temp 1"}}, None, "models.llm.runtime_flags must be a list"),
        ({"llm": {"model": "a", "contextsize": 1}}, None, "did you mean 'context_size'?"),
        ({"llm": {"model": "a", "x-dmrc": {"keepalive": 1}}}, None, "did you mean 'keep_alive'?"),
        ({"llm": {"model": "a", "x-dmrc": {"keep_alive": "soon"}}}, None, "must be a duration, not 'soon'"),
        (
            {"llm": {"model": "a", "x-dmrc": {"ready": "maybe"}}},
            None,
            "ready must be loaded or pulled, not 'maybe'",
        ),
        (None, {"app": {"models": ["lln"]}}, "undefined model 'lln' (did you mean 'llm'?)"),
        (None, {"app": {"models": {"llm": {"url": "X"}}}}, "services.app.models.llm has no field 'url'"),
        (None, {"app": {"models": ["llm"], "network_mode": "none"}}, "service 'app' uses a model and has"),
        (None, {"app": {"models": ["llm"], "x-dmrc": {"default_model": "x"}}}, "which the service does not use"),
        (
            None,
            {"app": {"models": ["llm"], "x-dmrc": {"openai": "yes"}}},
            "services.app.x-dmrc.openai must be auto, always or never, not 'yes'",
        ),
        (None, {"app": {"x-dmrc": {"auth": "address"}}}, "services.app.x-dmrc has no field 'auth'"),
    ],
)
def test_an_impossible_declaration_is_refused_by_name(models: object, services: object, message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        project(models, services)

    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_unknown_option_of_the_project_is_refused() -> None:
    with pytest.raises(ProjectError, match="x-dmrc has no field 'captures'"):
        project(**{"x-dmrc": {"captures": "full"}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"openai": True}, "x-dmrc.openai must be auto, always or never, not True"),
        ({"models": "all", "auth": "address"}, "x-dmrc.models must be declared or any, not 'all'"),
        ({"models": "any"}, "x-dmrc.models is 'any' without auth: address"),
        ({"auth": "ip"}, "x-dmrc.auth must be key or address, not 'ip'"),
    ],
)
def test_an_option_of_the_project_that_means_nothing_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        project(**{"x-dmrc": options})


def test_who_is_known_by_its_address_may_use_what_the_project_declares() -> None:
    services = {"app": {"models": ["llm"]}, "web": {}, "offline": {"network_mode": "none"}}
    models = {"llm": {"model": "a"}, "other": {"model": "b"}}
    by_key, by_address = project(models, services), project(models, services, **{"x-dmrc": {"auth": "address"}})

    assert [service.name for service in by_key.callers] == ["app"]
    assert [service.name for service in by_address.callers] == ["app", "web"]
    for name, keys in {"app": ["llm"], "web": ["llm", "other"], "offline": []}.items():
        assert [model.key for model in by_address.models_of(by_address.only([name]))] == keys


def test_yaml_reads_a_bare_off_as_false_and_means_off() -> None:
    assert project(**{"x-dmrc": {"capture": False}}).capture == "off"


def test_a_service_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(NotFoundError, match="Services with models: app"):
        project().service("ap")


def test_a_project_names_its_plugins_and_a_service_has_fields_for_them() -> None:
    document = {
        "name": "demo",
        "x-dmrc": {"plugins": ["./plugins/a.py", "/elsewhere/b.py"]},
        "services": {"web": {"x-dmrc-limits": {"requests_per_minute": 2}, "x-other": {"secret": 1}}},
    }

    project = Project.parse(document, (Path("/app/compose.yaml"),))

    assert project.plugins == (Path("/app/plugins/a.py"), Path("/elsewhere/b.py"))
    assert project.services["web"].extensions == {"x-dmrc-limits": {"requests_per_minute": 2}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"x-dmrc": {"plugins": "a.py"}}, "x-dmrc.plugins must be a list of strings"),
        ({"services": {"web": {"x-dmrc-limits": {"a": {1, 2}}}}}, "services.web.x-dmrc-limits.a is {1, 2}, which JSON"),
    ],
)
def test_plugins_and_their_fields_are_refused_where_they_cannot_be_meant(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ProjectError, match=message):
        Project.parse({"name": "demo", **fields}, (Path("/app/compose.yaml"),))


@pytest.mark.parametrize(
    ("option", "value", "example"),
    [("parallel", 0, "Write 2, for"), ("plugins", "x.py", 'Write ["./plugins/x.py"], for')],
)
def test_what_to_write_instead_is_of_the_same_kind(option: str, value: object, example: str) -> None:
    document: dict[str, object] = {"name": "demo", "models": {"llm": {"model": "ai/smollm2"}}}
    if option == "parallel":
        document["models"] = {"llm": {"model": "ai/smollm2", "x-dmrc": {option: value}}}
    else:
        document["x-dmrc"] = {option: value}

    with pytest.raises(ProjectError, match=re.escape(example)):
        Project.parse(document, ())


@pytest.mark.parametrize(
    ("url", "is_plain"),
    [
        ("http://model-runner.docker.internal/engines/v1", True),
        ("http://model-runner.docker.internal:80/engines/llama.cpp/v1/", True),
        ("http://model-runner.docker.internal", True),
        ("http://model-runner.docker.internal:12434/engines/v1", False),
        ("http://model-runner.docker.internal.example.com/v1", False),
        (None, False),
    ],
)
def test_a_url_without_a_port_is_seen_among_the_variables_of_those_with_models(url: str | None, is_plain: bool) -> None:
    environment = {"BASE_URL": url}

    assert project(services={"a": {"models": ["llm"], "environment": environment}}).uses_plain_port is is_plain
    assert not project(services={"a": {"environment": environment}}).uses_plain_port
