"""The GGUF repositories on Hugging Face."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dmrc.errors import RegistryError
from dmrc.sources import huggingface_client
from dmrc.sources.search import SearchResult, count, shortened

if TYPE_CHECKING:
    import huggingface_hub
    from huggingface_hub.hf_api import ExpandModelProperty_T


def search_hugging_face(term: str, limit: int) -> list[SearchResult]:
    """Return GGUF repositories that Hugging Face finds for the term, the most downloaded first.

    `HF_ENDPOINT` and `HF_TOKEN` mean what they mean to huggingface_hub, which does the work.

    Raises:
        RegistryError: Hugging Face cannot be reached, or refuses.
    """
    facts: list[ExpandModelProperty_T] = ["downloads", "likes", "lastModified", "pipeline_tag", "usedStorage", "gguf"]
    api = huggingface_client.api()
    query = partial(api.list_models, search=term or None, filter="gguf", sort="downloads")
    try:
        models = list(query(limit=limit, expand=[*facts, "private"]))
    # Its HTTP library, whose errors come through, is another one from version to version.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        way = huggingface_client.way_to(api.endpoint)
        raise RegistryError(f"Hugging Face cannot be searched{way}: {reason[0]}") from error
    return [_of_hugging_face(model) for model in models if not model.private]


def _of_hugging_face(model: huggingface_hub.ModelInfo) -> SearchResult:
    gguf = model.gguf or {}
    parameters = count(gguf.get("total"))
    facts = (model.pipeline_tag, gguf.get("architecture"), f"{parameters / 1e9:.2f} B" if parameters else None)
    return SearchResult(
        name=f"hf.co/{model.id}",
        description=shortened(", ".join(str(fact) for fact in facts if fact)),
        downloads=count(model.downloads),
        stars=count(model.likes),
        source="HuggingFace",
        updated_at=model.last_modified.isoformat() if model.last_modified else "",
        size_bytes=count(model.used_storage),
    )
