// JSON as a tree that opens and shuts. A branch is made when it is opened first: of megabytes a few lines are drawn.

import { element } from "./page.js";

const AT_ONCE = 200;
const LONGEST_TEXT = 600;
const LONGEST_KEY = 200;
const OPEN_AT_FIRST = 40;

/** A number that JavaScript cannot hold, as it was written. */
class Written {
  constructor(text) { this.text = text; }
}

const isBranch = (value) => value !== null && typeof value === "object" && !(value instanceof Written);

/** Parse JSON; throws where it is none. Numbers of more digits than JavaScript has stay as they were written. */
export function parse(text) {
  return JSON.parse(text, (key, value, context) =>
    typeof value === "number" && context?.source && String(value) !== context.source && !Number.isSafeInteger(value)
      ? new Written(context.source) : value);
}

/** The text with a picture for each control character, as the daemon's `visible` has it. */
export const visible = (text) => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (found) =>
  String.fromCharCode(found < " " ? 0x2400 + found.charCodeAt(0) : found === "\u007f" ? 0x2421 : 0xfffd));

function textOf(value) {
  const whole = visible(value);
  const place = element("bdi", { className: "json-string" });
  const quoted = (text) => `"${text}"`;
  if (whole.length <= LONGEST_TEXT) {
    place.textContent = quoted(whole);
    return [place];
  }
  place.textContent = `"${whole.slice(0, LONGEST_TEXT)}…`;
  const button = element("button", { type: "button", className: "small quiet", textContent: `Show all ${value.length.toLocaleString("en-US")} characters` });
  button.addEventListener("click", () => { place.textContent = quoted(whole); button.remove(); });
  return [place, button];
}

function leaf(value) {
  if (typeof value === "string") return textOf(value);
  const text = value instanceof Written ? value.text : String(value);
  return [element("span", { className: value === null ? "json-null" : "json-number", textContent: text })];
}

function about(value) {
  if (Array.isArray(value)) return `[${value.length.toLocaleString("en-US")}]`;
  const keys = Object.keys(value);
  const names = keys.slice(0, 4).join(", ").slice(0, 60);
  return `{ ${visible(names)}${keys.length > 4 ? ", …" : ""} }`;
}

function entry(key, value, isOpen) {
  const name = key === null ? [] : [element("bdi", { className: "json-key", textContent: visible(String(key).slice(0, LONGEST_KEY)) }), ": "];
  if (!isBranch(value) || Object.keys(value).length === 0) {
    const shown = isBranch(value) ? [Array.isArray(value) ? "[]" : "{}"] : leaf(value);
    return element("div", { className: "json-entry" }, ...name, ...shown);
  }
  const inside = element("div", { className: "json-inside" });
  const branch = element("details", { className: "json-branch" },
    element("summary", {}, ...name, element("span", { className: "json-about", textContent: about(value) })), inside);
  const fillIn = () => { if (!inside.hasChildNodes()) children(inside, value); };
  branch.addEventListener("toggle", () => { if (branch.open) fillIn(); });
  if (isOpen) { fillIn(); branch.open = true; }
  return branch;
}

function children(place, value, from = 0) {
  const all = Array.isArray(value) ? value.map((one, at) => [at, one]) : Object.entries(value);
  const few = all.length <= OPEN_AT_FIRST;
  for (const [key, one] of all.slice(from, from + AT_ONCE)) place.append(entry(key, one, few && isSmall(one)));
  const left = all.length - from - AT_ONCE;
  if (left <= 0) return;
  const button = element("button", { type: "button", className: "small quiet", textContent: `Show ${Math.min(left, AT_ONCE)} more of ${all.length.toLocaleString("en-US")}` });
  button.addEventListener("click", () => { button.remove(); children(place, value, from + AT_ONCE); });
  place.append(button);
}

/** Whether a branch is worth opening at once: it has few entries, and no branches in branches. */
function isSmall(value) {
  if (!isBranch(value)) return false;
  const inside = Object.values(value);
  return inside.length <= 8;
}

/** Return the elements of a value; the first level is open. */
export const tree = (value) => element("div", { className: "json" }, entry(null, value, true));

/** Open all branches, level by level, up to so many. */
export function openAll(root, most = 2000) {
  for (let opened = 0; opened < most;) {
    const shut = [...root.querySelectorAll("details.json-branch:not([open])")].slice(0, most - opened);
    if (!shut.length) return;
    for (const branch of shut) {
      branch.open = true;
      branch.dispatchEvent(new Event("toggle"));
    }
    opened += shut.length;
  }
}

/** Shut all branches but the first. */
export function shutAll(root) {
  for (const branch of root.querySelectorAll(".json-inside details.json-branch[open]")) branch.open = false;
}
