"""What llama.cpp is told of graphics cards, what it is counted to put there, and what its log says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dmrc.engines.child_log import ChildLog
from dmrc.engines.devices import Device
from dmrc.engines.engine import MemoryEstimate
from dmrc.engines.llama_cpp import memory
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.llama_cpp.offload import LOAD_NOTES, device_use, device_wish, placement_arguments, placement_json
from dmrc.engines.local_model import LocalModel
from dmrc.engines.options_check import check_options
from dmrc.engines.placement import ALL, SPARE_BYTES, DeviceShare, DeviceWish, Placement
from dmrc.errors import InputError, UnsupportedError
from dmrc.gguf import GgufFacts
from dmrc.project import ServingOptions
from tests.engines.toy import ToyEngine
from tests.polling import eventually
from tests.synthetic_gguf import Shape, write_model
from tests.tiny_gguf import write_tiny_llama

MIB = 1 << 20
CARD = Device("Vulkan0", "llvmpipe", 2048 * MIB, 1500 * MIB)
OTHER = Device("Vulkan1", "llvmpipe", 2048 * MIB, 2048 * MIB)
WHOLE = Placement((DeviceShare(CARD, 700 * MIB),))
DIVIDED = Placement((DeviceShare(CARD, 700 * MIB), DeviceShare(OTHER, 2048 * MIB)), is_divided=True)


def options(*flags: str, **said: Any) -> ServingOptions:
    return ServingOptions(context_size=1024, runtime_flags=flags, **said)


@pytest.fixture
def model(tmp_path: Path) -> LocalModel:
    path = write_tiny_llama(tmp_path / "tiny.gguf", block_count=4)
    with path.open("rb") as stream:
        return LocalModel(path=path, facts=GgufFacts.parse(stream, name="tiny"))


def estimate(model: LocalModel, *flags: str, card_bytes: int = ALL) -> MemoryEstimate:
    return memory.estimate(model, options(*flags), 1, card_bytes)


def test_tensors_are_measured_by_layer(model: LocalModel) -> None:
    assert model.facts is not None
    layers = model.facts.layer_bytes

    assert layers.keys() == {"input", "0", "1", "2", "3", "output", "head"}
    assert sum(layers.values()) == model.facts.tensor_bytes
    assert layers["0"] == layers["3"]
    assert layers["input"] == layers["head"]
    assert layers["output"] == 64 * 4
    assert model.facts.with_shards([model.facts]).layer_bytes["2"] == 2 * layers["2"]


def test_all_but_what_tokens_are_looked_up_in_can_be_on_a_card(model: LocalModel) -> None:
    assert model.facts is not None
    found = estimate(model)

    weights = model.facts.tensor_bytes - model.facts.layer_bytes["input"]
    in_ram = estimate(model, card_bytes=0)
    assert found.device_bytes == weights + found.kv_bytes + in_ram.compute_bytes
    assert found.movable_bytes == found.device_bytes
    assert found.bare_bytes == found.everywhere_bytes - found.device_bytes
    assert (in_ram.device_bytes, in_ram.movable_bytes) == (0, 0)


def test_where_the_output_uses_the_table_of_tokens_it_is_on_the_card_once_more(tmp_path: Path) -> None:
    path = write_model(tmp_path / "gemma.gguf", Shape(architecture="gemma3", sliding_window=256))
    with path.open("rb") as stream:
        facts = GgufFacts.parse(stream, name="gemma")
    gemma = LocalModel(path=path, facts=facts)

    assert "head" not in facts.layer_bytes
    assert estimate(gemma).weights_bytes == facts.tensor_bytes + facts.layer_bytes["input"]


def test_the_last_layers_go_first_and_no_layer_goes_by_half(model: LocalModel) -> None:
    assert model.facts is not None
    whole, layers = estimate(model), model.facts.layer_bytes
    a_block = layers["0"] + whole.kv_bytes // 4
    output = layers["output"] + layers["head"]
    compute = estimate(model, card_bytes=0).compute_bytes

    assert estimate(model, card_bytes=whole.device_bytes - 1).device_bytes == whole.device_bytes - a_block
    assert estimate(model, card_bytes=compute + output).device_bytes == compute + output
    assert estimate(model, card_bytes=compute + output - 1).device_bytes == 0
    assert estimate(model, card_bytes=compute + output).movable_bytes == whole.device_bytes


def test_flags_that_say_how_much_is_on_a_card_are_counted(model: LocalModel) -> None:
    whole = estimate(model)

    assert estimate(model, "-ngl", "all", card_bytes=1).device_bytes == whole.device_bytes
    assert estimate(model, "-ngl", "99", card_bytes=1).device_bytes == whole.device_bytes
    three = estimate(model, "-ngl", "3", card_bytes=1)
    assert 0 < three.device_bytes < whole.device_bytes == three.movable_bytes
    assert estimate(model, "-nkvo").device_bytes == whole.device_bytes - whole.kv_bytes


@pytest.mark.parametrize(
    ("flags", "said", "wish"),
    [
        ((), {}, DeviceWish()),
        ((), {"device": "auto", "gpu": "auto"}, DeviceWish()),
        ((), {"device": "CUDA1"}, DeviceWish(names=("CUDA1",))),
        ((), {"device": "cpu"}, DeviceWish(names=())),
        ((), {"gpu": "required"}, DeviceWish(is_whole=True)),
        (("--device", "CUDA0,CUDA1"), {}, DeviceWish(names=("CUDA0", "CUDA1"), is_whole=True, ratios=())),
        (("--device", "CUDA1"), {}, DeviceWish(names=("CUDA1",))),
        (("-dev", "none"), {}, DeviceWish(names=())),
        (("-ngl", "0"), {}, DeviceWish(names=(), is_whole=True)),
        (("-ngl", "20"), {}, DeviceWish(is_whole=True)),
        (("-ngl", "auto"), {}, DeviceWish()),
        (("--fit", "off"), {}, DeviceWish(is_whole=True)),
        (("-ncmoe", "4"), {}, DeviceWish(is_whole=True)),
        (("-ts", "3,1"), {}, DeviceWish(is_whole=True, ratios=(3.0, 1.0))),
        (("-sm", "row"), {}, DeviceWish(is_whole=True, ratios=())),
        (("-sm", "none", "-mg", "1"), {}, DeviceWish(is_whole=True, ratios=(0.0, 1.0))),
    ],
)
def test_fields_and_flags_say_which_cards_are_used(
    flags: tuple[str, ...], said: dict[str, str], wish: DeviceWish
) -> None:
    assert device_wish(options(*flags, **said)) == wish


@pytest.mark.parametrize(
    ("flags", "said"), [((), {"device": "cpu", "gpu": "required"}), (("--device", "CUDA0"), {"device": "CUDA1"})]
)
def test_fields_that_contradict_each_other_are_refused(flags: tuple[str, ...], said: dict[str, str]) -> None:
    with pytest.raises(InputError):
        LlamaCpp("llama-server").check(options(*flags, **said))


@pytest.mark.parametrize("said", [{"device": "CUDA0"}, {"device": "cpu"}, {"gpu": "required"}])
def test_an_engine_whose_cards_are_not_counted_takes_no_word_about_them(said: dict[str, str]) -> None:
    with pytest.raises(UnsupportedError, match=f"has no {next(iter(said))}. Remove it, or use engine llama.cpp"):
        check_options(ToyEngine(), ServingOptions(**said))  # type: ignore[arg-type]
    check_options(ToyEngine(), ServingOptions(device="auto", gpu="auto"))
    check_options(LlamaCpp("llama-server"), ServingOptions(device="CUDA0", gpu="required"))


def test_llama_server_is_told_of_the_card_and_of_what_is_others() -> None:
    assert placement_arguments(None, options()) == []
    assert placement_arguments(Placement(), options())[:4] == ["--device", "none", "--fit", "off"]
    assert placement_arguments(WHOLE, options())[:6] == [
        *("--device", "Vulkan0", "--n-gpu-layers", "all", "--fit", "off"),
    ]
    spare = SPARE_BYTES // MIB
    left = f"{1500 - 700 + spare},{spare}"
    assert placement_arguments(DIVIDED, options())[:6] == [
        *("--device", "Vulkan0,Vulkan1", "--fit", "on", "--fit-target", left),
    ]
    assert placement_arguments(DIVIDED, options("-ts", "1,1")) == []


CARDS = [
    {"type": "ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_GPU", "name": "Vulkan0"},
    {"type": "ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_GPU", "name": "Vulkan1"},
    {"type": "ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_IGPU", "name": "Vulkan2"},
    {"type": "ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU", "name": "CPU"},
]


@pytest.mark.engine
def test_xllamacpp_is_told_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel of this machine lists no card, so its list is one that we write."""
    import xllamacpp

    from dmrc.engines.llama_cpp.xllamacpp_placement import choose_devices

    monkeypatch.setattr(xllamacpp, "get_device_info", lambda: CARDS)

    def told(placement: Placement | None) -> tuple[Any, ...]:
        params = xllamacpp.CommonParams()
        document = json.loads(json.dumps(placement_json(placement, options())))
        uses_card = choose_devices(params, document)
        mode = params.split_mode.name.removeprefix("LLAMA_SPLIT_MODE_")
        return uses_card, mode, params.main_gpu, params.n_gpu_layers, params.fit_params, params.verbosity

    assert told(None) == (True, "LAYER", 0, -1, True, 3)
    assert told(Placement()) == (False, "NONE", -1, -1, False, 3)
    assert told(WHOLE) == (True, "NONE", 0, -2, False, 4)
    assert told(Placement((DeviceShare(OTHER, MIB),))) == (True, "NONE", 1, -2, False, 4)
    assert told(DIVIDED) == (True, "LAYER", 0, -1, True, 4)

    params = xllamacpp.CommonParams()
    choose_devices(params, json.loads(json.dumps(placement_json(DIVIDED, options()))))
    assert [size // MIB for size in params.fit_params_target[:2]] == [1500 - 700 + 128, 128]


LOG = """\
0.00.131.020 I load_tensors:   CPU_Mapped model buffer size =    28.69 MiB
0.00.131.022 I load_tensors:      Vulkan0 model buffer size =    92.10 MiB
llama_context: Vulkan_Host  output buffer size =     0.19 MiB
llama_kv_cache:    Vulkan0 KV buffer size =    90.00 MiB
sched_reserve:    Vulkan0 compute buffer size =    15.26 MiB
0.01.219.273 I clip_ctx: CLIP using Vulkan0 backend
0.01.219.373 I load_hparams: model size:         10.50 MiB
0.01.219.373 I load_hparams: metadata size:      0.50 MiB
srv    load_model: prompt cache is enabled, size limit: 8192 MiB
"""


def test_the_log_of_a_load_says_what_is_on_each_card() -> None:
    found = device_use(LOG.splitlines())

    assert found.keys() == {"CPU_Mapped", "Vulkan0", "Vulkan_Host"}
    assert found["Vulkan0"] == pytest.approx((92.10 + 90 + 15.26 + 10.5) * MIB, abs=3)


def test_what_a_request_has_printed_is_no_word_about_cards(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "log", noted=LOAD_NOTES)
    descriptor = log.open()
    os.write(descriptor, LOG.encode())
    eventually(lambda: len(log.notes) == 7, "the lines are read")
    log.serves()
    os.write(descriptor, b"load_tensors: Vulkan0 model buffer size = 9999.00 MiB\n")
    os.close(descriptor)
    log.wait_end(5)

    assert len(log.notes) == 7
    assert max(device_use(log.notes).values()) < 220 * MIB
