from pathlib import Path

import yaml

from dmrc.compose.override import GatewayAddress, injections, render, write
from dmrc.project import Project

KEYS = {"app": "sk-dmrc-app", "host": "sk-dmrc-host", "beside": "sk-dmrc-beside"}


def project() -> Project:
    document = {
        "name": "demo",
        "models": {"llm": {"model": "ai/smollm2"}},
        "services": {
            "app": {"models": ["llm"]},
            "host": {"models": ["llm"], "network_mode": "host"},
            "beside": {"models": ["llm"], "network_mode": "service:app"},
            "db": {},
        },
    }
    return Project.parse(document, (Path("/app/compose.yaml"),))


def rendered() -> str:
    return render(project(), injections(project(), KEYS, GatewayAddress("172.17.0.1", 12434)))


def services() -> dict[str, dict[str, object]]:
    return yaml.safe_load(rendered().replace("!reset ", ""))["services"]


def test_models_of_each_service_are_reset_and_others_left_alone() -> None:
    assert rendered().count("models: !reset 'null'") + rendered().count("models: !reset null") == 3
    assert "db" not in services()


def test_each_network_gets_an_address_that_it_can_reach() -> None:
    found = {name: service["environment"]["OPENAI_BASE_URL"] for name, service in services().items()}

    assert found == {
        "app": "http://model-runner.docker.internal:12434/engines/v1",
        "host": "http://127.0.0.1:12434/engines/v1",
        "beside": "http://172.17.0.1:12434/engines/v1",
    }


def test_only_a_container_with_its_own_hosts_file_gets_extra_hosts() -> None:
    assert [name for name, service in services().items() if "extra_hosts" in service] == ["app"]


def test_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "demo" / "override.yaml"

    write(path, rendered())

    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_dollar_in_a_value_is_written_so_that_compose_keeps_it() -> None:
    document = {"name": "d", "models": {"m": {"model": "a$b"}}, "services": {"app": {"models": ["m"]}}}
    parsed = Project.parse(document, ())

    text = render(parsed, injections(parsed, {"app": "k"}, GatewayAddress("127.0.0.1", 1)))

    assert "a$$b" in text


def test_each_network_is_past_the_proxy_by_the_names_that_it_can_use() -> None:
    found = {name: service["environment"]["NO_PROXY"] for name, service in services().items()}

    assert found == {
        "app": "model-runner.docker.internal,172.17.0.1",
        "host": "127.0.0.1,localhost",
        "beside": "172.17.0.1,model-runner.docker.internal",
    }


def test_by_address_every_service_gets_the_name_of_the_gateway_and_no_other_is_touched() -> None:
    document = {
        "name": "demo",
        "x-dmrc": {"auth": "address"},
        "services": {"web": {}, "on-host": {"network_mode": "host"}, "alone": {"network_mode": "none"}},
    }
    parsed = Project.parse(document, ())

    text = render(parsed, injections(parsed, {}, GatewayAddress("172.17.0.1", 12434)))

    written = yaml.safe_load(text)["services"]
    assert {name: service["extra_hosts"] for name, service in written.items()} == {
        "web": ["model-runner.docker.internal:host-gateway"],
        "on-host": ["model-runner.docker.internal:127.0.0.1"],
    }
    assert "models" not in written["web"]
