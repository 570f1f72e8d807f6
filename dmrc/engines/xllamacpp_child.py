"""The child that serves one model with llama.cpp's server out of the xllamacpp wheel.

`python -m dmrc.engines.xllamacpp_child LAUNCH`, a JSON object. Its reasons to fail are on stderr only, as llama.cpp
prints them. Never imported by the daemon: an abort in C++ must cost one model.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dmrc.engines.flags import Setting, parse
from dmrc.engines.parent import die_with_parent

if TYPE_CHECKING:
    import xllamacpp


def main(text: str) -> int:
    """Serve until SIGTERM; return 1 when the server does not start."""
    os.umask(0o177)  # the socket is ours alone
    die_with_parent()
    import xllamacpp

    launch = json.loads(text)
    params = xllamacpp.CommonParams()
    _fill(params, launch)
    for setting in parse(launch["runtime_flags"]):
        _apply(params, setting)
    try:
        server = xllamacpp.Server(params)  # blocks until the model is loaded
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    # xllamacpp sets handlers of its own, which end with 143.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del server
    os._exit(0)  # C++ destructors have nothing to save, and may take their time


def _fill(params: xllamacpp.CommonParams, launch: dict[str, str | int]) -> None:
    """Set what dmrc decides. The context is divided among the slots, so it is multiplied first."""
    parallel = int(launch["parallel"])
    params.model.path = launch["gguf"]
    params.model_alias = {launch["name"]}
    params.hostnames = [launch["socket"]]
    params.n_ctx = int(launch["context_size"]) * parallel
    params.n_parallel = parallel
    params.kv_unified = False
    params.cache_ram_mib = 0  # 8 GiB otherwise
    params.fit_params = False  # it would shrink the context in silence
    params.endpoint_metrics = True
    params.endpoint_slots = False
    params.ui = False
    params.cors_origins = ""
    params.offline = True
    params.embedding = launch["mode"] in ("embedding", "rerank")
    if launch["mode"] == "rerank":
        params.pooling_type = _named("llama_pooling_type.LLAMA_POOLING_TYPE_RANK")
    if launch["mmproj"]:
        params.mmproj.path = launch["mmproj"]
    if launch["chat_template"]:
        params.chat_template = Path(str(launch["chat_template"])).read_text()


def _apply(params: xllamacpp.CommonParams, setting: Setting) -> None:
    """Set one runtime flag; flags without a place were refused before."""
    if setting.flag.attribute is None:
        raise SystemExit(f"runtime flag {setting.written} has no place in xllamacpp")
    *path, name = setting.flag.attribute.split(".")
    holder = params
    for part in path:
        holder = getattr(holder, part)
    setattr(holder, name, _value(setting))


def _value(setting: Setting) -> object:
    text = setting.value or ""
    match setting.flag.kind:
        case "on" | "off":
            return setting.flag.kind == "on"
        case "int":
            return int(text)
        case "float":
            return float(text)
        case "text":
            return text
        case "choice":
            return _named(dict(setting.flag.choices)[text])


def _named(name: str) -> object:
    """Return the value of an enumeration of xllamacpp by `enumeration.MEMBER`."""
    import xllamacpp

    enumeration, _, member = name.partition(".")
    value: object = getattr(getattr(xllamacpp, enumeration), member)
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
