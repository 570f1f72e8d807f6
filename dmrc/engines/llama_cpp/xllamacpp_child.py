"""The child that serves one model with llama.cpp's server out of the xllamacpp wheel.

`python -m dmrc.engines.llama_cpp.xllamacpp_child LAUNCH`, a JSON object. Its reasons to fail are on stderr only, as
llama.cpp prints them. Never imported by the daemon: an abort in C++ must cost one model.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmrc.engines.llama_cpp.flags import parse
from dmrc.engines.llama_cpp.xllamacpp_placement import choose_devices
from dmrc.engines.parent_death import die_with_parent
from dmrc.engines.runtime_flags import DMRC, Setting

if TYPE_CHECKING:
    import xllamacpp

_LOG_SECONDS = 2.0
_QUIET_SECONDS = 0.1


def main(text: str) -> int:
    """Serve until SIGTERM; return 1 when the server does not start."""
    os.umask(0o177)  # the socket is ours alone
    die_with_parent()
    if site := json.loads(text).get("site"):
        sys.path.insert(0, site)  # a build of its own, and not the one of this environment
    import xllamacpp

    try:
        server = xllamacpp.Server(parameters(text))  # holds the GIL until the model is loaded
    except RuntimeError as error:
        _let_the_log_end()
        sys.stderr.write(f"{error}\n")
        return 1
    # Until here SIGTERM just kills, which is right: a handler of Python's would wait for the load. From here on it ends
    # with 0. C++ destructors have nothing to save, and may wait for an answer that is being written: so no unwinding.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    while server:  # held here, since it stops when nobody holds it
        signal.pause()
    return 0


def _let_the_log_end() -> None:
    """Wait until nothing more is written: llama.cpp logs from a thread of its own, which our end would cut off."""
    deadline, size = time.monotonic() + _LOG_SECONDS, -1
    while time.monotonic() < deadline and ((now := _written_bytes()) != size or _has_work()):
        size = now
        time.sleep(_QUIET_SECONDS)


def _written_bytes() -> int:
    """Return how much this process has written so far; 0 where the system does not tell. Source: proc(5), `wchar`."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("wchar:")), 0)


def _has_work() -> bool:
    """Return whether another thread of this process runs, or would if a processor were free.

    False where the system does not tell. Source: proc(5), `/proc/PID/task/TID/stat`: `R` then, or `D` at a disk.
    """
    own = str(threading.get_native_id())
    try:
        others = [task for task in Path("/proc/self/task").iterdir() if task.name != own]
        return any((task / "stat").read_text().rpartition(")")[2].split()[0] in "RD" for task in others)
    except OSError:
        return False


def parameters(text: str) -> xllamacpp.CommonParams:
    """Return what llama.cpp's argument parser would make of a launch, which is the JSON of `launch_json`."""
    import xllamacpp

    launch = json.loads(text)
    params = xllamacpp.CommonParams()
    _fill(params, launch)
    for setting in parse(launch.get("runtime_flags", ())):
        _apply(params, setting)
    params.n_batch = max(params.n_batch, params.n_ubatch)
    return params


def _fill(params: xllamacpp.CommonParams, launch: dict[str, Any]) -> None:
    """Set what dmrc decides. The context is divided among the slots, so it is multiplied first."""
    parallel = int(launch["parallel"])
    params.model.path = launch["path"]
    params.model_alias = {launch["name"]}
    params.hostnames = [launch.get("socket") or launch["host"]]
    params.port = int(launch.get("port") or params.port)
    if launch.get("api_keys"):
        params.api_keys = Path(str(launch["api_keys"])).read_text().split()
    params.n_ctx = int(launch.get("context_size", 0)) * parallel
    params.n_parallel = parallel
    params.kv_unified = False
    params.cache_ram_mib = int(launch["prompt_cache_mib"])
    params.n_ctx_checkpoints = int(launch["context_checkpoints"])
    if not choose_devices(params, launch.get("placement")):
        # It looks between batches whether a caller has gone. One of four times 512 tokens is no faster on a processor.
        params.n_batch = params.n_ubatch
    params.endpoint_metrics = True
    params.endpoint_slots = False  # it shows the prompts of others
    params.slot_save_path = launch.get("slot_files") or ""  # it ends with a slash, which their parser would add
    params.ui = False
    params.cors_origins = ""
    params.offline = True
    params.embedding = launch.get("mode") in ("embedding", "rerank")
    if launch.get("mode") == "rerank":
        params.pooling_type = _named("llama_pooling_type.LLAMA_POOLING_TYPE_RANK")
    if launch.get("mmproj"):
        params.mmproj.path = launch["mmproj"]
    if launch.get("chat_template"):
        params.chat_template = Path(str(launch["chat_template"])).read_text()
    if launch.get("loras"):
        import xllamacpp

        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 1.0) for path in launch["loras"]]
    if launch.get("draft"):
        params.speculative.draft.mparams.path = launch["draft"]


def _apply(params: xllamacpp.CommonParams, setting: Setting) -> None:
    """Set one runtime flag; flags without a place were refused before."""
    attribute = setting.flag.attribute
    if attribute is None:
        raise SystemExit(f"runtime flag {setting.written} has no place in xllamacpp")
    if attribute == DMRC:
        return
    special = _SPECIAL.get(setting.flag.names[-1])
    if special is not None:
        special(params, setting.value or "")
        return
    for place in attribute.split():
        *path, name = place.split(".")
        holder = params
        for part in path:
            holder = getattr(holder, part)
        setattr(holder, name, _value(setting))
        if path == ["sampling"]:
            _mark_as_chosen(params, name)


def _mark_as_chosen(params: xllamacpp.CommonParams, name: str) -> None:
    """Keep the defaults in the GGUF from replacing what the project chose.

    Source: common_init_sampler_from_model in https://github.com/ggml-org/llama.cpp/blob/master/common/common.cpp
    """
    import xllamacpp

    bit = f"COMMON_PARAMS_SAMPLING_CONFIG_{name.upper()}"
    chosen = getattr(xllamacpp.common_params_sampling_config, bit, None)
    if chosen is not None:
        params.sampling.user_sampling_config |= chosen.value


def _value(setting: Setting) -> object:
    text, choices = setting.value or "", dict(setting.flag.choices)
    match setting.flag.kind:
        case "on" | "off":
            return _named(choices[""]) if choices else setting.flag.kind == "on"
        case "int":
            return int(text)
        case "float":
            return float(text)
        case "choice":
            return _named(choices[text])
    return text


def _named(name: str) -> object:
    """Return the value of an enumeration of xllamacpp by `enumeration.MEMBER`, or a number by its digits."""
    import xllamacpp

    enumeration, _, member = name.partition(".")
    if not member:
        return int(name)
    value: object = getattr(getattr(xllamacpp, enumeration), member)
    return value


# What llama.cpp's argument parser does with values that are not simply kept.
# Source: https://github.com/ggml-org/llama.cpp/blob/master/common/arg.cpp


def _set_layers(params: xllamacpp.CommonParams, text: str) -> None:
    params.n_gpu_layers = {"auto": -1, "all": -2}.get(text) or int(text)


def _set_shares(params: xllamacpp.CommonParams, text: str) -> None:
    shares = [float(share) for share in text.split(",")]
    params.tensor_split = shares + [0.0] * (len(params.tensor_split) - len(shares))


def _set_rope_scale(params: xllamacpp.CommonParams, text: str) -> None:
    params.rope_freq_scale = 1 / float(text)


def _set_seed(params: xllamacpp.CommonParams, text: str) -> None:
    params.sampling.seed = int(text) % (1 << 32)


def _set_grammar(params: xllamacpp.CommonParams, text: str) -> None:
    import xllamacpp

    kind = xllamacpp.common_grammar_type.COMMON_GRAMMAR_TYPE_USER
    params.sampling.grammar = xllamacpp.CommonGrammar(kind, text)


def _set_schema(params: xllamacpp.CommonParams, text: str) -> None:
    import xllamacpp

    kind = xllamacpp.common_grammar_type.COMMON_GRAMMAR_TYPE_OUTPUT_FORMAT
    params.sampling.grammar = xllamacpp.CommonGrammar(kind, xllamacpp.json_schema_to_grammar(text))


def _set_template_values(params: xllamacpp.CommonParams, text: str) -> None:
    values = {name: json.dumps(value) for name, value in json.loads(text).items()}
    params.default_template_kwargs = {**params.default_template_kwargs, **values}


def _set_reasoning(params: xllamacpp.CommonParams, text: str) -> None:
    params.enable_reasoning = {"on": 1, "off": 0, "auto": -1}[text]
    if text != "auto":
        _set_template_values(params, json.dumps({"enable_thinking": text == "on"}))


def _set_effort(params: xllamacpp.CommonParams, text: str) -> None:
    if text == "default":
        params.default_template_kwargs = {
            name: value for name, value in params.default_template_kwargs.items() if name != "reasoning_effort"
        }
    else:
        _set_template_values(params, json.dumps({"reasoning_effort": text}))


def _preserve(params: xllamacpp.CommonParams, preserves: bool) -> None:
    _set_template_values(params, json.dumps({"preserve_reasoning": preserves}))
    params.preserve_reasoning_specified = True


def _add_end(params: xllamacpp.CommonParams, text: str) -> None:
    params.antiprompt = [*params.antiprompt, text]


def _set_speculation(params: xllamacpp.CommonParams, text: str) -> None:
    members = [f"COMMON_SPECULATIVE_TYPE_{word.replace('-', '_').upper()}" for word in text.split(",")]
    params.speculative.types = [_named(f"common_speculative_type.{member}") for member in members]


_SPECIAL: dict[str, Callable[[xllamacpp.CommonParams, str], None]] = {
    "--n-gpu-layers": _set_layers,
    "--tensor-split": _set_shares,
    "--rope-scale": _set_rope_scale,
    "--seed": _set_seed,
    "--grammar": _set_grammar,
    "--json-schema": _set_schema,
    "--chat-template-kwargs": _set_template_values,
    "--reasoning": _set_reasoning,
    "--reasoning-effort": _set_effort,
    "--reasoning-preserve": lambda params, _: _preserve(params, True),
    "--no-reasoning-preserve": lambda params, _: _preserve(params, False),
    "--reverse-prompt": _add_end,
    "--spec-type": _set_speculation,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
