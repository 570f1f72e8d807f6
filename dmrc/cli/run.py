"""`dmrc run`: one question, one streamed answer."""

from __future__ import annotations

from collections.abc import Iterator

import click

from dmrc.cli.app import App, pass_app


@click.command(epilog='Example: dmrc run ai/smollm2 "Tell me an interesting fact"')
@click.argument("reference")
@click.argument("prompt", nargs=-1, required=True)
@pass_app
def run(app: App, reference: str, prompt: tuple[str, ...]) -> None:
    """Ask a model, and print its answer as it comes. A model that is missing is pulled first.

    What is piped in is put behind the prompt.
    """
    import sys

    from dmrc.cli.progress import PullProgress

    text = " ".join(prompt)
    if not sys.stdin.isatty():
        piped = sys.stdin.read()
        text = f"{text}\n\n{piped}" if piped.strip() else text
    with PullProgress() as progress:
        app.models.pull(reference, progress.of(reference), cancelled=progress.cancelled)
    with app.daemon.needed():
        for piece in _answer(app.settings.port, reference, text):
            click.echo(piece, nl=False)
    click.echo()


def _answer(port: int, reference: str, prompt: str) -> Iterator[str]:
    """Yield the pieces of the answer.

    Raises:
        EngineError: The gateway or the engine failed; in its words.
    """
    import http.client
    import json

    from dmrc.errors import EngineError

    connection = http.client.HTTPConnection("127.0.0.1", port)
    messages = [{"role": "user", "content": prompt}]
    body = json.dumps({"model": reference, "messages": messages, "stream": True})
    try:
        headers = {"content-type": "application/json", "user-agent": "dmrc-run"}
        connection.request("POST", "/engines/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise EngineError(_error_text(answer.read()))
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            document = json.loads(line[6:])
            if "error" in document:
                raise EngineError(str(document["error"].get("message")))
            for choice in document.get("choices", []):
                yield choice["delta"].get("content") or ""
    finally:
        connection.close()


def _error_text(body: bytes) -> str:
    import json

    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:500]
