"""What the engine `ray` takes and refuses, and what it tells its bridge. No Ray is imported for that."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from dmrc_ray.engine import RayEngine
from dmrc_ray.order import Order

from dmrc.engines.engine import Launch
from dmrc.engines.local_model import LocalModel
from dmrc.engines.options_check import check_options
from dmrc.errors import UnsupportedError
from dmrc.gguf import GgufFacts
from dmrc.paths import Paths
from dmrc.project import ReplicaRange, ServingOptions
from tests.tiny_gguf import write_tiny_llama


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RayEngine:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return RayEngine(Paths(tmp_path))


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    path = tmp_path / "tiny.gguf"
    write_tiny_llama(path)
    with path.open("rb") as stream:
        model = LocalModel(path=path, facts=GgufFacts.parse(stream, name="tiny"))
    return Launch(
        name="tiny",
        runner="0123456789ab",
        digest="sha256:1",
        model=model,
        options=ServingOptions(context_size=256, replicas=ReplicaRange(min=0, max=3)),
        parallel=2,
        socket=tmp_path / "r.sock",
        log=tmp_path / "r.log",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chat_template": "/srv/app/t.jinja"}, "cannot use '/srv/app/t.jinja': the nodes of a cluster have no files"),
        ({"loras": ("/srv/app/a.gguf",)}, "cannot use '/srv/app/a.gguf'"),
        ({"device": "CUDA0"}, "engine 'ray' has no device"),
        ({"runtime_flags": ("--device", "CUDA0")}, "engine 'ray' has no --device"),
        ({"image": "x"}, "engine 'ray' has no image"),
        ({"ray_address": "ray://head:10001"}, "cannot use the address 'ray://head:10001': Ray's client has no streams"),
    ],
)
def test_what_a_cluster_cannot_have_is_refused_by_name(
    engine: RayEngine, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UnsupportedError, match=message.replace("(", "\\(")):
        check_options(engine, ServingOptions(**options))  # type: ignore[arg-type]


def test_references_beside_the_model_flags_and_cards_are_taken(engine: RayEngine) -> None:
    check_options(engine, ServingOptions(loras=("ai/adapter",), gpu="required", runtime_flags=("--temp", "0")))


def test_the_bridge_is_told_the_application_of_the_runner_its_range_and_what_a_replica_takes(
    engine: RayEngine, launch: Launch
) -> None:
    order = engine.order(launch)

    assert (order.application, order.address) == ("dmrc-0123456789ab", None)
    assert (order.least, order.most, order.target) == (0, 3, 2)
    estimate = engine._llama_cpp.estimate(launch.model, launch.options, 2)
    assert estimate is not None
    assert order.needs.memory_bytes == estimate.bare_bytes + estimate.kv_bytes
    assert (order.needs.cpus, order.needs.gpus) == (1.0, None)
    assert Order.from_json(order.to_json()) == order


def test_threads_are_processors_and_a_model_that_must_be_on_a_card_takes_one(engine: RayEngine, launch: Launch) -> None:
    said = replace(launch.options, runtime_flags=("--threads", "8"), gpu="required")

    needs = engine.order(replace(launch, options=said)).needs

    assert (needs.cpus, needs.gpus) == (8.0, 1.0)


def test_the_address_of_the_project_goes_before_that_of_the_environment(
    engine: RayEngine, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    named = replace(launch, options=replace(launch.options, ray_address="10.0.0.2:6379"))

    assert engine.order(launch).address == "10.0.0.1:6379"
    assert engine.order(named).address == "10.0.0.2:6379"


def test_a_state_directory_has_a_name_of_its_own_which_it_keeps(
    engine: RayEngine, launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines that are clones of one have the same host name and the same paths."""
    first = engine.order(launch).holder
    kept = tmp_path / "ray" / "holder"

    assert engine.order(launch).holder == RayEngine(Paths(tmp_path)).order(launch).holder == first
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in kept.parent.iterdir()] == ["holder"]
    monkeypatch.setattr("socket.gethostname", lambda: "clone")
    with_its_files = engine.order(launch).holder
    kept.unlink()
    without = engine.order(launch).holder
    assert len({first, with_its_files, without}) == 3


@pytest.mark.parametrize(
    "url", ["https://ann:pass1234@models.example/m.gguf", "https://models.example/m.gguf?token=pass1234"]
)
def test_a_url_with_a_login_is_refused_before_anything_of_it_is_told(
    engine: RayEngine, launch: Launch, url: str
) -> None:
    for name, options in ((url, launch.options), ("ai/tiny", replace(launch.options, loras=(url,)))):
        with pytest.raises(
            UnsupportedError, match=r"'https://.*models\.example/m\.gguf.*' *: its URL holds a login"
        ) as caught:
            engine.settle(name, launch.model, options, None)
        assert "pass1234" not in str(caught.value)
    assert engine.settle("https://models.example/m.gguf", launch.model, launch.options, None)


@pytest.mark.process
def test_neither_the_plugin_nor_the_bridge_imports_ray_before_its_settings_are_made() -> None:
    code = "import sys, dmrc_ray.engine, dmrc_ray.bridge; sys.exit('ray' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
