// One message as an element. Messages are kept as they are sent: what cannot be drawn is named, and stays.

import { element, toast } from "./page.js";
import { markdown } from "./markdown.js";
import { preview } from "./playground-pictures.js";

/** What a model thought before an answer of this page: it is shown, and not sent again. */
export const thoughts = new WeakMap();

const TITLES = { user: "You", assistant: "Answer", system: "System", developer: "Developer", tool: "Tool result", function: "Tool result" };

/** Return the words of a message. */
export function textOf(message) {
  if (typeof message.content === "string") return message.content;
  if (!Array.isArray(message.content)) return "";
  return message.content.map((part) => (typeof part === "string" ? part : part.text ?? "")).filter(Boolean).join("\n");
}

/** Return a message with other words; its pictures, and all else, stay. */
export function withText(message, text) {
  if (!Array.isArray(message.content)) return { ...message, content: text };
  const others = message.content.filter((part) => typeof part !== "string" && typeof part.text !== "string");
  return { ...message, content: [...(text ? [{ type: "text", text }] : []), ...others] };
}

/** Return text as it is shown where it is JSON, and else unchanged. */
export function prettyJson(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export async function copyText(text, said = "Copied") {
  await navigator.clipboard.writeText(text);
  toast(said, "done");
}

/** Return a button without a frame. */
export function quiet(text, label, act) {
  const button = element("button", { type: "button", className: "quiet small", textContent: text });
  if (label) button.setAttribute("aria-label", label);
  button.addEventListener("click", act);
  return button;
}

/** Return the article of a message, with `actions` (buttons) beside its title. */
export function article(message, title, actions) {
  const role = TITLES[message.role] ? message.role : "user";
  const made = element("article", { className: `message ${role}` },
    element("header", {}, element("h3", { textContent: title ?? TITLES[message.role] ?? String(message.role) }), element("span", { className: "actions" }, ...actions)));
  made.append(...bodyOf(message));
  return made;
}

/** Return what a message holds: words, pictures, calls. */
export function bodyOf(message) {
  const found = [];
  const thought = message.reasoning_content ?? message.reasoning ?? thoughts.get(message);
  if (typeof thought === "string" && thought) found.push(reasoning(thought));
  const text = textOf(message);
  if (text) found.push(words(message.role, text));
  for (const part of Array.isArray(message.content) ? message.content : []) {
    if (typeof part === "object" && part !== null && typeof part.text !== "string") found.push(other(part));
  }
  for (const call of message.tool_calls ?? []) found.push(callOf(call));
  if (!found.length) found.push(element("p", { className: "hint", textContent: "Empty" }));
  return found;
}

function words(role, text) {
  if (role === "assistant") {
    const place = element("div", { className: "words" });
    place.append(markdown(text));
    return place;
  }
  return element("pre", { className: "words", dir: "auto", textContent: role === "tool" ? prettyJson(text) : text });
}

export function reasoning(text, isOpen = false) {
  return element("details", { className: "reasoning", open: isOpen }, element("summary", { textContent: "Reasoning" }), element("pre", { dir: "auto", textContent: text }));
}

function other(part) {
  const url = part.image_url?.url ?? (typeof part.image_url === "string" ? part.image_url : null);
  if (part.type === "image_url" && url) return preview(url);
  return element("p", {}, element("span", { className: "badge", textContent: `${part.type ?? "part"}, sent as it is` }));
}

export function callOf(call) {
  const { name = "tool", arguments: given = "" } = call.function ?? {};
  return element("div", { className: "call" },
    element("p", {}, element("span", { className: "badge", textContent: "calls" }), " ", element("code", { textContent: name })),
    element("pre", { dir: "auto", textContent: prettyJson(given) || "{}" }));
}

/** Turn the body of an article into a field; `save` gets the words. */
export function edit(made, message, saved, save) {
  const field = element("textarea", { value: textOf(message), rows: Math.min(16, textOf(message).split("\n").length + 1), ariaLabel: `Edit: ${TITLES[message.role] ?? message.role}` });
  const before = [...made.children];
  const cancel = () => { made.replaceChildren(...before); made.querySelector("button")?.focus(); };
  const keep = element("button", { type: "submit", className: "primary small", textContent: saved });
  const stop = element("button", { type: "button", className: "small", textContent: "Cancel" });
  const form = element("form", { className: "editing" }, field, element("div", { className: "actions" }, keep, stop));
  form.addEventListener("submit", (event) => { event.preventDefault(); save(field.value); });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.stopPropagation(); cancel(); }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  stop.addEventListener("click", cancel);
  made.replaceChildren(made.firstElementChild, form);
  field.focus();
}
