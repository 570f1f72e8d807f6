"""Docker Model Runner's routes for configuration, as its clients call them. On loopback only, and without a key.

Source: https://github.com/docker/model-runner/blob/main/pkg/inference/scheduling/http_handler.go (`Configure`)
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from dmrc.errors import InputError, ModelNotFoundError, PermissionDeniedError
from dmrc.fields import mapping, positive, strings, text
from dmrc.gateway.server.admission import Admission
from dmrc.gateway.server.request_bodies import document_of
from dmrc.gateway.serving.configure import Configurator
from dmrc.project import Mode, ServingOptions, parse_keep_alive

_MODES: Mapping[str, Mode] = {"completion": "completion", "embedding": "embedding", "reranking": "rerank"}


def add_configure_routes(app: FastAPI, admission: Admission, configurator: Configurator) -> None:
    """Add `POST` and `GET /engines/_configure`, and the same with an engine in the path."""

    def admit(request: Request) -> None:
        caller = admission.admit(request.scope)
        if caller is not None or request.scope["dmrc.listener"] != "loopback":
            raise PermissionDeniedError("a service may not configure models", remedy="Run: dmrc configure")

    async def configure(request: Request) -> Response:
        """Set what the body says, in place of what was set; Docker Model Runner refuses a busy model, too."""
        admit(request)
        document = await document_of(request)
        engine = request.path_params.get("engine")
        model, options = text(document.get("model"), "model"), _options(document, engine)
        await configurator.configure(model, None, options, replace=True)
        return Response(status_code=202)

    def configurations(request: Request) -> Response:
        admit(request)
        try:
            return JSONResponse(configurator.show(request.query_params.get("model")))
        except ModelNotFoundError:
            return JSONResponse([])

    for path in ("/engines/_configure", "/engines/{engine}/_configure"):
        app.add_api_route(path, configure, methods=["POST"], response_model=None)
        app.add_api_route(path, configurations, methods=["GET"], response_model=None)


def _options(document: Mapping[str, object], engine: str | None) -> ServingOptions:
    """Read what `POST /engines/_configure` is sent; a context size below 1 is none, as for `docker model configure`.

    Shape: `{"model", "mode", "context-size", "runtime-flags", "raw-runtime-flags", "keep_alive", "llamacpp":
    {"reasoning-budget"}, "speculative": {"draft_model", "num_tokens", "min_acceptance_rate"}}`

    Raises:
        InputError: A field has a bad value, or is not for llama.cpp.
    """
    if document.get("vllm"):
        raise InputError("'vllm' cannot be configured here", remedy="Send context-size and runtime-flags")
    mode = document.get("mode")
    if mode is not None and not (isinstance(mode, str) and mode in _MODES):
        raise InputError(f"mode is {mode!r}", remedy=f"Use {', '.join(_MODES)}")
    budget = mapping(document.get("llamacpp"), "llamacpp").get("reasoning-budget")
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < -1):
        raise InputError(f"llamacpp.reasoning-budget is {budget!r}", remedy="Use a number of tokens, 0 or -1")
    raw = document.get("raw-runtime-flags")
    flags = _split(raw) if isinstance(raw, str) else strings(document.get("runtime-flags"), "runtime-flags")
    context_size = document.get("context-size")
    draft = mapping(document.get("speculative"), "speculative")
    return ServingOptions(
        context_size=None if _is_default(context_size) else positive(context_size, "context-size"),
        runtime_flags=flags or None,
        keep_alive_seconds=parse_keep_alive(document.get("keep_alive"), "keep_alive"),
        engine=engine,
        mode=None if mode is None else _MODES[mode],
        reasoning_budget=budget,
        draft=text(draft["draft_model"], "speculative.draft_model") if draft.get("draft_model") else None,
        draft_tokens=positive(draft.get("num_tokens") or None, "speculative.num_tokens"),
        draft_acceptance=_rate(draft.get("min_acceptance_rate") or None, "speculative.min_acceptance_rate"),
    )


def _split(flags: str) -> tuple[str, ...]:
    """Return the flags of a line, as a shell splits them."""
    try:
        return tuple(shlex.split(flags))
    except ValueError as error:
        raise InputError(f"raw-runtime-flags is {flags!r}: {error}", remedy="Close the quotation") from error


def _is_default(context_size: object) -> bool:
    return isinstance(context_size, int) and context_size < 1


def _rate(value: object, where: str) -> float | None:
    """Return a number from 0 to 1; None stays None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f"{where} is {value!r}", remedy="Use a number from 0 to 1")
    return float(value)
