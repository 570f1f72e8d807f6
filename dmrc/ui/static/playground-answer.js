// One answer while it comes: asks, puts the pieces of a stream together, and measures.

import { ask, count, element, events, share, span } from "./page.js";
import { markdown } from "./markdown.js";
import { callOf, reasoning, thoughts } from "./playground-message.js";

const URL = "/ui/api/engines/v1/chat/completions";
const DRAW_MS = 80;

export class Answer {
  /** Draw into `place` what comes. */
  constructor(place) {
    this.place = place;
    this.message = { role: "assistant", content: "" };
    this.others = [];
    this.began = performance.now();
    this.first = null;
    this.drawn = 0;
  }

  get hasSaid() { return Boolean(this.message.content || this.message.reasoning_content || this.message.tool_calls); }

  /** Ask, and take the answer in; throws when it fails or is stopped, with what came until then kept. */
  async take(document, headers, signal) {
    const body = JSON.stringify(document);
    try {
      const response = await ask(URL, { method: "POST", headers: { "content-type": "application/json", ...headers }, body, signal });
      this.id = response.headers.get("x-dmrc-exchange-id");
      this.fault = response.headers.get("x-dmrc-fault");
      if (response.headers.get("content-type")?.startsWith("text/event-stream")) {
        for await (const chunk of events(response)) this.add(chunk);
      } else this.whole(await response.json());
    } finally {
      this.last = performance.now();
      this.draw();
    }
  }

  whole(document) {
    if (document.error) throw new Error(document.error.message);
    const [choice = {}, ...others] = document.choices ?? [];
    this.message = { role: "assistant", ...choice.message };
    this.others = others.map((one) => one.message?.content ?? "");
    this.finish = choice.finish_reason;
    Object.assign(this, { usage: document.usage, timings: document.timings });
  }

  add(chunk) {
    if (chunk.error) throw new Error(chunk.error.message ?? String(chunk.error));
    this.usage = chunk.usage ?? this.usage;
    this.timings = chunk.timings ?? this.timings;
    for (const choice of chunk.choices ?? []) {
      if (choice.index > 0) this.others[choice.index - 1] = (this.others[choice.index - 1] ?? "") + (choice.delta?.content ?? "");
      else this.addDelta(choice.delta ?? {}, choice.finish_reason);
    }
    if (performance.now() - this.drawn > DRAW_MS) this.draw();
  }

  addDelta(delta, finish) {
    const { message } = this;
    const thought = delta.reasoning_content ?? delta.reasoning;
    if (thought) message.reasoning_content = (message.reasoning_content ?? "") + thought;
    if (delta.content) message.content += delta.content;
    if (delta.refusal) message.refusal = (message.refusal ?? "") + delta.refusal;
    for (const part of delta.tool_calls ?? []) this.addCall(part);
    this.finish = finish ?? this.finish;
    if (thought || delta.content || delta.tool_calls) this.first ??= performance.now();
  }

  addCall(part) {
    const calls = (this.message.tool_calls ??= []);
    const call = (calls[part.index ?? calls.length - 1] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
    if (part.id) call.id = part.id;
    call.function.name += part.function?.name ?? "";
    call.function.arguments += part.function?.arguments ?? "";
  }

  draw() {
    const { message, place } = this;
    this.drawn = performance.now();
    const open = place.querySelector("details.reasoning")?.open;
    place.replaceChildren();
    if (message.reasoning_content) place.append(reasoning(message.reasoning_content, open ?? !message.content));
    place.append(markdown(message.content || message.refusal || ""));
    for (const call of message.tool_calls ?? []) place.append(callOf(call));
    this.others.forEach((text, at) => place.append(element("h4", { textContent: `Choice ${at + 2}` }), markdown(text)));
  }

  /** Return the message as it is sent with what comes after it: without what the model thought. */
  sent() {
    const { reasoning_content: thought, reasoning: other, ...message } = this.message;
    if (message.tool_calls) message.tool_calls = message.tool_calls.filter(Boolean);
    if (message.tool_calls && !message.content) message.content = null;
    if (thought ?? other) thoughts.set(message, thought ?? other);
    return message;
  }

  /** Return what was measured, as a line; `context` is what one request may use of the model, where that is known. */
  figures(context) {
    const { usage = {}, timings = {} } = this;
    const made = usage?.completion_tokens;
    const decoding = this.first === null ? null : this.last - this.first;
    // One token comes with the first piece: what follows took the rest of the time.
    const rate = timings?.predicted_per_second ?? (made > 1 && decoding > 0 ? ((made - 1) / decoding) * 1000 : null);
    const used = (usage?.prompt_tokens ?? 0) + (made ?? 0);
    const parts = [
      this.fault && ["fault", `made on purpose: ${this.fault}`],
      this.first !== null && ["first", `first token ${span(this.first - this.began)}`],
      rate && ["rate", `${rate.toFixed(rate < 10 ? 1 : 0)} tok/s`],
      ["took", `took ${span(this.last - this.began)}`],
      made !== undefined && ["tokens", `${count(usage.prompt_tokens)} in · ${count(made)} out`],
      context && used && ["context", `${share(used / context)} of ${count(context)} context`],
      this.finish === "length" && ["finish", "stopped at max tokens"],
    ].filter(Boolean);
    const line = element("p", { className: "figures" }, ...parts.map(([name, text]) => {
      const part = element("span", { textContent: text });
      part.dataset.name = name;
      return part;
    }));
    if (this.id) line.append(element("a", { href: `/ui/requests/${this.id}`, textContent: "View request" }));
    return line;
  }
}
