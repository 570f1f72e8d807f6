"""What the check of a request must know of the model that will answer it."""

from __future__ import annotations

from dmrc.dialects.chat.served import Served
from dmrc.scheduler.target import Target


def served_by(target: Target, model_key: str | None) -> Served:
    """Return what is known of what will answer."""
    model = target.model
    facts = model.facts if model is not None else None
    return Served(
        target.reference,
        target.server,
        template=target.template,
        context_size=target.context_size,
        trained_context=facts.context_length if facts else model.trained_context if model is not None else None,
        model_key=model_key,
        embedding_length=(facts.embedding_length or None) if facts else None,
        is_chat_model=facts.is_causal and not facts.pooling_type if facts else False,
    )
