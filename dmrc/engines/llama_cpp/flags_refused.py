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
_ENDS = "llama-server would print something and end"
_LOG = "dmrc reads the engine's log"
_WITHOUT_EFFECT = "it has no effect on a server"
_SIZES = "llama.cpp has removed it; write --spec-ngram-simple-size-n, for example, after the type of --spec-type"
_SYNTHETIC = "the answers would not be the model's: it is for benchmarks of llama.cpp"
_LOADS = "dmrc itself loads and unloads models"
_GUESSES = "write --spec-type ngram-mod"

_REASONS = {
    _OURS: "-a --alias --host --port --metrics --no-metrics --slots --no-slots --props --ui --webui --no-ui --no-webui "
    "--ui-config --webui-config --ui-config-file --webui-config-file --offline --reuse-port --tags "
    "-ctxcp --ctx-checkpoints --swa-checkpoints",
    _ROUTES: "--api-key --api-key-file --api-prefix --cors-origins --cors-methods --cors-headers --cors-credentials "
    "--no-cors-credentials --ssl-key-file --ssl-cert-file --sleep-idle-seconds",
    _LORA: "--lora --lora-scaled",
    _DRAFT: "-md --model-draft --spec-draft-model -hfd -hfrd --hf-repo-draft --spec-draft-hf",
    _MMPROJ: "-mm --mmproj -mmu --mmproj-url",
    _TEMPLATE: "--chat-template-file",
    _APPLIED: "--lora-init-without-apply",
    _FILES: "--path --log-file --log-prompts-dir --control-vector --control-vector-scaled "
    "--grammar-file -jf --json-schema-file --slot-save-path --media-path --models-dir "
    "--video-ffmpeg-dir --models-preset -lcs --lookup-cache-static -lcd --lookup-cache-dynamic",
    _MODEL: "-m --model -mu --model-url -dr --docker-repo -hf -hfr --hf-repo -hff --hf-file -hft --hf-token "
    "--embd-gemma-default --fim-qwen-1.5b-default --fim-qwen-3b-default --fim-qwen-7b-default --fim-qwen-7b-spec "
    "--fim-qwen-14b-spec --fim-qwen-30b-default --gpt-oss-20b-default --gpt-oss-120b-default --vision-gemma-4b-default "
    "--vision-gemma-12b-default",
    _CONTEXT: "-c --ctx-size --kv-unified-per-slot",
    _UNIFIED: "-kvu --kv-unified -no-kvu --no-kv-unified",
    _TENSORS: "-ot --override-tensor -otd --override-tensor-draft --spec-draft-override-tensor --override-kv",
    _NETWORK: "--rpc",
    _REMOVED: "--draft --draft-n --draft-max --draft-min --draft-n-min",
    _ENDS: "-h --help --usage --version -cl --cache-list --completion-bash --list-devices",
    _LOG: "--log-disable --log-jsonl --no-log-jsonl --log-colors --log-prefix --no-log-prefix --log-timestamps "
    "--no-log-timestamps",
    _WITHOUT_EFFECT: "-e --escape --no-escape -dt --defrag-thold",
    _SIZES: "--spec-ngram-size-n --spec-ngram-size-m --spec-ngram-min-hits",
    _SYNTHETIC: "--spec-synth-len --spec-synth-rates",
    _LOADS: "--models-max --models-autoload --no-models-autoload",
    _GUESSES: "--spec-default",
    _NOTHING: "--control-vector-layer-range -cd --ctx-size-draft",
    _PROJECTOR: "--mmproj-auto --no-mmproj --no-mmproj-auto",
    _TOOLS: "--tools --tools-runtime --mcp-servers-config --mcp-servers-json -ag --agent "
    "-no-ag --no-agent --ui-mcp-proxy --webui-mcp-proxy --no-ui-mcp-proxy --no-webui-mcp-proxy",
}

FORBIDDEN = {name: reason for reason, names in _REASONS.items() for name in names.split()}
"""Flags that are refused, and why."""
