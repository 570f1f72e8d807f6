import math
from dataclasses import replace
from pathlib import Path

import pytest

from dmrc.errors import StoreError
from dmrc.project import ModelDeclaration, Project, ServingOptions, Upstream
from dmrc.project.model import own_names
from dmrc.projects import Projects, Registration
from dmrc.reference import Reference

MODELS = {"llm": {"model": "ai/smollm2", "x-dmrc": {"keep_alive": -1}, "runtime_flags": ["--temp", "0"]}}


def registration(name: str = "demo", key: str = "sk-dmrc-1") -> Registration:
    return registration_of({"app": {"models": ["llm"]}, "db": {}}, {"app": key}, name=name)


def registration_of(
    services: dict[str, object],
    keys: dict[str, str],
    *,
    models: dict[str, dict[str, object]] = MODELS,
    name: str = "demo",
) -> Registration:
    document = {"name": name, "models": models, "services": services}
    return Registration.of(Project.parse(document, (Path("/app/compose.yaml"),)), keys, "unix:///docker.sock")


def test_a_key_tells_its_service_and_the_models_it_may_use(tmp_path: Path) -> None:
    projects = Projects(tmp_path / "projects.sqlite3")

    projects.register(registration())

    caller = projects.caller("sk-dmrc-1")
    assert caller is not None
    assert (caller.registration.name, caller.service) == ("demo", "app")
    assert caller.models["llm"].model == "ai/smollm2"
    assert projects.caller("sk-dmrc-2") is None


def test_registrations_and_keys_outlive_the_process(tmp_path: Path) -> None:
    Projects(tmp_path / "projects.sqlite3").register(registration())

    again = Projects(tmp_path / "projects.sqlite3")

    assert again.all() == [registration()]
    assert again.caller("sk-dmrc-1") is not None
    assert again.get("demo").models["llm"] == ModelDeclaration(
        key="llm",
        model="ai/smollm2",
        options=ServingOptions(runtime_flags=("--temp", "0"), keep_alive_seconds=math.inf),
    )


def test_a_registration_keeps_upstreams_and_files(tmp_path: Path) -> None:
    upstream = Upstream(url="https://host/v1", model="gpt-4o", key="OPENAI_API_KEY")
    models = {
        "far": ModelDeclaration(key="far", model="gpt", options=ServingOptions(upstream=upstream)),
        "near": ModelDeclaration(
            key="near", model="ai/x", options=ServingOptions(loras=("/a.gguf", "ai/b"), draft="ai/small")
        ),
    }
    Projects(tmp_path / "projects.sqlite3").register(
        replace(registration(), models=models, services={"app": ("far", "near")})
    )

    assert dict(Projects(tmp_path / "projects.sqlite3").get("demo").models) == models


def test_unregistering_ends_the_keys_of_that_project_only(tmp_path: Path) -> None:
    projects = Projects(tmp_path / "projects.sqlite3")
    projects.register(registration())
    projects.register(registration("other", "sk-dmrc-2"))

    assert projects.unregister("demo") is True

    assert projects.caller("sk-dmrc-1") is None
    assert projects.caller("sk-dmrc-2") is not None
    assert projects.unregister("demo") is False


def test_registering_again_replaces_the_keys(tmp_path: Path) -> None:
    projects = Projects(tmp_path / "projects.sqlite3")
    projects.register(registration())

    projects.register(registration(key="sk-dmrc-new"))

    assert projects.caller("sk-dmrc-1") is None
    assert projects.caller("sk-dmrc-new") is not None


def test_a_service_whose_profile_is_not_active_any_more_keeps_its_key_and_its_models(tmp_path: Path) -> None:
    """Compose leaves its container running, and prunes models that no active service uses."""
    projects = Projects(tmp_path / "projects.sqlite3")
    models = {**MODELS, "big": {"model": "ai/big"}}
    before = registration_of(
        {"app": {"models": ["llm"]}, "extra": {"models": ["llm", "big"]}},
        {"app": "sk-dmrc-1", "extra": "sk-dmrc-2"},
        models=models,
    )
    changed = {"llm": {"model": "ai/smollm2", "context_size": 1024}}
    now = registration_of({"app": {"models": ["llm"]}}, {"app": "sk-dmrc-1", "extra": "sk-dmrc-2"}, models=changed)

    projects.register(now.keeping(before))

    app, extra = projects.caller("sk-dmrc-1"), projects.caller("sk-dmrc-2")
    assert app is not None
    assert extra is not None
    assert app.models.keys() == {"llm"}
    assert [extra.models["llm"].options.context_size, extra.models["big"].model] == [1024, "ai/big"]


def test_a_service_that_lost_its_models_loses_its_key() -> None:
    before = registration_of({"app": {"models": ["llm"]}, "db": {"models": ["llm"]}}, {"app": "a", "db": "b"})

    kept = registration().keeping(before)

    assert kept.services.keys() == kept.key_hashes.keys() == {"app"}
    assert kept == registration()


def test_no_plain_key_is_on_disk(tmp_path: Path) -> None:
    projects = Projects(tmp_path / "projects.sqlite3")

    projects.register(registration(key="sk-dmrc-very-secret"))
    projects.close()

    assert all(b"very-secret" not in file.read_bytes() for file in tmp_path.iterdir())
    assert (tmp_path / "projects.sqlite3").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "projects.sqlite3"
    path.write_bytes(b"not a database, but long enough to be looked at as one" * 100)

    with pytest.raises(StoreError, match=str(path)):
        Projects(path)


def test_a_registration_keeps_what_plugins_need(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    document = {
        "name": "demo",
        "models": MODELS,
        "x-dmrc": {"plugins": ["a.py", "gone.py"]},
        "services": {"app": {"models": ["llm"], "x-dmrc-limits": {"requests_per_minute": 2}}, "db": {}},
    }
    made = Registration.of(Project.parse(document, (tmp_path / "compose.yaml",)), {"app": "sk-dmrc-1"}, None)

    read = Registration.from_json(made.to_json())

    assert read == made
    assert [plugin.name for plugin in read.plugins] == ["a", "gone"]
    assert (len(read.plugins[0].sha256), read.plugins[1].sha256) == (64, "")
    project = read.to_project()
    assert project.services["app"].extensions == {"x-dmrc-limits": {"requests_per_minute": 2}}
    assert [service.name for service in project.consumers] == ["app"]


def test_the_login_of_a_url_is_for_the_pull_alone(tmp_path: Path) -> None:
    """It lay in projects.sqlite3, and the containers and their requests had it as the model's name (issue 16)."""
    url = "https://bob:s3cr3t@models.example/m.gguf?token=s3cr3t-too"
    document = {
        "name": "shop",
        "services": {"app": {"models": ["llm"]}},
        "models": {"llm": {"model": url, "x-dmrc": {"draft": url}}},
    }

    project = Project.parse(document, (tmp_path / "compose.yaml",))

    known = Registration.of(project, {"app": "sk-dmrc-x"}, None)
    assert project.models["llm"].references == (url, url)
    assert project.models["llm"].name == known.models["llm"].model == "https://models.example/m.gguf"
    assert "s3cr3t" not in known.to_json()
    assert list(own_names(project.models.values())) == ["https://models.example/m.gguf"]
    assert Reference.parse(url) == Reference.parse(project.models["llm"].name)
