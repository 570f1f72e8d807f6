"""The runtime flags that a project may not set, and why."""

from __future__ import annotations

_OURS = "dmrc sets it"
_ROUTES = "it would break the gateway's way to the engine"
_FILES = "a compose file may not name files of this machine"
_MODEL = "write model: under the model instead"
_CONTEXT = "write context_size: under the model instead"
_UNIFIED = "each request has the whole context_size to itself"
_TENSORS = "it names tensors of one engine's version"
_NETWORK = "it would send the model's data over the network"
_REMOVED = "llama.cpp has removed it; write --spec-draft-n-max or --spec-draft-n-min"
_NOTHING = "there is no control vector or second context that it could apply to"
_APPLIED = "the adapters under x-dmrc.lora are always applied"
_LORA = "write x-dmrc: {lora: [./adapter.gguf]} under the model instead"
_DRAFT = "write x-dmrc: {draft: ai/smaller} under the model instead"
_MMPROJ = "write x-dmrc: {mmproj: ./mmproj.gguf} under the model instead"
_TEMPLATE = "write x-dmrc: {chat_template: ./template.jinja} under the model instead"
_PROJECTOR = "dmrc takes the projector from x-dmrc.mmproj, or from the model's package"
_TOOLS = "it would let a model run programs on this machine"

_REASONS = {
    _OURS: "-a --alias --host --port --metrics --no-metrics --slots --no-slots --props --ui --webui --no-ui --no-webui "
    "--ui-config --webui-config --offline --reuse-port --tags",
    _ROUTES: "--api-key --api-key-file --api-prefix --cors-origins --cors-methods --cors-headers --cors-credentials "
    "--no-cors-credentials --ssl-key-file --ssl-cert-file --sleep-idle-seconds",
    _LORA: "--lora --lora-scaled",
    _DRAFT: "-md --model-draft --spec-draft-model -hfd -hfrd --hf-repo-draft --spec-draft-hf",
    _MMPROJ: "-mm --mmproj -mmu --mmproj-url",
    _TEMPLATE: "--chat-template-file",
    _APPLIED: "--lora-init-without-apply",
    _FILES: "--path --log-file --log-prompts-dir --control-vector --control-vector-scaled "
    "--grammar-file -jf --json-schema-file --slot-save-path --media-path --models-dir "
    "--models-preset -lcs --lookup-cache-static -lcd --lookup-cache-dynamic",
    _MODEL: "-m --model -mu --model-url -dr --docker-repo -hf -hfr --hf-repo -hff --hf-file -hft --hf-token",
    _CONTEXT: "-c --ctx-size --kv-unified-per-slot",
    _UNIFIED: "-kvu --kv-unified -no-kvu --no-kv-unified",
    _TENSORS: "-ot --override-tensor -otd --override-tensor-draft --spec-draft-override-tensor --override-kv",
    _NETWORK: "--rpc",
    _REMOVED: "--draft --draft-n --draft-max --draft-min --draft-n-min",
    _NOTHING: "--control-vector-layer-range -cd --ctx-size-draft",
    _PROJECTOR: "--mmproj-auto --no-mmproj --no-mmproj-auto",
    _TOOLS: "--tools --tools-runtime --mcp-servers-config --mcp-servers-json -ag --agent "
    "-no-ag --no-agent --ui-mcp-proxy --webui-mcp-proxy --no-ui-mcp-proxy --no-webui-mcp-proxy",
}

FORBIDDEN = {name: reason for reason, names in _REASONS.items() for name in names.split()}
"""Flags that are refused, and why."""
