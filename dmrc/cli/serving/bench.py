"""`dmrc bench`: how fast a model answers, alone and side by side."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from dmrc.cli.app import App, pass_app
from dmrc.cli.options import json_option, model_name
from dmrc.threads import result_of

if TYPE_CHECKING:
    from dmrc.fields import JsonObject

_PROMPT = "Tell the story of a lighthouse keeper who finds a message in a bottle, in as many words as you like. " * 8


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked again and again."""

    port: int
    """Of the gateway on loopback."""
    model: str
    """As the user named it."""
    prompt: str
    """The one message."""
    tokens: int
    """At most in each answer."""
    duration_seconds: float
    """No request begins after this."""
    timeout_seconds: float
    """For one answer."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One answer."""

    tokens: int
    """Generated."""
    prefill: float | None
    """Tokens of the prompt per second, where the engine says."""
    decode: float | None
    """Generated tokens per second, where the engine says."""


@click.command(epilog="Example: dmrc bench ai/smollm2 --concurrency 1,4 --duration 10s")
@click.option("--prompt", default=_PROMPT, metavar="TEXT", help="The question. [a text of 170 tokens]")
@click.option("--tokens", type=click.IntRange(1), default=128, show_default=True, help="Tokens of an answer, at most.")
@click.option("--concurrency", default="1,2,4", metavar="N,N…", show_default=True, help="Requests at the same time.")
@click.option("--duration", default="10s", metavar="TIME", show_default=True, help="How long to ask, at each of them.")
@click.option("--timeout", default="5m", metavar="TIME", show_default=True, help="For one answer.")
@json_option
@click.argument("model", type=model_name)
@pass_app
def bench(app: App, /, model: str, concurrency: str, as_json: bool, prompt: str, tokens: int, **times: str) -> None:
    """Ask a model again and again, and print how fast it reads (prefill) and answers (decode).

    PREFILL and DECODE are the median of single requests, as the engine measured them; TOKENS/S is what all answers
    together had. The prompt is read anew each time. A missing model is pulled first.
    """
    from dmrc.cli.progress import PullProgress, spinner
    from dmrc.project import parse_keep_alive

    levels = _levels(concurrency)
    duration, timeout = (parse_keep_alive(times[name], f"--{name}") or 0.0 for name in ("duration", "timeout"))
    load = Load(app.settings.port, model, prompt, tokens, duration, timeout)
    with PullProgress() as progress:
        app.models.pull(model, progress.of(model), cancelled=progress.cancelled)
    results = []
    with app.daemon.needed():
        app.daemon.preload(model)
        for level in levels:
            with spinner(f"{level} at the same time"):
                results.append(measure(load, level))
    if as_json:
        click.echo(json.dumps({"model": model, "prompt": prompt, "results": results}, indent=2))
    else:
        _print(results)


def _levels(text: str) -> list[int]:
    try:
        levels = [int(word) for word in text.split(",")]
    except ValueError:
        levels = [0]
    if min(levels) < 1 or max(levels) > 256:
        raise click.BadParameter(
            f"'{text}' must be a list of numbers from 1 to 256; use 1,2,4", param_hint="--concurrency"
        )
    return levels


def measure(load: Load, level: int) -> JsonObject:
    """Ask with `level` requests at the same time, and return the figures.

    Shape: Docker Model Runner's `{"Concurrency": 2, "MeanRPS": 1.5, "TotalTokens": 900, "TPS": 90.0, "TotalTime": ns,
    "Requests": 15, "TokenCounts": [60, …]}`, and `PrefillTPS` and `DecodeTPS`.

    Raises:
        EngineError: A request failed.
    """
    started = time.monotonic()
    with ThreadPoolExecutor(level) as pool:
        askers = [pool.submit(_ask_until, load, started + load.duration_seconds) for _ in range(level)]
        answers = [answer for asker in askers for answer in result_of(asker)]
    elapsed = time.monotonic() - started
    total = sum(answer.tokens for answer in answers)
    return {
        "Concurrency": level,
        "MeanRPS": round(len(answers) / elapsed, 3),
        "TotalTokens": total,
        "TPS": round(total / elapsed, 2),
        "TotalTime": round(elapsed * 1e9),
        "Requests": len(answers),
        "TokenCounts": [answer.tokens for answer in answers],
        "PrefillTPS": _median([answer.prefill for answer in answers]),
        "DecodeTPS": _median([answer.decode for answer in answers]),
    }


def _ask_until(load: Load, end: float) -> list[Measurement]:
    """Ask at least once."""
    answers = [_ask(load)]
    while time.monotonic() < end:
        answers.append(_ask(load))
    return answers


def _ask(load: Load) -> Measurement:
    from dmrc.errors import EngineError

    body = {
        "model": load.model,
        "messages": [{"role": "user", "content": load.prompt}],
        "max_tokens": load.tokens,
        "cache_prompt": False,
    }
    connection = http.client.HTTPConnection("127.0.0.1", load.port, timeout=load.timeout_seconds)
    try:
        headers = {"content-type": "application/json", "user-agent": "dmrc-bench"}
        connection.request("POST", "/engines/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        document = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise EngineError(f"the gateway broke off: {error}", remedy="See: dmrc logs") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise EngineError(str(document["error"]["message"]))
    timings = document.get("timings", {})
    return Measurement(
        document["usage"]["completion_tokens"], timings.get("prompt_per_second"), timings.get("predicted_per_second")
    )


def _median(rates: list[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return round(statistics.median(known), 2) if known else None


def _print(results: list[JsonObject]) -> None:
    from dmrc.cli.tables import print_table

    names = ("Concurrency", "Requests", "PrefillTPS", "DecodeTPS", "TPS", "MeanRPS")
    headers = ("CONCURRENCY", "REQUESTS", "PREFILL", "DECODE", "TOKENS/S", "REQUESTS/S")
    print_table(headers, [["-" if result[name] is None else str(result[name]) for name in names] for result in results])
