// One model with its talk. A column asks, waits and stops by itself.

import { $, count, element, post, toast } from "./page.js";
import { Answer } from "./playground-answer.js";
import { article, copyText, edit, quiet, textOf, withText } from "./playground-message.js";

const CODE = { curl: "curl", python: "Python", node: "JavaScript" };

export class Column {
  /** `bench` has `models`, `settings`, `announce(text)`, `changed()`, `replace(message, other)` and `remove(column)`. */
  constructor(bench, model) {
    this.bench = bench;
    this.messages = [];
    this.facts = new Map(); // the line of figures of each answer
    this.asking = null;
    this.session = crypto.randomUUID();
    this.error = null;
    this.results = new Map(); // what a person has typed for open calls, by id
    this.build();
    this.choose(model);
  }

  get model() { return this.bench.models[Number(this.select.value)]; }
  get isAsking() { return this.asking !== null; }

  /** Calls of the last answer that have no result yet. */
  get openCalls() {
    const at = this.messages.findLastIndex((one) => one.role === "assistant");
    const answered = new Set(this.messages.slice(at + 1).map((one) => one.tool_call_id));
    return at < 0 ? [] : (this.messages[at].tool_calls ?? []).filter((call) => !answered.has(call.id));
  }

  build() {
    this.select = element("select", { ariaLabel: "Model" });
    this.select.append(...options(this.bench.models));
    this.select.addEventListener("change", () => { this.label(); if (!this.messages.length) this.show(); this.bench.changed(); });
    this.stop = element("button", { type: "button", className: "danger small", textContent: "Stop", hidden: true });
    this.stop.addEventListener("click", () => this.abort());
    const menu = element("details", { className: "menu" }, element("summary", { className: "button small", textContent: "Copy as" }),
      element("div", { className: "choices" }, ...Object.entries(CODE).map(([form, name]) => quiet(name, `Copy the request as ${name}`, () => { menu.open = false; this.bench.attempt(() => this.copyAs(form)); }))));
    menu.addEventListener("keydown", (event) => { if (event.key === "Escape") { menu.open = false; $("summary", menu).focus(); } });
    menu.addEventListener("focusout", (event) => { if (!menu.contains(event.relatedTarget)) menu.open = false; });
    this.close = element("button", { type: "button", className: "quiet icon", textContent: "×", ariaLabel: "Remove this model" });
    this.close.addEventListener("click", () => this.bench.remove(this));
    this.talk = element("div", { className: "talk", role: "log", tabIndex: 0 });
    this.talk.setAttribute("aria-live", "off"); // a finished answer is announced, and not every token
    this.root = element("section", { className: "column card flush" }, element("header", {}, this.select, element("span", { className: "actions" }, this.stop, menu, this.close)), this.talk);
  }

  choose(model) {
    this.select.value = String(Math.max(0, this.bench.models.indexOf(model)));
    this.label();
  }

  label() {
    this.root.setAttribute("aria-label", `Chat with ${this.model.shown}`);
    this.talk.setAttribute("aria-label", `Messages of ${this.model.shown}`);
    this.select.title = `${this.model.shown}, served by ${this.model.place}`;
  }

  /** Return the request that this column sends for what was said so far; throws where the settings are wrong. */
  request() {
    const { system } = this.bench.settings;
    const said = system.trim() ? [{ role: "system", content: system }, ...this.messages] : this.messages;
    return { model: this.model.name, messages: said, ...this.bench.settings.fields() };
  }

  async copyAs(form) {
    const { project, services } = this.model;
    const document = this.request();
    if (!document.messages.length) document.messages.push({ role: "user", content: this.bench.draft || "Hello" });
    const answer = await post(`/ui/playground/as/${form}`, { document, project });
    const key = project ? `. Its key: eval "$(dmrc env ${services[0] ?? "SERVICE"} --format export)"` : "";
    await copyText(await answer.text(), `Copied as ${CODE[form]}${key}`);
  }

  say(message) {
    this.messages.push(message);
    this.error = null;
    this.show();
  }

  clear() {
    this.drop();
    this.messages = [];
    this.error = null;
    this.results.clear();
    this.facts = new Map();
    this.session = crypto.randomUUID();
    this.show();
  }

  /** Stop, and keep what came. */
  abort() { this.asking?.abort(); }

  /** Stop, and keep nothing of the answer. */
  drop() {
    this.abort();
    this.asking = null;
  }

  /** Ask for the next answer. */
  async ask() {
    const document = this.request();
    const { project } = this.model;
    const place = element("div", { className: "words" });
    const coming = element("article", { className: "message assistant coming" }, element("header", {}, element("h3", { textContent: "Answer" })), place, element("p", { className: "figures" }, element("span", { className: "badge running", textContent: "waiting" })));
    const asking = (this.asking = new AbortController());
    this.error = null;
    this.show();
    this.talk.append(coming);
    this.follow(true);
    this.bench.changed();
    const answer = new Answer(place);
    const watch = new MutationObserver(() => { if (answer.hasSaid) $(".badge", coming)?.replaceChildren("running"); this.follow(); });
    watch.observe(place, { childList: true });
    try {
      const headers = { "x-session-id": this.session, ...(project ? { "x-dmrc-project": project } : {}) };
      await answer.take(document, headers, asking.signal);
    } catch (error) {
      if (error.name !== "AbortError") this.error = error.message;
      else if (!answer.hasSaid) this.bench.announce(`${this.model.shown} was stopped`);
      answer.finish = "stopped";
    }
    watch.disconnect();
    if (asking === this.asking) this.ended(answer, asking.signal.aborted);
  }

  ended(answer, isStopped) {
    this.asking = null;
    if (answer.hasSaid || !(isStopped || this.error)) {
      const message = answer.sent();
      this.messages.push(message);
      const line = answer.figures(this.model.context_tokens);
      if (isStopped) line.prepend(element("span", { className: "badge cancelled", textContent: "stopped" }));
      this.facts.set(message, line);
      const calls = message.tool_calls?.map((call) => call.function.name).join(", ");
      this.bench.announce(`${this.model.shown} ${calls ? `calls ${calls}` : "answered"}: ${textOf(message)}`);
    }
    const wasAtEnd = this.isAtEnd;
    this.show();
    this.follow(wasAtEnd);
    this.bench.changed();
  }

  get isAtEnd() { return this.talk.scrollHeight - this.talk.scrollTop - this.talk.clientHeight < 120; }

  /** Stay at the end of the talk, unless somebody has scrolled up. */
  follow(isWanted = this.isAtEnd) {
    if (isWanted) this.talk.scrollTop = this.talk.scrollHeight;
  }

  show() {
    const calls = this.openCalls;
    this.talk.replaceChildren(...this.messages.map((message, at) => this.drawn(message, at)));
    if (!this.messages.length) this.talk.append(this.welcome());
    if (this.error) this.talk.append(element("p", { className: "error", role: "alert", textContent: this.error }));
    if (this.isAsking) return;
    if (calls.length) this.talk.append(this.resultForm(calls));
    else if (this.messages.length && (this.error || this.messages.at(-1).role !== "assistant")) this.talk.append(this.askButton());
  }

  /** Return what an empty talk says of its model. */
  welcome() {
    const { place, can, shown, context_tokens: context } = this.model;
    const able = { vision: "sees pictures", tools: "calls tools", thinking: "reasons" };
    const facts = [place.replace(/^https?:\/\//, ""), context && `${count(context)} tokens of context`, ...(can ?? []).map((one) => able[one])].filter(Boolean);
    return element("div", { className: "welcome" }, element("p", { className: "strong", textContent: shown }), element("p", { className: "hint", textContent: facts.join(" · ") }));
  }

  askButton() {
    const button = element("button", { type: "button", textContent: this.error ? "Try again" : "Get the answer" });
    button.addEventListener("click", () => {
      if (this.messages.at(-1).role === "assistant") this.messages.pop(); // what came before it broke off
      this.bench.attempt(() => this.ask());
    });
    return element("p", { className: "actions" }, button);
  }

  drawn(message, at) {
    const isLast = at === this.messages.length - 1;
    const actions = [quiet("Copy", "Copy this message", () => this.bench.attempt(() => copyText(textOf(message) || JSON.stringify(message.tool_calls ?? "", null, 2))))];
    if (!this.isAsking) {
      actions.push(quiet("Edit", "Edit this message", () => edit(made, message, message.role === "assistant" ? "Save" : "Save and ask", (text) => this.bench.replace(message, withText(message, text)))));
      if (isLast && message.role === "assistant") actions.push(quiet("Regenerate", "Get another answer", () => this.regenerate()));
    }
    const made = article(message, message.role === "tool" ? `Result of ${this.nameOf(message.tool_call_id)}` : null, actions);
    const line = this.facts.get(message);
    if (line) made.append(line);
    return made;
  }

  nameOf(id) {
    const calls = this.messages.flatMap((one) => one.tool_calls ?? []);
    return calls.find((call) => call.id === id)?.function?.name ?? "tool";
  }

  regenerate() {
    this.messages.pop();
    this.results.clear();
    this.bench.attempt(() => this.ask());
  }

  /** Return the form in which a person says what the tools give. */
  resultForm(calls) {
    const fields = calls.map((call) => {
      const field = element("textarea", { rows: 3, required: true, value: this.results.get(call.id) ?? "", placeholder: '{"degrees": 21}', spellcheck: false });
      field.addEventListener("input", () => this.results.set(call.id, field.value));
      return element("label", {}, `Result of ${call.function.name}`, field);
    });
    const form = element("form", { className: "results", ariaLabel: "Results of tools" }, ...fields, element("button", { className: "primary", textContent: calls.length > 1 ? "Send the results" : "Send the result" }));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      for (const [at, call] of calls.entries()) this.messages.push({ role: "tool", tool_call_id: call.id, content: $("textarea", fields[at]).value });
      this.results.clear();
      this.bench.attempt(() => this.ask());
    });
    return form;
  }
}

/** Return the options of all models: those of projects under their names. */
function options(models) {
  const groups = new Map();
  models.forEach((model, at) => {
    const title = model.project ? `Project ${model.project}` : "Models of the store";
    if (!groups.has(title)) groups.set(title, element("optgroup", { label: title }));
    const place = model.project && model.place !== "llama.cpp" ? ` (${model.place.replace(/^https?:\/\//, "")})` : "";
    groups.get(title).append(element("option", { value: String(at), textContent: `${model.shown}${place}` }));
  });
  return groups.values();
}

/** Tell that a column cannot go on yet. */
export function refuse(column) {
  toast(`${column.model.shown} waits for the result of ${column.openCalls[0].function.name}: fill it in first`, "error");
}
