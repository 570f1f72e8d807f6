"""The runtime flags of vLLM that a project may set, and those that it may not.

The first list is Docker Model Runner's allowlist for vLLM without what dmrc itself sets and what vLLM has removed, and
what changes the answers or the speed of one model and names neither a file, nor code, nor another machine.
Source: https://docs.vllm.ai/en/latest/cli/serve/ and
https://github.com/docker/model-runner/blob/main/pkg/inference/runtime_flags_allowlist.go
"""

from __future__ import annotations

from dmrc.engines.runtime_flags import Flag, FlagKind, FlagTable

_SHARE = (r"0?\.[0-9]*[1-9][0-9]*|1(\.0+)?", "a share above 0 and up to 1, such as 0.8")
_NAME = (r"[A-Za-z0-9][A-Za-z0-9_.-]*", "a name")
_LENGTHS = (r"[0-9]+(,[0-9]+)*", "numbers with commas, such as 1,2,4")
_BYTES = (1 << 63) - 1


def _choice(names: tuple[str, ...], *words: str) -> Flag:
    return Flag(names, "choice", choices=tuple((word, "") for word in words))


def _named(*names: str) -> Flag:
    """Return a flag whose value is one of a list of vLLM's that grows with each version."""
    return Flag(names, "word", pattern=_NAME)


def _all(kind: FlagKind, text: str) -> list[Flag]:
    return [Flag((name,), kind) for name in text.split()]


_FLAGS = (
    # The processor, cards and memory
    Flag(("-tp", "--tensor-parallel-size"), "int", at_least=1),
    Flag(("-pp", "--pipeline-parallel-size"), "int", at_least=1),
    Flag(("--gpu-memory-utilization",), "word", pattern=_SHARE),
    Flag(("--kv-cache-memory-bytes",), "int", at_least=1, at_most=_BYTES),
    Flag(("--cpu-offload-gb",), "float", at_least=0),
    Flag(("--block-size",), "int", at_least=1),
    Flag(("--num-gpu-blocks-override",), "int", at_least=1),
    *_all("on", "--disable-custom-all-reduce --enforce-eager --no-enforce-eager --enable-expert-parallel"),
    Flag(("-O", "--optimization-level"), "int", at_least=0, at_most=3),
    _named("--attention-backend"),
    # Batches
    Flag(("--max-num-batched-tokens",), "int", at_least=1),
    Flag(("--max-num-seqs",), "int", at_least=1),
    Flag(("--stream-interval",), "int", at_least=1),
    *_all("on", "--enable-prefix-caching --no-enable-prefix-caching"),
    *_all("on", "--enable-chunked-prefill --no-enable-chunked-prefill --async-scheduling --no-async-scheduling"),
    _choice(("--scheduling-policy",), "fcfs", "priority"),
    Flag(("--cuda-graph-sizes",), "word", pattern=_LENGTHS),
    # The model and its numbers
    _choice(("--dtype",), "auto", "half", "float16", "bfloat16", "float", "float32"),
    _named("-q", "--quantization"),
    _named("--kv-cache-dtype"),
    _named("--load-format"),
    _named("--tokenizer-mode"),
    _choice(("--model-impl",), "auto", "vllm", "transformers"),
    _choice(("--convert",), "auto", "none", "embed", "classify"),
    Flag(("--seed",), "int", at_least=0),
    Flag(("--rope-scaling",), "json"),
    Flag(("--pooler-config",), "json"),
    Flag(("--override-generation-config",), "json"),
    *_all("on", "--disable-sliding-window"),
    # Tools, thoughts and answers that are bound
    *_all("on", "--enable-auto-tool-choice --exclude-tools-when-tool-choice-none"),
    _named("--tool-call-parser"),
    _named("--reasoning-parser"),
    Flag(("--default-chat-template-kwargs",), "json"),
    _choice(("--chat-template-content-format",), "auto", "string", "openai"),
    Flag(("--max-logprobs",), "int", at_least=-1),
    _choice(("--logprobs-mode",), "raw_logits", "raw_logprobs", "processed_logits", "processed_logprobs"),
    # Images, sounds and films
    Flag(("--limit-mm-per-prompt",), "json"),
    Flag(("--mm-processor-kwargs",), "json"),
    Flag(("--mm-processor-cache-gb",), "float", at_least=0),
    *_all("on", "--language-model-only"),
)

_REASONS = {
    "dmrc sets it": "--host --port --uds --served-model-name --runner --task --headless --api-server-count -asc "
    "--uvicorn-log-level --disable-uvicorn-access-log --disable-access-log-for-endpoints --disable-log-stats "
    "--enable-prompt-tokens-details --max-log-len --enable-log-requests --enable-log-outputs --disable-log-requests "
    "--enable-lora --max-loras --max-lora-rank --grpc --grpc-port --disable-fastapi-docs --root-path "
    "--response-role --enable-force-include-usage --fingerprint-mode --fingerprint-value --log-level",
    "it would break the gateway's way to the engine": "--api-key --ssl-keyfile --ssl-certfile --ssl-ca-certs "
    "--enable-ssl-refresh --ssl-cert-reqs --ssl-ciphers --allow-credentials --allowed-origins --allowed-methods "
    "--allowed-headers --enable-request-id-headers --return-tokens-as-token-ids --tokens-only --skip-tokenizer-init "
    "--enable-sleep-mode --sse-keep-alive-interval",
    "it would run code that the model brings, or that is named": "--trust-remote-code --tool-parser-plugin "
    "--reasoning-parser-plugin --middleware --logits-processors --io-processor-plugin --worker-cls "
    "--worker-extension-cls --scheduler-cls --tool-server --model-class-overrides",
    "a compose file may not name files of this machine": "--config --download-dir --allowed-local-media-path "
    "--log-config-file --hf-config-path --model-loader-extra-config --tokenizer --generation-config",
    "it would send words of requests over the network": "--otlp-traces-endpoint --collect-detailed-traces",
    "it would let requests load what they name": "--allowed-media-domains --trust-request-chat-template "
    "--trust-request-mm-kwargs --enable-prompt-embeds --enable-mm-embeds --media-io-kwargs",
    "dmrc runs one vLLM on one machine for a model": "--nnodes -n --node-rank -r --master-addr --master-port "
    "--distributed-executor-backend --data-parallel-size -dp --data-parallel-rank --data-parallel-address "
    "--data-parallel-rpc-port --data-parallel-backend --kv-transfer-config --ec-transfer-config --kv-events-config "
    "--device-ids",
    "the model is on this machine already": "--model --revision --code-revision --tokenizer-revision --hf-token",
    "write context_size: under the model instead": "--max-model-len",
    "write x-dmrc: {hf_overrides: {…}} under the model instead": "--hf-overrides",
    "write x-dmrc: {lora: ./adapter} under the model instead": "--lora-modules --default-mm-loras",
    "write x-dmrc: {draft: ai/smaller} under the model instead": "--speculative-config --speculative_config "
    "--speculative-model --num-speculative-tokens",
    "write x-dmrc: {chat_template: ./template.jinja} under the model instead": "--chat-template",
    "vLLM has removed it": "--swap-space --use-v2-block-manager --device",
}

FORBIDDEN = {name: reason for reason, names in _REASONS.items() for name in names.split()}
"""Flags that are refused, and why."""

FLAGS = _FLAGS
"""Those that a project may set."""

_TABLE = FlagTable(
    FLAGS, FORBIDDEN, example='["--enforce-eager"]', documentation="https://docs.vllm.ai/en/latest/cli/serve/"
)

parse = _TABLE.parse
