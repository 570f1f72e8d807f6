"""Bodies and answers of the admin API. Its bodies are read strictly: nobody but dmrc's own commands sends them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model

from dmrc.gateway.projects.keys import NamedKey
from dmrc.gateway.routes.documents import AnswerDocument, Name
from dmrc.gateway.routes.json_forms import JsonForm, model_of
from dmrc.project import ServingOptions
from dmrc.project.model import Ready
from dmrc.projects import Registration

Seconds = int | float

# As `ModelDeclaration.to_json` writes it: its options stand beside its name.
_DECLARATION: Any = create_model(
    "ModelDeclaration", __base__=model_of(ServingOptions, key=Name, model=Name), ready=(Ready, Field(default=None))
)
OptionsForm = Annotated[ServingOptions, JsonForm(ServingOptions.from_json)]
"""How a model is served, as `ServingOptions.to_json` writes it."""

RegistrationForm = Annotated[
    Registration,
    JsonForm(
        Registration.from_document,
        models=dict[str, _DECLARATION],
        extensions=dict[str, dict[str, JsonValue]],
    ),
]
"""A project, as `Registration.to_json` writes it."""

KeyForm = Annotated[NamedKey, JsonForm(NamedKey.from_document)]
"""A key without itself: its hash, and what it opens."""


class AdminBody(BaseModel):
    """A body; what is not known is refused, for it may have been meant to do less."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Attach(AdminBody):
    """Where containers are."""

    docker_host: str = Field(examples=["unix:///var/run/docker.sock"], description="Address of a Docker engine")
    plain_port: bool = Field(default=False, description="Whether on port 80, too")


class Preload(AdminBody):
    """A model to load."""

    model: str = Field(examples=["ai/smollm2"], description="Its reference")


class UnloadBody(AdminBody):
    """The runners to end."""

    models: list[str] = Field(default=[], description="References or digests")
    all: bool = Field(default=False, description="Whether those of every model; `models` says nothing then")
    engine: str | None = Field(default=None, description="Only its runners end; null is any")
    wait: bool = Field(default=True, description="Whether the answer comes when those in use have ended, too")


class PulledModel(AdminBody):
    """A model that came."""

    reference: str
    digest: str
    size_bytes: int
    seconds: Seconds


class ConfigurationName(AdminBody):
    """Which configuration."""

    model: str = Field(examples=["ai/smollm2"], description="Reference of the model")
    project: str | None = Field(description="Compose project that it is for; null is every one")


class ConfigurationBody(ConfigurationName):
    """How a model is to be served."""

    options: OptionsForm = Field(description="What is set")
    replace: bool = Field(default=False, description="Whether what is not set here is forgotten")


class Done(AnswerDocument):
    """Nothing to tell."""


class RunnerEnd(AnswerDocument):
    """An end of a runner that nobody had asked for."""

    reference: str = Field(description="The model")
    cause: str
    at: Seconds = Field(description="Unix seconds")


class NetworkListener(AnswerDocument):
    """Where other machines come in."""

    address: str = Field(description="As `DMRC_LISTEN` says it")
    port: int
    url: str = Field(description="Base URL, by a name of the certificate where it is not for the address")
    expires_at: float | None = Field(description="When the certificate ends, in Unix seconds; null: plain HTTP")


class Status(AnswerDocument):
    """How the daemon is."""

    version: str
    pid: int
    home: str
    port: int
    addresses: list[str] = Field(description="Where it listens at that port")
    listen: NetworkListener | None = Field(description="Where other machines come in; null: nowhere")
    started_at: Seconds = Field(description="Unix seconds")
    projects: list[str]
    runners: int
    in_flight: int = Field(description="Calls that it answers, but this one")
    ended: list[RunnerEnd]
    faults: list[str] = Field(description="What fails on purpose, a line for each plan")
    exchanges_dropped: int


class Stopping(AnswerDocument):
    """Whether it ends now."""

    stopping: bool


class Attached(AnswerDocument):
    """Where containers reach the gateway."""

    address: str
    no_plain_port: str | None = Field(description="Why not on port 80, where it was wanted")


class ProjectDocument(AnswerDocument):
    """A project that is up."""

    name: str
    directory: str
    docker_host: str | None
    replay: dict[str, Any] | None = Field(
        default=None, description="What it is recorded or replayed with, where that holds for programs beside it, too"
    )


class PluginDocument(AnswerDocument):
    """A plugin and what came of it."""

    name: str
    version: str | None
    origin: str = Field(alias="from")
    project: str | None
    state: str
    reason: str | None
    hooks: list[str]
    calls: int
    errors: int
    mean_ms: Seconds | None
    dropped: int


class Registered(AnswerDocument):
    """What the project brought along."""

    plugins: list[PluginDocument]
    run: dict[str, Any] | None = Field(description="Its run with cassettes, and how many requests that missed before")


class ReplayReport(AnswerDocument):
    """What became of a recording or a replay."""

    project: str | None = Field(description="null: of the requests of no project")
    run: str = Field(description="Tells it from the runs before and after it")
    mode: str = Field(description="`record`, `replay` or `replay-or-record`")
    directory: str = Field(description="Where its cassettes lie")
    services: dict[str, dict[str, Any]] = Field(description="What was used, recorded and left out, by service")
    misses: list[dict[str, Any]] = Field(description="Requests that are not recorded, each with its first difference")
    trouble: str | None = Field(default=None, description="Why something is not written")


class Known(AnswerDocument):
    """Whether there was such a thing."""

    known: bool


class Flushed(AnswerDocument):
    """Whether all is on disk."""

    written: bool


class PageToken(AnswerDocument):
    """What opens the web page once."""

    path: str
    token: str


class HeldDevice(AnswerDocument):
    """What a runner holds of a graphics card."""

    name: str = Field(description="As the engine calls the card: `CUDA0`")
    description: str = Field(description="As its driver calls it")
    memory_bytes: int


class ReplicaDocument(AnswerDocument):
    """One of several servers of a runner's model."""

    name: str
    node: str | None = Field(description="The machine that it is on, where that is known")
    state: str = Field(description="`starting`, `ready` or `draining`")
    slots: int = Field(description="Requests that it serves at the same time")
    in_use: int


class RunnerDocument(AnswerDocument):
    """A runner; sizes are bytes, times Unix seconds."""

    id: str
    model: str
    model_name: str
    backend_name: str
    digest: str | None
    engine: str
    upstream: str | None
    mode: str
    state: str
    loading: bool
    context_size: int | None
    runtime_flags: list[str] = Field(description="What its engine was told beside")
    parallel: int | None
    in_use: int
    waiting: int
    replicas: list[ReplicaDocument] = Field(description="Who answers, where there are several; else none")
    memory_estimated_bytes: int | None
    memory_resident_bytes: int | None
    memory_device_bytes: int = Field(description="Of graphics cards, all together")
    memory_parts: dict[str, int] = Field(
        description="What its memory is for: `weights`, `context`, `buffers`, `prompt_cache`; empty where nobody counts"
    )
    devices: list[HeldDevice] = Field(description="The graphics cards that it holds memory of")
    processor: str | None = Field(
        description="`100% GPU`, `100% CPU`, or `48%/52% CPU/GPU`; null where another server computes"
    )
    notice: str | None = Field(description="What its users should know, in a sentence; null where there is nothing")
    prompt_cache_bytes: int | None
    prompt_tokens_computed: int | None
    prompt_tokens_reused: int | None
    began_at: Seconds
    load_seconds: Seconds | None
    last_used: Seconds
    keep_alive: str = Field(description="As Go writes a time; `-1` is for ever")
    keep_alive_seconds: Seconds
    expires_at: Seconds | None


class Loaded(RunnerDocument):
    """A runner that answers."""

    was_loaded: bool = Field(description="Whether it answered before")


class UnloadedRunners(AnswerDocument):
    """What came of it."""

    unloaded: list[str] = Field(description="References of the models whose runners end")
    unknown: list[str] = Field(description="Those that do not run, and are not in the store")


class Key(AnswerDocument):
    """A key, without its hash."""

    name: str
    scope: str = Field(description="What stands in the record where a service has its project")
    models: list[str] = Field(description="What it opens; none is all that the store has")
    created_at: Seconds


class AdminErrorDetails(AnswerDocument):
    """What failed."""

    kind: str = Field(description="Class of the error")
    message: str
    remedy: str | None
    log_tail: list[Any] = Field(description="Last lines of the log that tells more")


class AdminError(AnswerDocument):
    """An error."""

    error: AdminErrorDetails
