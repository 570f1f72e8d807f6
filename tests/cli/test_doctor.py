import json
import socket
from pathlib import Path

import pytest

from dmrc import __version__
from dmrc.engines.cards import Card
from dmrc.engines.devices import Device, DeviceList
from dmrc.health.check import Check
from dmrc.health.machine import graphics
from tests.cli.refusals import without_root_rights, write_program
from tests.dmrc_command import Dmrc
from tests.docker_engine import DockerEngine
from tests.vulkan import VulkanServer


@pytest.fixture
def healthy(dmrc: Dmrc, tmp_path: Path) -> Dmrc:
    """A dmrc whose `docker` has a new Compose, and whose Docker engine listens."""
    programs = write_program(tmp_path / "bin", "docker", "echo 2.40.0")
    dmrc.environment |= {"PATH": f"{programs}:/usr/bin:/bin"}
    return dmrc


def _found(dmrc: Dmrc, **env: str) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(dmrc.run("doctor", "--json", env=env).stdout)}


def test_each_place_is_looked_at_and_a_problem_has_a_remedy(healthy: Dmrc) -> None:
    done = healthy.run("doctor")
    found = _found(healthy)

    assert done.returncode == 1
    assert list(found) == [
        *(
            "state",
            "keys",
            "disk",
            "memory",
            "engine",
            "gpu",
            "daemon",
            "port",
            "docker",
            "compose",
            "plugin",
            "bridge",
            "network",
        ),
    ]
    assert [name for name, check in found.items() if check["state"] == "problem"] == ["docker"]
    assert "no Docker engine answers" in found["docker"]["message"]
    assert "dmrc exec" in found["docker"]["remedy"]
    assert found["compose"] == {"name": "compose", "state": "ok", "message": "2.40.0", "remedy": None}
    assert f"port      {healthy.port} is free" in done.stdout
    assert healthy.processes() == []
    assert list(healthy.home.iterdir()) == []


def test_without_docker_there_are_warnings_only(healthy: Dmrc, tmp_path: Path) -> None:
    """dmrc exec and dmrc run work."""
    done = healthy.run("doctor", env={"PATH": str(tmp_path)})

    assert (done.returncode, done.stderr) == (0, "")
    assert "! docker" in done.stdout


def test_an_old_compose_a_taken_port_and_a_plugin_of_another_dmrc_are_named(healthy: Dmrc, tmp_path: Path) -> None:
    write_program(tmp_path / "bin", "docker", "echo 2.20.1")
    healthy.environment["DOCKER_CONFIG"] = str(tmp_path / "docker")
    healthy.ok("plugin", "install")
    plugin = tmp_path / "docker" / "cli-plugins" / "docker-model"
    assert _found(healthy)["plugin"]["message"] == "docker model is dmrc"
    plugin.write_text(plugin.read_text().replace("exec ", "exec /elsewhere"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", healthy.port))
        other.listen()

        found = _found(healthy)

    assert found["compose"]["message"] == "2.20.1 does not know 'models:'"
    assert found["port"]["state"] == "problem"
    assert f"port {healthy.port} on 127.0.0.1 is taken" in found["port"]["message"]
    assert (found["plugin"]["state"], found["plugin"]["remedy"]) == ("warning", "Run: dmrc plugin install")


def test_the_daemon_is_told_with_its_version_and_its_port(dmrc: Dmrc, tiny: str, project: Path) -> None:
    dmrc.ok("env", "web", cwd=project)

    found = _found(dmrc)

    assert found["daemon"]["message"] == f"runs, version {__version__}"
    assert found["port"]["message"] == f"{dmrc.port} is the daemon's"
    assert _found(dmrc, DMRC_PORT="9")["port"]["state"] == "problem"


def test_keys_that_others_may_read_are_a_problem(healthy: Dmrc) -> None:
    keys = healthy.home / "projects" / "shop" / "keys.json"
    keys.parent.mkdir(parents=True)
    keys.write_text("{}")
    keys.chmod(0o644)

    found = _found(healthy)["keys"]

    assert (found["state"], found["remedy"]) == ("problem", f"Run: chmod 600 {keys}")


def test_a_state_directory_that_cannot_be_written_is_a_problem(healthy: Dmrc, tmp_path: Path) -> None:
    without_root_rights(healthy, tmp_path / "rights")
    healthy.home.chmod(0o500)

    found = _found(healthy)["state"]

    healthy.home.chmod(0o700)
    assert (found["state"], found["message"]) == ("problem", f"'{healthy.home}' cannot be written")


def test_with_docker_all_is_well(dmrc: Dmrc, docker_engine: DockerEngine) -> None:
    dmrc.environment |= docker_engine.environment

    done = dmrc.run("doctor")

    assert done.returncode == 0, done.stdout
    assert "✓ bridge" in done.stdout


@pytest.mark.docker
def test_an_engine_behind_ssh_that_does_not_answer_is_a_problem(dmrc: Dmrc) -> None:
    docker = _found(dmrc, DOCKER_HOST="ssh://nobody@127.0.0.1:1")["docker"]

    assert docker["state"] == "problem"
    assert "ssh://nobody@127.0.0.1:1" in docker["message"]


_RTX = Card("NVIDIA", "NVIDIA RTX 4090", "570.86.15")
_BUILT_IN = Card("Intel", None, "i915", is_part_of_processor=True)
_CUDA = Device("CUDA0", "NVIDIA RTX 4090", 24_000_000_000, 23_000_000_000)
_INSTALL = "Run: dmrc engine install"


@pytest.mark.parametrize(
    ("cards", "answer", "expected"),
    [
        ([], DeviceList(), Check("gpu", "ok", "no graphics card; models run on the processor")),
        (
            [_RTX],
            DeviceList(),
            Check(
                "gpu",
                "warning",
                "NVIDIA RTX 4090, driver 570.86.15: not used, the engine in use (xllamacpp 1) was built for "
                "processors, or misses the card's driver",
                _INSTALL,
            ),
        ),
        (
            [_RTX, _RTX],
            DeviceList((_CUDA,)),
            Check(
                "gpu",
                "ok",
                "2 × NVIDIA RTX 4090, driver 570.86.15: used as CUDA0: NVIDIA RTX 4090, 23.00 GB free of 24.00 GB",
            ),
        ),
        (
            [_RTX],
            DeviceList(failure="no answer in 15 s"),
            Check(
                "gpu",
                "warning",
                "NVIDIA RTX 4090, driver 570.86.15: not used, the engine in use (xllamacpp 1) does not list its "
                "devices: no answer in 15 s",
                _INSTALL,
            ),
        ),
        (
            [_BUILT_IN],
            DeviceList(),
            Check(
                "gpu",
                "ok",
                "a graphics card of Intel, driver i915: not used, the engine in use (xllamacpp 1) was built for "
                "processors, or misses the card's driver",
            ),
        ),
    ],
)
def test_a_card_is_named_with_whether_it_is_used_and_how_to_change_that(
    cards: list[Card], answer: DeviceList, expected: Check
) -> None:
    assert graphics(cards, "xllamacpp 1", answer) == expected


def test_what_the_engine_in_use_answers_of_its_devices_is_told(healthy: Dmrc, tmp_path: Path) -> None:
    server = write_program(tmp_path / "engine", "llama-server", "[ $1 = --version ] && exit; kill -ILL $$")
    chosen = {"DMRC_LLAMA_SERVER": f"{server}/llama-server", "GGML_VK_VISIBLE_DEVICES": "0"}

    died = _found(healthy, **chosen)["gpu"]
    write_program(server, "llama-server", "echo Available devices:; echo '  Vulkan0: soft (2048 MiB, 1024 MiB free)'")
    listed = _found(healthy, **chosen)["gpu"]

    assert (died["state"], died["remedy"]) == ("warning", _INSTALL)
    assert (
        f"the engine in use ({server}/llama-server) does not list its devices: died: it was built for another"
        in died["message"]
    )
    assert listed["state"] == "ok"
    assert "Vulkan0: soft, 1.07 GB free of 2.15 GB" in listed["message"]


def test_a_software_driver_is_told_as_what_the_engine_uses(healthy: Dmrc, vulkan_server: VulkanServer) -> None:
    used = _found(healthy, DMRC_LLAMA_SERVER=str(vulkan_server.program), **vulkan_server.environment)["gpu"]
    not_used = _found(healthy, DMRC_LLAMA_SERVER=str(vulkan_server.program))["gpu"]

    assert used["state"] == "ok"
    assert "Vulkan0: llvmpipe" in used["message"]
    assert " free of 2.15 GB" in used["message"]
    assert "Vulkan0" not in not_used["message"]
