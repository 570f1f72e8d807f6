"""Who has an address: asked of a real Docker engine."""

from dmrc.compose.containers import Container, Containers
from tests.docker_engine import DockerEngine
from tests.polling import eventually

LABELS = ("com.docker.compose.project=shop", "com.docker.compose.service=web")


def test_a_containers_address_leads_to_its_service(docker_engine: DockerEngine, busybox: str) -> None:
    labels = [word for label in LABELS for word in ("--label", label)]
    id = docker_engine.docker("run", "--detach", *labels, "--entrypoint", "/busybox", busybox, "sleep", "600").strip()
    try:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = docker_engine.docker("inspect", "--format", form, id).strip()
        containers = Containers(lambda: [docker_engine.host])
        assert containers.find(address) is None

        def look() -> Container | None:  # again: what an engine does not answer in 3 s is "nobody" for 5 s
            containers.look(address)
            return containers.find(address)

        found = eventually(look, "the name of the container")

        assert (found.id, found.project, found.service) == (id[:12], "shop", "web")
        containers.look("10.255.255.254")
        assert containers.find("10.255.255.254") is None
    finally:
        docker_engine.docker("rm", "--force", id)
    assert containers.find(address) == found, "a container that has ended is remembered for its last records"
    containers.close()


def test_an_error_that_nobody_foresaw_is_logged_and_the_next_address_is_asked_for(caplog) -> None:
    asked: list[str] = []

    def hosts() -> list[str]:
        asked.append("")
        raise RuntimeError("no list of engines")

    containers = Containers(hosts)
    for address in ("172.17.0.2", "172.17.0.3"):
        before = len(asked)
        containers.look(address)
        assert containers.find(address) is None
        assert len(asked) > before

    assert "no list of engines" in caplog.text
    containers.close()


def test_an_engine_that_does_not_answer_costs_nothing_but_the_name(tmp_path) -> None:
    containers = Containers(lambda: [f"unix://{tmp_path}/none.sock"])

    containers.look("172.17.0.2")

    assert eventually(lambda: containers.find("172.17.0.2") is None)
    containers.close()
