"""The Serve application of a model: what is deployed, and its removal. All block."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import ray
from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.schema import ApplicationStatus, LoggingConfig

from dmrc.gguf import format_size
from dmrc_ray.order import Needs, Order
from dmrc_ray.replica import LlamaServer

DEPLOYMENT = "llama-server"

_HEALTH_SECONDS = 1.0
_HEALTH_LIMIT_SECONDS = 5.0
_DRAIN_SECONDS = 600.0
_DRAIN_LOOK_SECONDS = 0.1
_METRICS_SECONDS = 0.5
_LOOK_BACK_SECONDS = 2.0
_MORE_SECONDS = 0.3  # Serve counts rounds of its controller, which on a busy machine take much longer than it thinks
_LESS_SECONDS = 10.0
_TRIES = 3
_ERROR = re.compile(r"[\w.]*(?:Error|Exception)\b.*: ")
_MISSING = re.compile(r"No module named '(dmrc\w*)")
_USABLE = (ApplicationStatus.RUNNING, ApplicationStatus.DEPLOYING, ApplicationStatus.UNHEALTHY)


def deploy(order: Order) -> None:
    """Begin to deploy the application, unless it is there. It is reached by handles only, and has no HTTP route."""
    serve.start(http_options={"location": "NoServer"})
    status = serve.status().applications.get(order.application)
    if status is not None and status.status in _USABLE:
        return
    if status is not None:
        serve.delete(order.application)
    target = serve.RunTarget(target=_bound(order), name=order.application, route_prefix=None)
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)


def remove(name: str) -> None:
    """Remove the application, and return when it is gone."""
    if name in serve.status().applications:
        serve.delete(name)


def failure(name: str) -> str | None:
    """Return why it could not be deployed; None where it was, or is about to be."""
    status = serve.status().applications.get(name)
    if status is None or status.status != ApplicationStatus.DEPLOY_FAILED:
        return None
    said = [each.message for each in status.deployments.values() if each.message]
    return telling(" ".join(said) or status.message or "Ray Serve does not say why")


def telling(text: str) -> str:
    """Return the one line of Ray's report, which has the stacks of several processes, that says what is wrong."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    line = (errors or lines or ["no reason is known"])[-1]
    missing = _MISSING.search(line)
    return f"a node of the cluster has no {missing[1]}: pip install dmrc-ray there" if missing else line[:400]


def no_room(needs: Needs) -> str:
    """Return that no node takes a replica, with what it needs and what there is."""
    wanted = f"{needs.cpus:g} processors and {format_size(needs.memory_bytes)} of memory"
    if needs.gpus:
        wanted += f" and {needs.gpus:g} graphics cards"
    free = ray.available_resources()
    there = f"{free.get('CPU', 0):g} processors and {format_size(int(free.get('memory', 0)))}"
    return f"no node of the cluster has room for a replica, which takes {wanted}; all together have {there} free"


def _bound(order: Order) -> Any:
    needs = order.needs
    gpus = needs.gpus if needs.gpus is not None else float(ray.cluster_resources().get("GPU", 0) > 0)
    deployment = serve.deployment(
        name=DEPLOYMENT,
        max_ongoing_requests=order.work.parallel,
        max_queued_requests=-1,
        ray_actor_options={"num_cpus": needs.cpus, "num_gpus": gpus, "memory": needs.memory_bytes},
        health_check_period_s=_HEALTH_SECONDS,
        health_check_timeout_s=_HEALTH_LIMIT_SECONDS,
        graceful_shutdown_timeout_s=_DRAIN_SECONDS,
        graceful_shutdown_wait_loop_s=_DRAIN_LOOK_SECONDS,
        request_router_config=RequestRouterConfig(
            request_router_class="dmrc_ray.router:SessionRouter",
            # A slot that becomes free is noticed by looking again: by itself Serve would look twice a second.
            initial_backoff_s=0.01,
            backoff_multiplier=1.5,
            max_backoff_s=0.05,
        ),
        logging_config=LoggingConfig(enable_access_log=False),
        max_constructor_retry_count=_TRIES,
        **_number(order),
    )(LlamaServer)
    return deployment.bind(asdict(order.work), order.application, gpus > 0)


def _number(order: Order) -> dict[str, Any]:
    """Return how many replicas there are. Delays are short: a person waits, and a replica starts in seconds."""
    if order.least == order.most:
        return {"num_replicas": order.most}
    return {
        "autoscaling_config": {
            "min_replicas": order.least,
            "initial_replicas": max(order.least, 1),
            "max_replicas": order.most,
            "target_ongoing_requests": order.target,
            "metrics_interval_s": _METRICS_SECONDS,
            "look_back_period_s": _LOOK_BACK_SECONDS,
            "upscale_delay_s": _MORE_SECONDS,
            "downscale_delay_s": _LESS_SECONDS,
        }
    }
