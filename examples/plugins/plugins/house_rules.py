"""The house rules of this project: how a service answers, and what nobody reads afterwards.

`x-dmrc-system-prompt` of a service is put before every conversation that it has. E-mail addresses are masked in what is
recorded; the model gets them as they are.
"""

import json
import re
from dataclasses import replace

from dmrc import Exchange, Project, Request, hookimpl

ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


@hookimpl
async def dmrc_request(exchange: Exchange, request: Request, project: Project | None) -> Request | None:
    """Put the service's system prompt before the conversation."""
    if project is None or exchange.service is None or exchange.operation != "chat":
        return None
    prompt = project.services[exchange.service].extensions.get("x-dmrc-system-prompt")
    messages = request.body.get("messages")
    if prompt is None or not isinstance(messages, list):
        return None
    messages.insert(0, {"role": "system", "content": prompt})
    return request.annotated(system_prompt=prompt)


@hookimpl
def dmrc_filter_capture(exchange: Exchange) -> Exchange:
    """Mask addresses. One may be cut in two between the events of a stream, so of a stream no words are kept."""
    answer = b"" if exchange.stream else masked(exchange.response_body)
    return replace(exchange, request_body=masked(exchange.request_body), response_body=answer)


def masked(body: bytes) -> bytes:
    """Return JSON with its addresses masked, and nothing of what is no JSON."""
    try:
        return json.dumps(mask(json.loads(body))).encode()
    except ValueError:
        return b""


def mask(value: object) -> object:
    """Return a JSON value with the addresses in its texts masked."""
    if isinstance(value, str):
        return ADDRESS.sub("[e-mail]", value)
    if isinstance(value, list):
        return [mask(item) for item in value]
    if isinstance(value, dict):
        return {key: mask(item) for key, item in value.items()}
    return value
