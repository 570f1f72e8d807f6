"""What a person writes under `image` and `command`."""

import asyncio
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pytest

from dmrc.engines.container import command, docker_api
from dmrc.engines.container.engine import ContainerEngine
from dmrc.engines.devices import Device
from dmrc.engines.engine import Launch
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.local_model import LocalModel
from dmrc.engines.options_check import check_options
from dmrc.engines.placement import DeviceShare, Placement
from dmrc.errors import DmrcError, DockerError, ProjectError, UnsupportedError
from dmrc.paths import Paths
from dmrc.project import ModelDeclaration, ServingOptions
from tests.engines.child import launch_in

VLLM = ("{model}", "--uds", "{socket}", "--max-model-len", "{context_size}", "--served-model-name", "{name}")


def refusal(**options: Any) -> str:
    companions = options.pop("companions", ())
    with pytest.raises(DmrcError) as caught:
        ContainerEngine(Paths(Path("/h"))).check(ServingOptions(engine="container", **options), companions)
    return str(caught.value)


def launch(tmp_path: Path, *, files: Path | None = None, **options: Any) -> Launch:
    model = LocalModel(path=files or tmp_path, format="safetensors")
    return Launch(
        name="ai/m:latest",
        model=model,
        options=ServingOptions(context_size=2048, **options),
        parallel=3,
        socket=tmp_path / "runner-abc-1.sock",
        log=tmp_path / "e.log",
    )


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ContainerEngine:
    monkeypatch.setenv("DOCKER_HOST", "unix:///d.sock")
    return ContainerEngine(Paths(Path("/h")))


def test_placeholders_stand_for_what_dmrc_decides(engine: ContainerEngine, tmp_path: Path) -> None:
    order = engine.order(
        launch(tmp_path, image="vllm/vllm-openai", command=(*VLLM, "--seed", "{parallel}", '{"a": 1}'))
    )

    assert order.command == [
        *("/model", "--uds", "/run/dmrc/e.sock", "--max-model-len", "2048", "--served-model-name", "ai/m:latest"),
        *("--seed", "3", '{"a": 1}'),
    ]
    assert order.mounts == [[str(tmp_path), "/model"]]
    assert not order.has_port


def test_a_server_that_knows_only_tcp_has_a_port_of_its_own(engine: ContainerEngine, tmp_path: Path) -> None:
    order = engine.order(launch(tmp_path, image="sglang", command=("--path={model}", "--port={port}")))

    assert order.command == ["--path=/model", "--port=8000"]
    assert order.has_port


def test_without_a_command_the_image_gets_llama_cpps_arguments(engine: ContainerEngine, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter.gguf"
    told = launch_in(tmp_path, gguf=tmp_path / "m.gguf", loras=(adapter,), runtime_flags=("--temp", "0.5"))

    order = engine.order(told)

    words = order.command
    assert words[words.index("--model") + 1] == "/model/model.gguf"
    assert words[words.index("--lora") + 1] == "/beside/lora-1/model.gguf"
    assert words[words.index("--host") + 1] == "/run/dmrc/e.sock"
    assert words[words.index("--temp") + 1] == "0.5"
    assert order.mounts == [
        [str(adapter), "/beside/lora-1/model.gguf"],
        [str(tmp_path / "m.gguf"), "/model/model.gguf"],
    ]
    assert order.image == "auto"
    assert not order.has_port


def test_the_memory_of_a_known_server_is_limited(engine: ContainerEngine, tmp_path: Path) -> None:
    known = engine.order(launch_in(tmp_path, gguf=tmp_path / "m.gguf"))
    unknown = engine.order(launch(tmp_path, image="x", command=VLLM))

    assert known.memory_bytes is not None
    assert unknown.memory_bytes is None


@pytest.mark.parametrize(("wanted", "told"), [(None, 512), (4096, 512), (100, 100)])
def test_a_server_is_told_no_larger_context_than_the_model_was_trained_for(
    engine: ContainerEngine, tmp_path: Path, wanted: int | None, told: int
) -> None:
    """A vLLM in a container did not start: it was told 4096, the usual number."""
    model = LocalModel(path=tmp_path, format="safetensors", trained_context=512)
    options = ServingOptions(image="x", command=VLLM, context_size=wanted)

    assert engine.settle("ai/x", model, options, None).context_size == told


def test_what_another_daemon_left_is_removed_beside_a_new_runner_of_the_same_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A daemon that was started by the load of the same model removed the directory of the container that it began."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///d.sock")
    with tempfile.TemporaryDirectory() as home:  # a short path: sockets have their place in it
        run = Paths(Path(home)).run
        own = run / "runner-abc-1.d"
        own.mkdir(parents=True)
        (own / "of the dead").touch()

        def remove(*_of: str) -> list[str]:
            own.mkdir()  # the load goes on while Docker is asked
            return []

        monkeypatch.setattr(docker_api, "remove_left_behind", remove)
        asyncio.run(ContainerEngine(Paths(Path(home))).end_left_behind())

        assert list(run.rglob("*")) == [own]


def test_a_misspelt_placeholder_is_refused_by_name() -> None:
    assert "no placeholder '{modell}' (did you mean 'model'?)" in refusal(image="x", command=("{modell}", "{port}"))


def test_a_command_must_say_where_the_model_is() -> None:
    assert "must say where the model is. Write {model}" in refusal(image="x", command=("--port", "{port}"))


@pytest.mark.parametrize("words", [("{model}",), ("{model}", "{port}", "{socket}")])
def test_a_command_must_say_where_the_server_listens(words: tuple[str, ...]) -> None:
    assert "must say where the server listens, by {socket} or by {port}" in refusal(image="x", command=words)


@pytest.mark.parametrize("image", [None, "auto"])
def test_a_command_must_come_with_an_image(image: str | None) -> None:
    assert "must come with the x-dmrc.image" in refusal(image=image, command=VLLM)


def test_what_has_no_effect_beside_a_command_is_refused() -> None:
    assert refusal(image="x", command=VLLM, runtime_flags=("--temp", "1")).startswith("runtime_flags have no effect")
    assert refusal(image="x", command=VLLM, companions=["lora"]).startswith("lora has no effect")
    assert refusal(image="x", command=VLLM, chat_template="/t.jinja").startswith("chat_template has no effect")


def test_runtime_flags_of_llama_cpps_image_are_checked() -> None:
    assert "--no-such-flag" in refusal(image="x", runtime_flags=("--no-such-flag",))


def test_an_image_is_refused_beside_another_engine() -> None:
    with pytest.raises(
        UnsupportedError, match=r"engine 'llama\.cpp' has no image\. Remove it, or use engine container"
    ):
        check_options(LlamaCpp("/llama-server"), ServingOptions(image="x"))


def test_a_command_is_a_list(tmp_path: Path) -> None:
    entry = {"model": "ai/x", "x-dmrc": {"engine": "container", "image": "x", "command": "{model}"}}

    with pytest.raises(ProjectError, match=r"models\.llm\.x-dmrc\.command must be a list of strings"):
        ModelDeclaration.parse("llm", entry, tmp_path)


def test_a_docker_engine_on_tcp_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")

    with pytest.raises(DmrcError, match="needs a Docker Engine with a unix socket, not 'tcp://"):
        ContainerEngine(Paths(Path("/h"))).order(launch(tmp_path, image="x", command=VLLM))


def test_a_docker_engine_that_is_away_is_no_reason_to_leave_docker_out(tmp_path: Path) -> None:
    """`dmrc exec`, which does without Docker everywhere else, needs it for such a model."""
    with pytest.raises(DockerError) as caught, docker_api.client(f"unix://{tmp_path}/d.sock"):
        pass

    assert str(caught.value).startswith(f"no Docker engine answers at unix://{tmp_path}/d.sock. ")
    assert "dmrc exec" not in str(caught.value)
    assert str(caught.value).endswith("or leave x-dmrc.engine out")


def test_a_port_may_stand_within_a_word() -> None:
    assert command.uses_port(("--port={port}",))
    assert not command.uses_port(VLLM)
    assert not command.uses_port(None)


def test_a_container_has_all_cards_or_none(engine: ContainerEngine, tmp_path: Path) -> None:
    check_options(engine, ServingOptions(image="x", command=VLLM, device="cpu"))
    assert not engine.order(launch(tmp_path, image="x", command=VLLM, device="cpu")).uses_card
    assert engine.order(launch(tmp_path, image="x", command=VLLM)).uses_card

    with pytest.raises(UnsupportedError, match=r"takes no single card, as x-dmrc\.device 'CUDA1'"):
        check_options(engine, ServingOptions(image="x", command=VLLM, device="CUDA1"))
    with pytest.raises(UnsupportedError, match="gpu: required has no effect beside x-dmrc"):
        check_options(engine, ServingOptions(image="x", command=VLLM, gpu="required"))


def test_llama_cpps_image_is_told_which_card_and_none_is_given_to_a_model_that_may_use_none(
    engine: ContainerEngine, tmp_path: Path
) -> None:
    card = Device("CUDA1", "a card", 8 << 30, 8 << 30)
    placement = Placement((DeviceShare(card, 1 << 30),))
    said = ServingOptions(device="cuda1", gpu="required")
    check_options(engine, said)

    on_card = engine.order(dataclasses.replace(launch_in(tmp_path, gguf=tmp_path / "m.gguf"), placement=placement))
    none = engine.order(launch_in(tmp_path, gguf=tmp_path / "m.gguf", runtime_flags=("--n-gpu-layers", "0")))

    assert (engine.device_wish(said).names, engine.device_wish(said).is_whole) == (("cuda1",), True)
    assert on_card.uses_card
    assert on_card.command[on_card.command.index("--device") + 1] == "CUDA1"
    assert not none.uses_card
    assert none.command[none.command.index("--device") + 1] == "none"
