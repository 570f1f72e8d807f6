"""What a check must know of the model and the engine that will answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from dmrc.answer import ServerKind

_BLOCK = re.compile(r"\{[{%](.*?)[%}]\}", re.DOTALL)
_TEXT = re.compile(r"'[^']*'|\"[^\"]*\"")
_TOOLS = re.compile(r"\btools\b")


@dataclass(frozen=True, slots=True)
class Served:
    """One model behind one engine."""

    reference: str
    """Name of the model, for messages."""
    server: ServerKind
    """Whose server will answer."""
    template: str | None = None
    """Source of the chat template; an empty one where the model has none, None where it is not known."""
    context_size: int | None = None
    """Tokens that one request may use; None where it is not known."""
    trained_context: int | None = None
    """Tokens that the model was trained for; None where it is not known."""
    model_key: str | None = None
    """Key in the project's `models:`, where the caller has a project."""
    embedding_length: int | None = None
    """Numbers in one embedding; None where it is not known."""
    is_chat_model: bool = False
    """Whether it was made to write text, as far as its header tells, and not for embeddings."""

    @property
    def is_llama_cpp(self) -> bool:
        """Return whether llama.cpp's server answers: what it drops in silence, and what it cannot do, is known."""
        return self.server == "llama-server"

    @property
    def is_vllm(self) -> bool:
        """Return whether vLLM's server answers, of which the same is known."""
        return self.server == "vllm"

    @property
    def keeps_schemas(self) -> bool:
        """Return whether the server binds an answer to a JSON schema, of which a call that is wanted is made."""
        return self.is_llama_cpp or self.is_vllm

    @property
    def is_upstream(self) -> bool:
        """Return whether a server of somebody else's answers: what it does not know, it refuses itself."""
        return self.server == "upstream"

    @property
    def drops_tools(self) -> bool:
        """Return whether tools of a request would be left out of the prompt."""
        return self.keeps_schemas and self.template is not None and not takes_tools(self.template)


@lru_cache(maxsize=64)
def takes_tools(template: str) -> bool:
    """Return whether a chat template reads the variable `tools`; words about tools are none."""
    return any(_TOOLS.search(_TEXT.sub("", block)) for block in _BLOCK.findall(template))
