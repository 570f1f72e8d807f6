"""The playground in a real Chromium: a model of the store, an upstream, one that calls tools, one that sees."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.scripted_gguf import write_scripted_llama
from tests.tiny_gguf import write_tiny_llama
from tests.tiny_projector import png, write_tiny_projector
from tests.ui.conftest import MODEL, Open, Site

_AXE = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js"))
CALL = ('{"name": "get_weather"', ', "parameters": {"city": "Bern"', "}}")
REPLY = ("It is **cold** in `Bern`:\n\n", "1. 3 degrees\n", "2. <img src=x onerror=alert(1)>")
# In the manner of Llama 3, by which the engine knows a call; with a place from which the reply to a result goes on.
_TEMPLATE = """{%- for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>
{%- if message.tool_calls %}{{ '{"name": "' + message.tool_calls[0].function.name + '", "parameters": ' }}
{{- message.tool_calls[0].function.arguments | tojson }}{{ "}" }}
{%- else %}{%- if message.role == 'user' and tools %}
Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.
{%- for tool in tools %}{{ tool | tojson }}{%- endfor %}{%- endif %}
{{ message.content }}{%- endif %}<|eot_id|>{%- endfor %}
{%- if messages[-1].role == 'tool' %}<|after_result|>{% else %}<|assistant|>{% endif %}"""
_LAB = """
name: lab
services:
  bench: {{image: none, models: [near, far]}}
models:
  near: {{model: "{model}", context_size: 512, runtime_flags: ["--temp", "0.25"]}}
  far: {{model: "far-model", x-dmrc: {{upstream: {{url: "{url}/engines/v1", model: "{model}"}}}}}}
"""


@pytest.fixture(scope="module")
def lab(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A second project, whose upstream is this very dmrc, and models that call and see."""
    directory = tmp_path_factory.mktemp("lab")
    (directory / "compose.yaml").write_text(_LAB.format(model=MODEL, url=site.url))
    caller = write_scripted_llama(directory / "caller.gguf", CALL, _TEMPLATE, REPLY)
    tiny, eyes = write_tiny_llama(directory / "tiny.gguf"), write_tiny_projector(directory / "eyes.gguf")
    site.dmrc.ok("package", "--gguf", caller, "local/caller")
    site.dmrc.ok("package", "--gguf", tiny, "--mmproj", eyes, "local/eyes")
    site.dmrc.ok("env", "bench", cwd=directory)
    yield site


def column(page: Page, number: int = 0) -> Locator:
    return page.locator(".column").nth(number)


def choose(page: Page, name: str, number: int = 0) -> None:
    """Choose a model by what its option says, in the column of this number."""
    select = column(page, number).get_by_role("combobox", name="Model")
    expect(select).to_be_visible()
    values = select.locator("option").evaluate_all("(all) => all.map((one) => [one.textContent, one.value])")
    select.select_option(value=next(value for text, value in values if text.startswith(name)))


def say(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def answers(page: Page, number: int = 0) -> Locator:
    """The answers of a column that are complete."""
    return column(page, number).locator(".message.assistant:not(.coming)")


def recorded(site: Site, id: str) -> dict[str, Any]:
    """Return what a request of the record sent."""
    answer = httpx.get(f"{site.url}/ui/requests/{id}/request", headers={"cookie": site.cookie()})
    return dict(json.loads(answer.text))


def id_of(answer: Locator) -> str:
    return (answer.get_by_role("link", name="View request").get_attribute("href") or "").rpartition("/")[2]


def test_models_of_the_store_and_an_upstream_answer_side_by_side(lab: Site, open_page: Open) -> None:
    page = open_page("/ui/playground")
    expect(column(page)).to_be_visible()
    groups = column(page).locator("optgroup").evaluate_all("(all) => all.map((one) => one.label)")
    assert sorted(groups) == ["Models of the store", "Project lab", "Project shop"]
    choose(page, "local/smollm2")
    page.get_by_role("button", name="Add model").click()
    choose(page, "far-model", 1)
    page.fill("[name=max_tokens]", "12")
    page.locator("#system-fold summary").click()
    page.fill("[name=system]", "You are brief.")

    say(page, "Name a colour.")

    for number in (0, 1):
        line = answers(page, number).locator(".figures")
        expect(line).to_contain_text(re.compile(r"first token [\d.]+ m?s"))
        expect(line).to_contain_text(re.compile(r"\d tok/s"))
        expect(line).to_contain_text(re.compile(r"\d+ in · [1-9]\d* out"))
    expect(answers(page, 0).locator("[data-name=context]")).to_contain_text("of 1,024 context")
    expect(page.locator("#said p")).to_have_count(2)
    sent = recorded(lab, id_of(answers(page, 1)))
    assert (sent["model"], sent["max_tokens"], sent["stream"]) == ("far-model", 12, True)
    assert [one["role"] for one in sent["messages"]] == ["system", "user"]
    answers(page, 1).get_by_role("link", name="View request").click()
    expect(page.locator("main")).to_contain_text("lab/playground")


def test_the_default_of_each_parameter_is_said_with_who_says_so(lab: Site, open_page: Open) -> None:
    page = open_page("/ui/playground")
    default = page.locator("[data-default=temperature]")
    choose(page, "local/smollm2")  # the first one is that of a project
    shop = page.locator("optgroup[label='Project lab'] option", has_text="smollm2").first.get_attribute("value")

    column(page).get_by_role("combobox", name="Model").select_option(value=shop)
    expect(page.locator("[name=temperature]")).to_have_attribute("placeholder", "0.25")
    expect(default).to_have_text("Default of runtime_flags")
    expect(page.locator("[name=top_p]")).to_have_attribute("placeholder", "0.95")
    expect(page.locator("[data-default=top_p]")).to_have_text("Default of llama.cpp")
    page.get_by_role("button", name="Add model").click()
    choose(page, "far-model", 1)
    expect(default).to_have_text("0.25 by runtime_flagsDefault of its server")


def test_a_call_is_shown_and_the_typed_result_goes_on(lab: Site, open_page: Open) -> None:
    page = open_page("/ui/playground?model=local/caller")
    expect(page.get_by_role("combobox", name="Model")).to_contain_text("local/caller")
    page.locator("#tools-fold summary").click()
    page.get_by_role("button", name="Add template").click()
    say(page, "What is the weather in Bern?")

    expect(answers(page).locator(".call code")).to_have_text("get_weather")
    expect(answers(page).locator(".call pre")).to_have_text('{\n  "city": "Bern"\n}')
    say(page, "And now?")
    expect(page.locator("#notice")).to_contain_text("waits for the result of get_weather")
    page.get_by_label("Result of get_weather").fill('{"degrees":3}')
    page.get_by_role("button", name="Send the result").click()

    last = answers(page).nth(1)
    expect(last.locator("strong")).to_have_text("cold")
    expect(last.locator("p code")).to_have_text("Bern")
    expect(last.locator("ol li")).to_have_text(["3 degrees", "<img src=x onerror=alert(1)>"])
    expect(page.locator(".talk img, .talk script")).to_have_count(0)
    said = recorded(lab, id_of(last))["messages"]
    assert [one["role"] for one in said] == ["user", "assistant", "tool"]
    assert said[2] == {"role": "tool", "tool_call_id": said[1]["tool_calls"][0]["id"], "content": '{"degrees":3}'}


def test_pictures_are_attached_pasted_and_sent_as_they_are(lab: Site, open_page: Open, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(png())
    page = open_page("/ui/playground?model=local/eyes")
    expect(page.get_by_role("combobox", name="Model")).to_contain_text("local/eyes")
    page.set_input_files("#picture", tmp_path / "red.png")
    expect(page.locator("#attached canvas")).to_have_attribute("aria-label", "red.png, 24 × 24 pixels")
    page.evaluate("""(bytes) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "blue.png", { type: "image/png" }));
        const pasted = new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
        document.querySelector("#message").dispatchEvent(pasted);
    }""", list(png(0, 0, 255)))  # fmt: skip
    expect(page.locator("#attached li")).to_have_count(2)
    page.get_by_role("button", name="Remove red.png").click()
    page.fill("[name=max_tokens]", "2")
    bodies: list[Any] = []
    page.on("request", lambda one: one.url.endswith("/chat/completions") and bodies.append(one.post_data_json))

    say(page, "What is it?")

    expect(answers(page)).to_have_count(1)
    expect(page.locator(".message.user canvas")).to_have_count(1)
    (body,) = bodies
    words, picture = body["messages"][0]["content"]
    assert words == {"type": "text", "text": "What is it?"}
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")


def test_a_recorded_request_is_gone_on_with_exactly(lab: Site, open_page: Open) -> None:
    """All that it said is sent again: what has a field of its own, and what is only kept."""
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    schema = {"type": "object", "properties": {"colour": {"type": "string", "maxLength": 9}}, "required": ["colour"]}
    form = {"type": "json_schema", "json_schema": {"name": "colour", "schema": schema}}
    wish: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": "You are brief."},
            {"role": "user", "name": "anna", "content": [{"type": "text", "text": "Name a colour."}]},
        ],
        "temperature": 0,
        "top_p": 0.5,
        "max_tokens": 16,
        "stop": ["\n\n", "END"],
        "seed": 7,
        "response_format": form,
        "tools": [tool],
        "tool_choice": "none",
        "logit_bias": {"5": -1},
        "user": "u-1",
    }
    id = lab.ask("", **wish, extra_body={"top_k": 3, "min_p": 0.1, "cache_prompt": True})
    page = open_page(f"/ui/playground?from={id}")

    expect(page.locator("#source")).to_contain_text(id[-8:])
    expect(column(page).locator(".message")).to_have_count(2)
    expect(page.locator("[name=temperature]")).to_have_value("0")
    expect(page.locator("[name=stop]")).to_have_value("\\n\\n\nEND")
    page.get_by_role("button", name="Get the answer").click()
    expect(answers(page)).to_have_count(1)

    again = id_of(answers(page))
    assert again != id
    before, now = recorded(lab, id), recorded(lab, again)
    assert before.pop("model") == MODEL
    assert now.pop("model") in (MODEL, "chat")
    assert now == before


def test_what_is_no_chat_is_refused_with_what_to_do(lab: Site, open_page: Open, complaints: Any) -> None:
    import openai

    client = openai.OpenAI(base_url=f"{lab.url}/engines/v1", api_key=lab.key, max_retries=0)
    raw = client.completions.with_raw_response.create(model=MODEL, prompt="Once", max_tokens=1)
    lab.dmrc.ok("requests", "show", raw.headers["x-dmrc-exchange-id"])
    page = open_page(f"/ui/playground?from={raw.headers['x-dmrc-exchange-id']}")

    expect(page.locator("#notice")).to_contain_text("a completion without messages cannot be opened in the playground")
    assert "40" in complaints.found.pop()  # a browser says by itself that a request was refused


def test_the_keyboard_alone_sends_stops_edits_and_asks_again(lab: Site, open_page: Open) -> None:
    page = open_page("/ui/playground?model=local/smollm2:135M-Q4_1")
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_be_focused()
    page.keyboard.type("Tell a very long")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("story.")
    page.keyboard.press("Enter")
    expect(page.locator(".message.user pre")).to_have_text("Tell a very long\nstory.")
    expect(column(page).locator(".coming .words")).not_to_be_empty()
    page.keyboard.press("Escape")

    expect(answers(page).locator(".figures")).to_contain_text("stopped")
    page.fill("[name=max_tokens]", "8")
    page.locator(".message.user").get_by_role("button", name="Edit").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Control+a")
    page.keyboard.type("Name a tree.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".message.user pre")).to_have_text("Name a tree.")
    expect(answers(page).locator("[data-name=finish]")).to_have_text("stopped at max tokens")
    first = id_of(answers(page))
    answers(page).get_by_role("button", name="Get another answer").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".coming")).to_have_count(0)
    expect(answers(page)).to_have_count(1)
    second = recorded(lab, id_of(answers(page)))
    assert id_of(answers(page)) != first
    assert second["messages"] == [{"role": "user", "content": "Name a tree."}]

    page.get_by_role("button", name="New chat").press("Enter")
    expect(page.locator(".message")).to_have_count(0)


def test_each_column_stops_by_itself(lab: Site, open_page: Open) -> None:
    page = open_page("/ui/playground?model=local/smollm2:135M-Q4_1")
    page.get_by_role("button", name="Add model").click()
    choose(page, "local/smollm2", 1)
    page.locator("#other-fold summary").click()
    page.fill("[name=other]", '{"ignore_eos": true}')
    say(page, "Tell a very long story.")
    for number in (0, 1):
        expect(column(page, number).locator(".coming .words")).not_to_be_empty()

    column(page, 0).get_by_role("button", name="Stop").click()

    expect(answers(page, 0).locator(".figures")).to_contain_text("stopped")
    expect(column(page, 1).locator(".coming")).to_have_count(1)
    page.get_by_role("button", name="Stop all").click()
    expect(answers(page, 1).locator(".figures")).to_contain_text("stopped")
    expect(page.get_by_role("button", name="Stop all")).to_be_hidden()


def test_a_request_is_copied_as_a_program_that_works(lab: Site, open_page: Open) -> None:
    page = open_page("/ui/playground?model=local/smollm2:135M-Q4_1")
    choose(page, "far-model")
    page.fill("[name=temperature]", "0.3")
    page.fill("[name=message]", "It's a colour; name it.")
    for form, sign in (("curl", "--data-binary"), ("JavaScript", "client.chat.completions.create("), ("Python", "")):
        column(page).locator(".menu summary").click()
        column(page).get_by_role("button", name=f"Copy the request as {form}").click()
        expect(page.locator("#notice .toast").last).to_contain_text(f"Copied as {form}")
        assert sign in page.evaluate("navigator.clipboard.readText()")
    expect(page.locator("#notice .toast").last).to_contain_text('eval "$(dmrc env bench --format export)"')

    program = page.evaluate("navigator.clipboard.readText()")
    made: list[Any] = []

    class Client:
        def __init__(self, **_: object) -> None:
            self.chat = self.completions = self

        def create(self, **wish: object) -> list[object]:
            made.append(wish)
            return []

    exec(program.replace("from openai import OpenAI", ""), {"OpenAI": Client})
    assert made[0]["messages"] == [{"role": "user", "content": "It's a colour; name it."}]
    assert (made[0]["model"], made[0]["temperature"]) == ("far-model", 0.3)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("tools", '[\n{"type": "function",}\n]', "not JSON, see line 2"),
        ("tools", '[{"function": {}}]', 'entry 1 needs a "type"'),
        ("tools", '[{"type": "function", "function": {"name": "a", "parameters": 5}}]', "must be a JSON schema"),
        ("other", '{"model": "x"}', '"model" comes from the chat'),
    ],
)
def test_settings_that_cannot_be_meant_are_said_and_not_sent(
    lab: Site, open_page: Open, name: str, text: str, problem: str
) -> None:
    page = open_page("/ui/playground")
    page.locator(f"#{name}-fold summary").click()
    page.fill(f"[name={name}]", text)

    expect(page.locator(f"[data-problem={name}]")).to_contain_text(problem)
    expect(page.locator(f"[name={name}]")).to_have_attribute("aria-invalid", "true")
    say(page, "Hello")
    expect(page.locator("#notice")).to_contain_text(problem)
    expect(page.locator(".message")).to_have_count(0)
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_have_value("Hello")


def test_four_models_with_calls_and_a_picture_fit_and_are_accessible(
    lab: Site, open_page: Open, tmp_path: Path, keep_screenshot: Callable[[Page, str], None]
) -> None:
    (tmp_path / "red.png").write_bytes(png())
    page = open_page("/ui/playground?model=local/caller")
    for number in (1, 2, 3):
        page.get_by_role("button", name="Add model").click()
        choose(page, "local/caller", number)
    expect(page.get_by_role("button", name="Add model")).to_be_disabled()
    page.locator("#tools-fold summary").click()
    page.get_by_role("button", name="Add template").click()
    say(page, "What is the weather in Bern?")
    for number in range(4):
        expect(column(page, number).get_by_label("Result of get_weather")).to_be_visible()
    page.set_input_files("#picture", tmp_path / "red.png")
    expect(page.locator("#attached canvas")).to_be_visible()

    for width, scheme in ((1440, "light"), (1024, "dark"), (390, "light"), (360, "dark")):
        page.set_viewport_size({"width": width, "height": 850})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(_AXE.read_text())
        found = page.evaluate("axe.run().then((result) => result.violations)")
        serious = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], (width, scheme)
        keep_screenshot(page, f"playground-four-{width}-{scheme}")


_BOTH_ASK = """
import json, os, sys, urllib.request
body = json.dumps({"model": "chat", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}).encode()
page = {"cookie": sys.argv[2], "origin": sys.argv[1], "x-dmrc-project": "shop"}
service = {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
for path, headers in (("/ui/api", page), ("", service)):
    asked = urllib.request.Request(sys.argv[1] + path + "/engines/v1/chat/completions", body, headers)
    urllib.request.urlopen(asked).read()
"""


def test_what_a_person_tries_meets_no_faults_of_the_project_and_is_in_no_cassette(lab: Site) -> None:
    wish = {"model": "near", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"cookie": lab.cookie(), "origin": lab.url, "x-dmrc-project": "lab"}
    lab.dmrc.ok("faults", "set", "--all", "-p", "lab", "error", cwd=lab.directory)

    asked = httpx.post(f"{lab.url}/ui/api/engines/v1/chat/completions", headers=headers, json=wish, timeout=60)
    lab.dmrc.ok("faults", "clear", "-p", "lab", cwd=lab.directory)
    assert asked.status_code == 200

    command = ("python3", "-c", _BOTH_ASK, lab.url, lab.cookie())
    lab.dmrc.ok("exec", "--record=tapes", "web", "--", *command, cwd=lab.directory)
    lab.dmrc.ok("env", "web", cwd=lab.directory)  # it records no more
    assert [one.name for one in (lab.directory / "tapes").iterdir()] == ["web.jsonl"]


MARKDOWN = """# Title
Words with **bold**, *italics*, `<b>code</b>`, 2*3*4, [a](javascript:alert(1)) and <b onclick="x()">HTML</b>.

- one
  - deeper
- two

3. three

> quote

~~~html
<script>document.title = "owned"</script>
```
~~~
```unclosed
<img src=x onerror="document.title='owned'">"""


def test_markdown_becomes_elements_and_everything_else_stays_text(lab: Site, open_page: Open) -> None:
    page = open_page("/ui/playground")
    found = page.evaluate("""async (text) => {
        const { markdown } = await import("/ui/static/markdown.js");
        const place = document.createElement("div");
        place.append(markdown(text));
        document.body.append(place);
        return { html: place.innerHTML, names: [...place.querySelectorAll("*")].map((one) => one.localName) };
    }""", MARKDOWN)  # fmt: skip

    allowed = {"p", "strong", "em", "code", "pre", "figure", "figcaption", "ul", "ol", "li", "blockquote", "h4"}
    assert set(found["names"]) == allowed
    assert "<code>&lt;b&gt;code&lt;/b&gt;</code>, 2*3*4, [a](javascript:alert(1)) and &lt;b onclick" in found["html"]
    assert '<li dir="auto">one<ul><li dir="auto">deeper</li></ul></li><li dir="auto">two</li>' in found["html"]
    assert '<ol start="3">' in found["html"]
    assert "owned" not in page.title()
