"""Plain completions, as OpenAI has them and llama.cpp's server has not: what is checked before, and put right after.

Source: https://platform.openai.com/docs/api-reference/completions/create
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dmrc.dialects.chat.fixes import Fix
from dmrc.dialects.chat.messages import shown
from dmrc.dialects.chat.schemas import kept_schema
from dmrc.dialects.openai.fields import refuse_fields
from dmrc.errors import InputError
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from dmrc.json_values import items_of, object_of

_MOST_LOGPROBS = 20


def checked_completion(document: JsonObject) -> tuple[JsonObject, list[Fix]]:
    """Return the fields of a request to change, None being left out, and what is put right in its answer.

    Raises:
        InputError: It cannot be meant, or not here; what, is named.
    """
    refuse_fields(document, is_chat=False)
    prompt = document.get("prompt")
    if not isinstance(prompt, str | list | dict):
        raise InputError(f"'prompt' is {shown(prompt)}", remedy="Send a text, or a list of texts")
    # Their mere presence is an error to the engine.
    changes: JsonObject = {name: None for name in ("best_of", "suffix") if name in document}
    fixes: list[Fix] = []
    if (wanted := document.get("logprobs")) is not None:
        if isinstance(wanted, bool) or not isinstance(wanted, int) or not 0 <= wanted <= _MOST_LOGPROBS:
            raise InputError(f"'logprobs' is {shown(wanted)}", remedy=f"Send a number of tokens up to {_MOST_LOGPROBS}")
        changes |= {"logprobs": None, "n_probs": max(wanted, 1)}
        fixes.append(Logprobs(wanted))
    if document.get("echo"):
        if wanted is not None:
            raise InputError("'echo' with 'logprobs' is not supported: the prompt's tokens have no probabilities here")
        fixes.append(Echo(_texts(prompt), document.get("n")))
    if "echo" in document:
        changes["echo"] = None
    schema = document.get("json_schema")
    if (kept := kept_schema(schema, "json_schema")) is not schema:
        changes["json_schema"] = kept
    return changes, fixes


class Logprobs:
    """Tells probabilities in the shape of completions, which is not that of chats; see `Fix`."""

    def __init__(self, most: int) -> None:
        """Tell so many tokens beside the one that was chosen; with 0 only that one."""
        self._most = most
        self._offsets: dict[JsonValue, int] = {}

    def whole(self, document: JsonObject) -> JsonObject:
        """Return the answer with its probabilities."""
        for choice in items_of(document.get("choices")):
            choice["logprobs"] = self._told(choice)
        return document

    def event(self, document: JsonObject) -> Iterator[JsonObject]:
        """Yield the event with its probabilities."""
        yield self.whole(document)

    def _told(self, choice: JsonObject) -> JsonValue:
        tokens = items_of(object_of(choice.get("logprobs")).get("content"))
        if not tokens:
            return None
        offset, offsets = self._offsets.get(choice.get("index"), 0), list[JsonValue]()
        for token in tokens:
            offsets.append(offset)
            offset += len(str(token.get("token")))
        self._offsets[choice.get("index")] = offset
        top: list[JsonValue] = [
            {str(one.get("token")): one.get("logprob") for one in items_of(token.get("top_logprobs"))[: self._most]}
            for token in tokens
        ]
        return {
            "tokens": [token.get("token") for token in tokens],
            "token_logprobs": [token.get("logprob") for token in tokens],
            "top_logprobs": top if self._most else None,
            "text_offset": offsets,
        }


class Echo:
    """Puts the prompt before each answer to it; see `Fix`."""

    def __init__(self, prompts: Sequence[str], answers: JsonValue) -> None:
        """Know the prompts; each has so many `answers` (`n`)."""
        self._prompts = prompts
        self._answers = answers if isinstance(answers, int) and answers > 0 else 1
        self._begun: set[JsonValue] = set()

    def whole(self, document: JsonObject) -> JsonObject:
        """Return the answer with its prompts."""
        for choice in items_of(document.get("choices")):
            index = choice.get("index")
            if index not in self._begun and isinstance(index, int):
                self._begun.add(index)
                choice["text"] = f"{self._prompts[index // self._answers]}{choice.get('text') or ''}"
        return document

    def event(self, document: JsonObject) -> Iterator[JsonObject]:
        """Yield the event, the first of each answer with its prompt."""
        yield self.whole(document)


def _texts(prompt: JsonValue) -> list[str]:
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if not all(isinstance(one, str) for one in prompts):
        raise InputError("'echo' needs a 'prompt' of text", remedy="Send the text, not its tokens")
    return [str(one) for one in prompts]
