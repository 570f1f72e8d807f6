"""Every way in which dmrc can fail on purpose, with its exit code and its HTTP status.

An error is one line: what failed (with its name), why, and what to do next. Data that a
caller may need is an attribute; no logic reads the text.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping


class DmrcError(Exception):
    """Something that a user can cause and can put right."""

    exit_code = 1
    """Exit code of the command line: the table of docs/commands.md."""
    http_status = 500
    """Status when the same error reaches an HTTP client."""
    error_type = "server_error"
    """Machine-readable kind, `error.type` in JSON answers."""
    quotes_request = False
    """Whether the message may hold words of a request, or of what an engine or a plugin said of it."""
    code: str | None = None
    """OpenAI's name of what happened, `error.code` in its answers, where clients know one."""
    retry_after_seconds: int | None = None
    """When a retry makes sense; None does not say."""
    http_headers: Mapping[str, str] = {}
    """Headers that belong to that status."""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        """Say what failed and why in `message`, and what to do next in `remedy`."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.log_tail: tuple[str, ...] = ()
        """Last lines of the log that tells more, where there is one; shown above the error."""

    def __str__(self) -> str:
        """Return the one line that a person reads."""
        if self.remedy is None:
            return self.message
        return f"{self.message.rstrip('.')}. {self.remedy}"


class InputError(DmrcError):
    """What the user wrote cannot be meant."""

    exit_code = 2
    http_status = 400
    error_type = "invalid_request_error"
    quotes_request = True


class HttpInputError(InputError):
    """An HTTP request that is refused for its form: too large, too slow, or in an encoding that dmrc does not read."""

    def __init__(
        self, message: str, *, status: int = 400, remedy: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Refuse with the status that HTTP has for it, as 408, 413, 414, 415 or 431, and the `headers` it wants."""
        super().__init__(message, remedy=remedy)
        self.http_status = status
        self.http_headers = headers or {}


class ContextLengthError(InputError):
    """A request has more tokens than a model's context."""

    error_type = "exceed_context_size_error"
    code = "context_length_exceeded"

    def __init__(
        self, message: str, *, prompt_tokens: int | None, context_tokens: int | None, remedy: str | None = None
    ) -> None:
        """Refuse `prompt_tokens` where there is room for `context_tokens`; None where the engine does not say."""
        super().__init__(message, remedy=remedy)
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class ThreadError(InputError):
    """A conversation that dmrc is asked to keep, which Anthropic does; clients do without where they are told so."""

    code = "thread_unsupported_request"


class SettingError(InputError):
    """An environment variable of dmrc holds something that it cannot hold."""


class InvalidReferenceError(InputError):
    """A model reference that cannot be parsed."""


class ProjectError(InputError):
    """A compose project that cannot be read, or declares something impossible."""


class RuntimeFlagError(InputError):
    """A runtime flag that is unknown, forbidden, or has a bad value."""


class GgufError(InputError):
    """A file that is not GGUF, or whose header lies."""


class SafetensorsError(InputError):
    """A file that is not in the format safetensors, or not whole."""


class ArtifactError(InputError):
    """An OCI manifest or config that is no model, or is not to be trusted."""


class FormatError(InputError):
    """A model that is in another format than the ones that are wanted."""

    def __init__(self, name: str, model_format: str, *, remedy: str | None = None) -> None:
        """Refuse model `name`, which is in `model_format`."""
        super().__init__(f"model '{name}' is in the format '{model_format}', which is not wanted here", remedy=remedy)
        self.name = name
        self.model_format = model_format


class PluginError(DmrcError):
    """A plugin that cannot be loaded or implements a hook that does not exist."""


class StoreError(DmrcError):
    """The model store, or the state directory around it, cannot be used."""


class ConflictError(StoreError):
    """What is in use, or has several names, and was not asked for by force."""

    http_status = 409


class DaemonError(DmrcError):
    """The daemon does not start, or does not answer."""

    http_status = 503


class DaemonNotRunningError(DaemonError):
    """No daemon serves the state directory: nobody holds its lock."""


class DaemonRunningError(DaemonError):
    """Another daemon serves the same state directory."""


class PortTakenError(DaemonError):
    """Another process listens where the gateway should."""


class NotFoundError(DmrcError):
    """The thing asked for is not there."""

    exit_code = 3
    http_status = 404
    error_type = "not_found_error"


class ModelNotFoundError(NotFoundError):
    """No such model, in the store or in the registry that was asked."""

    code = "model_not_found"


class RegistryError(DmrcError):
    """A registry, or the network on the way to it, failed."""

    exit_code = 4
    http_status = 502


class RegistryAuthError(RegistryError):
    """A registry wants credentials that we do not have, or refuses ours."""


class DigestMismatchError(RegistryError):
    """The bytes received are not the bytes that the digest names."""


class CancelledError(DmrcError):
    """What was under way was cancelled by who had asked for it, or by who runs dmrc."""

    exit_code = 130
    http_status = 499
    error_type = "cancelled"


class EngineError(DmrcError):
    """An engine failed."""

    exit_code = 5
    http_status = 500


class EngineStartError(EngineError):
    """An engine child ended, or never became ready; the message says why."""


class BuildError(EngineError):
    """A build of an engine does not work on this machine."""


class UnsupportedError(EngineError):
    """An engine cannot do what is asked of it; another one may."""

    http_status = 501
    error_type = "not_supported_error"
    quotes_request = True


class EngineAnswerError(EngineError):
    """An engine or an upstream answered with an error, or broke off with one: its words, status and kind."""

    quotes_request = True

    def __init__(
        self,
        message: str,
        *,
        status: int = 500,
        error_type: str = "server_error",
        code: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        """Answer with what it said."""
        super().__init__(message)
        self.http_status = status
        self.error_type = error_type
        self.code = code
        self.retry_after_seconds = retry_after_seconds


class UpstreamError(EngineError):
    """The server that serves a model instead of an engine of ours cannot be used."""

    http_status = 502


class InsufficientMemoryError(EngineError):
    """A model with its context does not fit the memory there is."""

    http_status = 503


class BusyError(EngineError):
    """Too many requests wait already; `retry_after_seconds` says when to come back."""

    http_status = 503
    error_type = "overloaded_error"

    def __init__(self, message: str, *, retry_after_seconds: int, remedy: str | None = None) -> None:
        """Refuse with the time after which a retry makes sense."""
        super().__init__(message, remedy=remedy)
        self.retry_after_seconds = retry_after_seconds


class RefusedError(DmrcError):
    """A plugin refused a request, in words and with a status of its own."""

    quotes_request = True

    def __init__(self, message: str, *, status: int, error_type: str, retry_after_seconds: int | None = None) -> None:
        """Refuse; `retry_after_seconds` says when a retry makes sense, None that the answer does not say."""
        super().__init__(message)
        self.http_status = status
        self.error_type = error_type
        self.retry_after_seconds = retry_after_seconds


class DockerError(DmrcError):
    """Docker or Compose is missing, unreachable, too old, or refused."""

    exit_code = 6


class AuthenticationError(DmrcError):
    """A request without a key where one is needed, or with one that is not valid."""

    code = "invalid_api_key"
    http_status = 401
    error_type = "authentication_error"


class PermissionDeniedError(DmrcError):
    """A request that is known but not allowed."""

    http_status = 403
    error_type = "permission_error"


def where(error: BaseException) -> str:
    """Return the kind of an unexpected error and where it was raised; not its message, which may quote a request."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}".rstrip()
