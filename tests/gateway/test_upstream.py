"""A model that another server serves: who gets its key, whose words an error has, and what happens when it is away."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.gateway.strange_upstream import KEY, StrangeUpstream, strange_upstream
from tests.polling import eventually
from tests.ports import free_port

if TYPE_CHECKING:
    import openai

HELLO = [{"role": "user", "content": "Say hello."}]
WAYS = ("plain", "limits", "moves", "breaks", "hangs-up", "works-and-goes")


@dataclass
class Project:
    """A project whose models are one upstream each, by the way that it behaves."""

    dmrc: Dmrc
    directory: Path
    server: StrangeUpstream

    def write(self, models: dict[str, str]) -> None:
        entries = "".join(
            f"  {key}: {{model: '{key}-model', x-dmrc: {{{inside}}}}}\n" for key, inside in models.items()
        )
        services = f"services: {{app: {{image: none, models: [{', '.join(models)}]}}}}"
        (self.directory / "compose.yaml").write_text(f"name: far\n{services}\nmodels:\n{entries}")

    def up(self, **keys: str) -> openai.OpenAI:
        import openai

        environment = {"UPSTREAM_KEY": KEY, **keys}
        printed = self.dmrc.ok("env", "app", "--format", "json", cwd=self.directory, env=environment)
        variables = json.loads(printed)
        return openai.OpenAI(
            base_url=variables["OPENAI_BASE_URL"], api_key=variables["OPENAI_API_KEY"], max_retries=0, timeout=30
        )

    def states(self) -> list[str]:
        """Return the state of each upstream of the models that are loaded."""
        runners = json.loads(self.dmrc.ok("ps", "--json"))
        return [replica["state"] for runner in runners for replica in runner["replicas"]]

    def fails(self, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
        done = self.dmrc.run("exec", "app", "--", "true", *arguments, cwd=self.directory, env=env)
        return done.returncode, done.stderr.strip().splitlines()[-1]


@pytest.fixture
def project(tmp_path: Path, needs_process: None) -> Iterator[Project]:
    with temporary_dmrc() as dmrc, strange_upstream() as server:
        project = Project(dmrc, tmp_path, server)
        upstream = "upstream: {{url: '{url}', model: 'vendor/Big-1', key: UPSTREAM_KEY}}, ready: pulled"
        project.write({way: upstream.format(url=server.url(way)) for way in WAYS})
        yield project


def test_the_upstream_gets_its_own_name_and_key_and_nothing_of_ours(project: Project) -> None:
    client = project.up()

    answer = client.chat.completions.create(model="plain-model", messages=HELLO)

    path, headers, body = project.server.requests[-1]
    assert answer.choices[0].message.content == "hello"
    assert path == "/plain/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert client.api_key not in json.dumps(headers)
    assert (body["model"], body["messages"]) == ("vendor/Big-1", HELLO)
    (exchange,) = json.loads(project.dmrc.ok("requests", "--json"))
    assert (exchange["engine"], exchange["model_key"], exchange["service"]) == ("upstream", "plain", "app")
    assert exchange["model_digest"] is None


def test_a_long_request_reaches_the_upstream_whole_and_under_its_own_name(project: Project) -> None:
    """It is written in a thread, since it would hold up the streams of others."""
    messages = [{"role": "user", "content": f"{number}: {'größe ' * 100}"} for number in range(1000)]

    project.up().chat.completions.create(model="plain-model", messages=messages)

    body = project.server.requests[-1][2]
    assert (body["model"], body["messages"]) == ("vendor/Big-1", messages)


def test_it_is_listed_like_any_other_and_let_go_of_like_one(project: Project) -> None:
    client = project.up()
    client.chat.completions.create(model="plain", messages=HELLO)

    assert {model.id for model in client.models.list()} == {f"{way}-model" for way in WAYS}
    assert client.models.retrieve("plain-model").id == "plain-model"
    (runner,) = json.loads(project.dmrc.ok("ps", "--json"))
    assert (runner["engine"], runner["state"], runner["context_size"]) == ("upstream", "ready", None)
    assert runner["upstream"] == project.server.url("plain")
    assert "plain-model" in project.dmrc.ok("ps")
    no_log = "dmrc: the log of model 'plain-model' is where it runs. Read it there\n"
    assert project.dmrc.run("logs", "plain-model").stderr == no_log
    project.dmrc.ok("unload", "plain-model")
    assert json.loads(project.dmrc.ok("ps", "--json")) == []


def test_an_error_is_in_the_upstreams_own_words_with_its_time_to_wait(project: Project) -> None:
    import openai

    with pytest.raises(openai.RateLimitError, match="slow down") as caught:
        project.up().chat.completions.create(model="limits", messages=HELLO)

    assert caught.value.response.headers["retry-after"] == "60"
    assert caught.value.type == "tokens"
    assert KEY not in caught.value.response.text  # it quoted the key, which the application is not to know


def test_a_redirect_is_an_error_and_takes_the_key_nowhere(project: Project) -> None:
    import openai

    with pytest.raises(openai.InternalServerError, match="is at http://localhost") as caught:
        project.up().chat.completions.create(model="moves", messages=HELLO)

    assert caught.value.status_code == 502
    assert KEY not in caught.value.response.text
    assert [path for path, _, _ in project.server.requests] == ["/moves/v1/chat/completions"]


def test_a_stream_that_breaks_off_ends_with_an_error_and_never_with_done(project: Project) -> None:
    import openai

    stream = project.up().chat.completions.create(model="breaks", messages=HELLO, stream=True)

    with pytest.raises(openai.APIError, match="broke off"):
        for chunk in stream:
            assert chunk.choices[0].delta.content == "half"


def test_a_kept_connection_that_was_closed_is_opened_again(project: Project) -> None:
    client = project.up()

    for _ in range(5):
        assert client.chat.completions.create(model="hangs-up", messages=HELLO).choices


def test_a_request_that_a_server_took_on_a_fresh_connection_is_not_sent_again(project: Project) -> None:
    """It may have worked on it, and a paid one counts it: it was sent twice."""
    import openai

    client = project.up()

    with pytest.raises(openai.InternalServerError, match="broke off"):
        client.chat.completions.create(model="works-and-goes", messages=HELLO)

    assert [path for path, _, _ in project.server.requests] == ["/works-and-goes/v1/chat/completions"]


def test_of_several_upstreams_one_that_refuses_is_left_out_and_each_gets_its_own_key(project: Project) -> None:
    limited, plain, wrong = (project.server.url(way) for way in ("limits", "plain", "hangs-up"))
    project.write(
        {
            "llm": f"upstream: [{{url: '{limited}', key: UPSTREAM_KEY}}, "
            f"{{url: '{plain}', model: b, key: UPSTREAM_KEY}}, {{url: '{wrong}', key: OTHER_KEY}}]"
        }
    )
    code, line = project.fails(env={"UPSTREAM_KEY": KEY})
    assert (code, "names OTHER_KEY, which is not set" in line) == (2, True)
    client = project.up(OTHER_KEY="sk-other")
    # Whichever answers first gets requests at once: what follows is about both.
    project.dmrc.ok(
        "exec", "app", "--", "true", cwd=project.directory, env={"UPSTREAM_KEY": KEY, "OTHER_KEY": "sk-other"}
    )
    eventually(lambda: project.states() == ["ready", "ready", "starting"], "two are there")

    for _ in range(3):
        assert client.chat.completions.create(model="llm", messages=HELLO).choices

    asked = [
        (path.split("/")[1], headers["authorization"], body["model"]) for path, headers, body in project.server.requests
    ]
    own = f"Bearer {KEY}"
    assert asked == [("limits", own, "llm-model"), *[("plain", own, "b")] * 3]
    exchanges = json.loads(project.dmrc.ok("requests", "--json"))
    assert {exchange["replica"] for exchange in exchanges} == {plain}
    assert exchanges[0]["annotations"]["instead_of"] == [f"upstream '{limited}' answered 429"]
    assert project.states() == ["starting", "ready", "starting"]
    (runner,) = json.loads(project.dmrc.ok("ps", "--json"))
    assert "2 of 3 upstreams get no requests" in runner["notice"]
    assert f"upstream '{wrong}' wants another key (401). " not in runner["notice"]
    assert f"upstream '{wrong}' wants another key (401)" in runner["notice"]
    assert json.loads(project.dmrc.ok("config", "--json", cwd=project.directory))["models"]["llm"]["upstream"] == [
        limited,
        plain,
        wrong,
    ]


def test_the_key_is_on_no_disk_and_in_no_log(project: Project) -> None:
    import openai

    client = project.up()
    client.chat.completions.create(model="plain", messages=HELLO)
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="limits", messages=HELLO)
    project.dmrc.ok("stop-runner")

    found = [path for path in project.dmrc.home.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]

    assert found == []
    with sqlite3.connect(project.dmrc.home / "projects.sqlite3") as database:
        ((registration,),) = database.execute("SELECT registration FROM project").fetchall()
    assert "UPSTREAM_KEY" in registration


def test_after_a_restart_of_the_daemon_a_missing_key_says_what_to_do(project: Project) -> None:
    import openai

    client = project.up()
    project.dmrc.ok("stop-runner")
    project.dmrc.run("status")
    project.dmrc.ok("env", "app", cwd=_other(project))  # starts the daemon, for another project

    with pytest.raises(openai.InternalServerError, match="Run dmrc up in project 'far' again, with UPSTREAM_KEY set"):
        client.chat.completions.create(model="plain", messages=HELLO)
    assert project.up().chat.completions.create(model="plain", messages=HELLO).choices


def _other(project: Project) -> Path:
    directory = project.directory / "other"
    directory.mkdir()
    upstream = f"x-dmrc: {{upstream: '{project.server.url('plain')}', ready: pulled}}"
    (directory / "compose.yaml").write_text(
        f"name: other\nservices: {{app: {{image: none, models: [m]}}}}\nmodels: {{m: {{model: m, {upstream}}}}}\n"
    )
    return directory


def test_a_key_that_is_not_set_stops_before_anything_starts_and_env_files_count(project: Project) -> None:
    code, line = project.fails()
    assert code == 2
    assert "models.plain.x-dmrc.upstream.key names UPSTREAM_KEY, which is not set" in line
    assert project.dmrc.run("status").returncode != 0

    (project.directory / ".env").write_text(f"UPSTREAM_KEY={KEY}\n")
    project.dmrc.ok("env", "app", cwd=project.directory)


def test_an_upstream_that_is_away_or_refuses_the_key_is_one_line_before_the_containers_start(project: Project) -> None:
    project.write({"gone": f"upstream: 'http://127.0.0.1:{free_port()}/v1'"})
    code, line = project.fails()
    assert code == 5
    assert "cannot be reached: Connect" in line

    project.write({"plain": f"upstream: {{url: '{project.server.url('plain')}', key: UPSTREAM_KEY}}"})
    code, line = project.fails(env={"UPSTREAM_KEY": "sk-wrong"})
    assert code == 5
    assert "wants another key (401). Check the key in UPSTREAM_KEY" in line
    assert "sk-wrong" not in line


def test_nothing_is_pulled_and_the_line_of_the_model_names_the_upstream(project: Project) -> None:
    done = project.dmrc.run("exec", "app", "--", "true", cwd=project.directory, env={"UPSTREAM_KEY": KEY})

    assert done.returncode == 0, done.stderr
    assert f"plain: plain-model  upstream {project.server.url('plain')} · " in done.stderr
    assert project.dmrc.ok("list", "--json").strip() == "[]"
