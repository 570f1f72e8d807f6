"""How Serve chooses a replica: requests of one session go where the last one went, and others where least is to do."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

if TYPE_CHECKING:
    from ray.serve._private.request_router.common import PendingRequest
    from ray.serve._private.request_router.replica_wrapper import RunningReplica

_COMPARED = 4


class SessionRouter(ConsistentHashRouter):
    """Serve's router for sessions, by which a request without one would go anywhere, however much is to do there."""

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Return the replicas to try, best first; of several in one list the one with the shortest queue is taken."""
        if pending_request is not None and not pending_request.metadata.session_id and candidate_replicas:
            pending_request.routing_context.should_backoff = True
            return [random.sample(candidate_replicas, min(len(candidate_replicas), _COMPARED))]
        return await super().choose_replicas(candidate_replicas, pending_request)
