"""What an engine's error answer means for the caller: whose fault it is, and what to do next.

llama.cpp's server answers 500 to much that the caller wrote, and clients repeat a 500.

Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/server.cpp (`ex_wrapper`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dmrc.dialects.chat.answers import error_message, json_object
from dmrc.dialects.chat.served import Served
from dmrc.errors import ContextLengthError, DmrcError, EngineAnswerError, UnsupportedError
from dmrc.exchange import JsonValue
from dmrc.json_values import object_of
from dmrc.retry_after import retry_after_seconds

_TOO_LONG = "exceed_context_size_error"
_TOO_LARGE = re.compile(r"input(?: \((\d+) tokens\))? is (?:too large to process|larger than the max context size)")
# vLLM's words; of a very long text it has counted the characters only.
# Source: https://github.com/vllm-project/vllm/blob/main/vllm/renderers/params.py
_TOO_LONG_FOR_VLLM = re.compile(
    r"maximum context length is (\d+) tokens\b"
    r"(?:.*?(?:contains|requested|resulted in) (?:at least )?(\d+) (?:input )?tokens)?"
)
UNPARSED = b"The model produced output that does not match"
"""How llama.cpp says that it cannot read the calls of tools out of what the model said."""

# What llama.cpp says of requests that cannot be meant, with status 500: its handler throws it before anything runs.
_CALLERS = re.compile(
    "|".join(
        (
            r"Failed to parse (?:messages|tools|tool call arguments|input|grammar)",
            r"\[json\.exception\.",
            r"parse error",
            r"raise_exception|Jinja Exception|(?:Error|While) executing|Unknown (?:filter|method|operator|statement)",
            r"(?:Un|un)supported",
            r"(?:is|are) not supported",
            r"Only no echo",
            r"is required|must (?:be|not be|contain)|requires",
            r"Cannot (?:use|specify|set|have|continue)",
            r"Invalid|invalid",
            r"JSON schema|json_schema|grammar",
            r"Failed to (?:load image|download|tokenize)",
            r"Unable to generate parser",
        )
    )
)
_NO_PARSER = "--tool-call-parser to be set"
_ROOM_FOR_AN_ANSWER = 512
_STEP = 1024
_LONGEST_MESSAGE = 600


def engine_error(status: int, headers: Mapping[str, str], body: bytes, served: Served, path: str) -> DmrcError:
    """Return what to tell the caller of an answer with this status, 400 or above, to a request at `path`."""
    document = json_object(body)
    error = object_of(document.get("error"))
    message = error_message(document) if document else body.decode("utf-8", "replace").strip()
    kind, code = error.get("type"), error.get("code")
    match = _TOO_LARGE.search(message)
    if kind == _TOO_LONG or code == ContextLengthError.code or match:
        given = _number(error.get("n_prompt_tokens")) or (int(match[1]) if match and match[1] else None)
        return too_long(message, given, _number(error.get("n_ctx")) or served.context_size, served)
    if (long := _TOO_LONG_FOR_VLLM.search(message)) and not served.is_upstream:
        return too_long(message, int(long[2]) if long[2] else None, int(long[1]), served)
    if served.is_vllm and _NO_PARSER in message:
        return UnsupportedError(
            f"model '{served.reference}' calls no tools yet: vLLM is not told how it writes a call",
            remedy='Write runtime_flags: ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"], for example',
        )
    if served.is_llama_cpp and status >= 500 and UNPARSED not in body and _CALLERS.search(message):
        status, kind = 400, "invalid_request_error"
    return EngineAnswerError(
        message[:_LONGEST_MESSAGE] or f"the engine of model '{served.reference}' answered {status} to {path}",
        status=status,
        error_type=kind if isinstance(kind, str) else "server_error" if status >= 500 else "invalid_request_error",
        code=code if isinstance(code, str) else None,
        retry_after_seconds=retry_after_seconds(headers.get("retry-after", "")),
    )


def is_unparsed(status: int, body: bytes) -> bool:
    """Return whether llama.cpp could not read the calls of tools out of what the model said."""
    return status == 500 and UNPARSED in body


def too_long(message: str, given: int | None, limit: int | None, served: Served) -> ContextLengthError:
    """Return the error for a request of so many tokens: the number that would do, and where to write it."""
    if served.is_upstream or given is None or limit is None:
        return ContextLengthError(message, prompt_tokens=given, context_tokens=limit)
    return ContextLengthError(
        f"the request ({given} tokens) exceeds the available context size ({limit} tokens) "
        f"of model '{served.reference}'",
        prompt_tokens=given,
        context_tokens=limit,
        remedy=_remedy(given, served),
    )


def _remedy(given: int, served: Served) -> str:
    enough = -(-(given + _ROOM_FOR_AN_ANSWER) // _STEP) * _STEP
    trained = served.trained_context
    if trained is not None and trained <= given:
        return f"Send less: the model was trained for {trained}"
    enough = min(enough, trained or enough)
    key = f"models.{served.model_key}" if served.model_key else "the model in compose.yaml"
    return f"Write context_size: {enough} under {key}, or: dmrc configure --context-size {enough} {served.reference}"


def _number(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
