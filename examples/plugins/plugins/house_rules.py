"""The house rules of this project: how a service answers, and what nobody reads afterwards.

`x-dmrc-system-prompt` of a service is put before every conversation that it has. E-mail addresses are masked in what is
recorded; the model gets them as they are.
"""

import re

from dmrc import Exchange, Project, Request, hookimpl, mask

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
    """Mask addresses, wherever they stand in the record."""
    return mask(exchange, patterns=[ADDRESS])
