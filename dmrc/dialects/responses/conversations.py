"""What a response goes on from: the last responses of one project, with all that was said before each, in memory."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

from dmrc.errors import NotFoundError
from dmrc.exchange import JsonValue
from dmrc.json_values import items_of

_KEPT = 500
_KEPT_BYTES = 16 << 20

Items = list[JsonValue]
"""Messages, calls, results and thoughts, as the Responses have them."""


class Conversations:
    """What was said before each of the last responses of one project, in memory; the oldest go first."""

    def __init__(self, longest: int = _KEPT, largest_bytes: int = _KEPT_BYTES) -> None:
        """Keep so many, of so many bytes in all."""
        self._longest = longest
        self._largest_bytes = largest_bytes
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._bytes = 0
        self._responses_of_items: dict[str, str] = {}

    def put(self, response_id: str, items: Items, response: dict[str, JsonValue]) -> None:
        """Remember a response, and the conversation up to it; one that is too large alone is not."""
        text = json.dumps([items, response])
        if len(text) > self._largest_bytes:
            return
        self._bytes += len(text) - len(self._texts.pop(response_id, ""))
        self._texts[response_id] = text
        for item in items_of(response.get("output")):
            if isinstance(item_id := item.get("id"), str):
                self._responses_of_items[item_id] = response_id
        while len(self._texts) > self._longest or self._bytes > self._largest_bytes:
            self.forget(next(iter(self._texts)))

    def get(self, response_id: str) -> Items:
        """Return a conversation up to and with a response; raises as `response` does."""
        items, response = self._find(response_id)
        return [*items, *response["output"]]

    def asked(self, response_id: str) -> Items:
        """Return the conversation up to a response; raises as `response` does."""
        return self._find(response_id)[0]

    def response(self, response_id: str) -> dict[str, JsonValue]:
        """Return a response.

        Raises:
            NotFoundError: It is not remembered.
        """
        return self._find(response_id)[1]

    def item(self, item_id: str) -> dict[str, JsonValue]:
        """Return what a response said, by the id of the item.

        Raises:
            NotFoundError: It is not remembered.
        """
        response_id = self._responses_of_items.get(item_id)
        if response_id is None:
            raise self._not_found("item", item_id)
        output = items_of(self.response(response_id).get("output"))
        return next(item for item in output if item.get("id") == item_id)

    def forget(self, response_id: str) -> None:
        """Remember a response no longer; raises as `response` does."""
        _, response = self._find(response_id)
        self._bytes -= len(self._texts.pop(response_id))
        for item in items_of(response.get("output")):
            self._responses_of_items.pop(str(item.get("id")), None)

    def _find(self, response_id: str) -> tuple[Items, dict[str, Any]]:
        text = self._texts.get(response_id)
        if text is None:
            raise self._not_found("response", response_id)
        items, response = json.loads(text)
        return items, response

    def _not_found(self, what: str, name: str) -> NotFoundError:
        return NotFoundError(
            f"{what} '{name[:80]}' is not remembered",
            remedy=f"dmrc keeps the last {self._longest} responses in memory; send the whole conversation as 'input'",
        )
