import { $, attempt, element, events, post } from "./page.js";

const form = $("#ask");
const talk = $("#talk");
let messages = [];
let asking = null;

function show(role, text = "") {
  const place = element("pre", { dir: "auto", textContent: text });
  talk.append(element("article", { className: `message ${role}` }, element("h3", { textContent: role }), place));
  return place;
}

function wish() {
  const given = new FormData(form);
  const document = { model: given.get("model"), stream: true, stream_options: { include_usage: true } };
  for (const name of ["temperature", "top_p", "max_tokens", "seed"]) if (given.get(name)) document[name] = Number(given.get(name));
  const system = given.get("system").trim();
  document.messages = [...(system ? [{ role: "system", content: system }] : []), ...messages];
  return document;
}

function facts(began, first, last, id) {
  const rate = last.timings?.predicted_per_second;
  const parts = [
    last.usage && `${last.usage.prompt_tokens}→${last.usage.completion_tokens} tok`,
    first && `first token ${Math.round(first - began)} ms`,
    rate && `${Math.round(rate)} tok/s`,
  ].filter(Boolean);
  const line = element("p", { className: "facts", textContent: `${parts.join(" · ")} · ` });
  if (id) line.append(element("a", { href: `/ui/requests/${id}`, textContent: "the request" }));
  return line;
}

async function answer() {
  const began = performance.now();
  const last = {};
  let first = null;
  let thoughts = null;
  let text = "";
  let id = null;
  const place = show("assistant", "…");
  asking = new AbortController();
  $("#stop").hidden = false;
  try {
    const response = await post("/ui/api/engines/v1/chat/completions", wish(), { signal: asking.signal });
    id = response.headers.get("x-dmrc-exchange-id");
    for await (const chunk of events(response)) {
      if (chunk.error) throw new Error(chunk.error.message);
      Object.assign(last, { usage: chunk.usage ?? last.usage, timings: chunk.timings ?? last.timings });
      const delta = chunk.choices?.[0]?.delta ?? {};
      if (delta.reasoning_content) {
        if (!thoughts) {
          thoughts = element("pre", { dir: "auto" });
          place.before(element("details", {}, element("summary", { textContent: "Reasoning" }), thoughts));
        }
        thoughts.textContent += delta.reasoning_content;
      }
      if (!delta.content) continue;
      first ??= performance.now();
      text += delta.content;
      place.textContent = text;
      place.scrollIntoView({ block: "nearest" });
    }
    messages.push({ role: "assistant", content: text });
  } finally {
    if (!text) place.textContent = "";
    place.after(facts(began, first, last, id));
    $("#stop").hidden = true;
    asking = null;
  }
}

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = form.elements.message.value.trim();
  if (!text || asking) return;
  form.elements.message.value = "";
  messages.push({ role: "user", content: text });
  show("user", text);
  attempt(answer).then(() => form.elements.message.focus());
});
form?.elements.message.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
$("#stop")?.addEventListener("click", () => asking?.abort());
$("#clear")?.addEventListener("click", () => {
  asking?.abort();
  messages = [];
  talk.replaceChildren();
  form.elements.message.focus();
});
