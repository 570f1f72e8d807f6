// What the modules of all views share. Importing it does nothing; shell.js acts for every page.

export const $ = (selector, within = document) => within.querySelector(selector);
const LETTERS = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
const AGES = [[86400, "d"], [3600, "h"], [60, "min"]];
const TOAST_MS = 6000;

/** Return an element with properties and children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Numbers, spelled as dmrc/figures.py spells them; tests/ui/test_page_figures.py holds the two against each other.

const isKnown = (value) => value !== null && value !== undefined && Number.isFinite(value);
const whole = (value) => Math.round(value).toLocaleString("en-US");

/** `812`, `9,431`, `325.4k`, `1.3M`; "" for what is not known. */
export function count(value) {
  if (!isKnown(value)) return "";
  if (Math.abs(value) < 9999.5) return whole(value);
  const [size, letter] = LETTERS.find(([size]) => Math.abs(value) >= size * 0.99995);
  return `${(value / size).toFixed(1)}${letter}`;
}

function two(units, size, large, small) {
  const rest = units % size;
  return rest ? `${Math.floor(units / size)} ${large} ${rest} ${small}` : `${units / size} ${large}`;
}

/** Milliseconds as `0.4 ms`, `117 ms`, `1.20 s`, `12.3 s`, `4 min 18 s`, `2 h 5 min`. */
export function span(value) {
  if (!isKnown(value)) return "";
  const ms = Math.max(value, 0);
  if (ms < 999.5) return ms >= 0.05 && ms < 9.95 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(ms < 9_995 ? 2 : 1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return two(seconds, 60, "min", "s");
  if (seconds < 86400) return two(Math.round(seconds / 60), 60, "h", "min");
  return two(Math.round(seconds / 3600), 24, "d", "h");
}

/** How long something runs: `4.4 s`, `12 s`, `4 min 18 s`. It ticks, and finer digits would only flicker. */
export const elapsed = (ms) => (ms < 9_950 ? `${(Math.max(ms, 0) / 1000).toFixed(1)} s` : span(Math.floor(ms / 1000) * 1000).replace(/\.0 s$/, " s"));

/** A part of a whole: `12 %`, `<1 %`, `>99 %`. */
export function share(value) {
  if (!isKnown(value)) return "";
  if (value > 0 && value < 0.005) return "<1 %";
  if (value >= 0.995 && value < 1) return ">99 %";
  return `${Math.round(value * 100)} %`;
}

/** Bytes in decimal units: `98.36 MB`. */
export function size(value) {
  if (!isKnown(value)) return "";
  let left = value;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (left < 1000) return unit === "B" ? `${Math.round(left)} B` : `${left.toFixed(2)} ${unit}`;
    left /= 1000;
  }
  return `${left.toFixed(2)} TB`;
}

/** How long ago a Unix second was: `12 s ago`. */
export function ago(unixSeconds, now = Date.now() / 1000) {
  if (!isKnown(unixSeconds)) return "";
  const seconds = now - unixSeconds;
  if (seconds < 1) return "just now";
  const [length, unit] = AGES.find(([length]) => seconds >= length) ?? [1, "s"];
  return `${Math.floor(seconds / length)} ${unit} ago`;
}

// Talking to the daemon.

const AGAIN_MS = 500;

// A browser ends what is under way when a network comes or goes on this machine, as it does with each `docker compose
// up`: what only reads is asked for once more.
async function fetched(path, options) {
  for (let left = (options.method ?? "GET") === "GET" ? 2 : 1; left > 0; left -= 1) {
    try {
      return await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      if (left > 1) await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }
  throw new Error("The daemon does not answer. Start it again with: dmrc ui");
}

/** Fetch, and throw an Error with the server's own words when it refuses. */
export async function ask(path, options = {}) {
  const response = await fetched(path, options);
  if (response.ok) return response;
  const text = await response.text();
  let message = text || `The daemon answers ${response.status}`;
  try {
    const document = JSON.parse(text);
    message = document.error?.message ?? document.error ?? document.message ?? message;
  } catch { /* the text itself is the message */ }
  throw new Error(String(message));
}

export const post = (path, document, options = {}) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(document), ...options });

/** Yield the lines of an answer as they come. */
export async function* lines(response, onBytes = () => {}) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    onBytes(value.length);
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
  if (rest) yield rest;
}

/** Yield the JSON of each Server-Sent Event up to `[DONE]`. */
export async function* events(response) {
  for await (const line of lines(response)) {
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") return;
    yield JSON.parse(data);
  }
}

/** Replace what a place holds by a part of a page that the daemon made, in which every value is escaped. */
export async function fill(place, path, options = {}) {
  place.innerHTML = await (await ask(path, options)).text();
  place.removeAttribute("aria-busy");
}

/**
 * Do some work again and again while somebody sees the page; what fails is tried again. It takes a twentieth of the time
 * at most: after work that took long, the next is later than `milliseconds`.
 */
export function every(milliseconds, work) {
  const next = (wait) => setTimeout(async () => {
    const began = performance.now();
    if (!document.hidden) await Promise.resolve(work()).catch(() => {});
    next(Math.max(milliseconds, 20 * (performance.now() - began)));
  }, wait);
  next(milliseconds);
}

// Telling.

/** Show a line in a corner; nothing moves for it. `kind`: "" | "done" | "error". Errors stay until they are closed. */
export function toast(text, kind = "") {
  const close = element("button", { type: "button", ariaLabel: "Close", textContent: "✕" });
  const line = element("div", { className: `toast ${kind}`.trim() }, element("span", { textContent: text }), close);
  if (kind === "error") line.setAttribute("role", "alert");
  close.addEventListener("click", () => line.remove());
  const place = $("#notice");
  // A dialog covers the page, and a line below it could not be read.
  ($("dialog[open]") ?? document.body).append(place);
  place.append(line);
  while (place.children.length > 4) place.firstElementChild.remove();
  if (kind !== "error") setTimeout(() => line.remove(), TOAST_MS);
}

export const say = (text, isError = false) => toast(text, isError ? "error" : "");

/** Run `work`; what it throws is shown. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") toast(error.message, "error");
    return undefined;
  }
}

// Parts.

/**
 * Make tabs of a `role=tablist`: each `role=tab` names its panel by `aria-controls`. Arrow keys, Home and End move.
 * Returns `select(id of a panel)`. `onSelect` is told the id; the first call is not told.
 */
export function tabs(root, onSelect = () => {}) {
  const list = root.matches('[role="tablist"]') ? root : $('[role="tablist"]', root);
  const all = [...list.querySelectorAll('[role="tab"]')];
  const panelOf = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
  const show = (chosen) => {
    for (const tab of all) {
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      const panel = panelOf(tab);
      if (panel) panel.hidden = tab !== chosen;
    }
  };
  const choose = (tab) => { show(tab); onSelect(tab.getAttribute("aria-controls")); };
  list.addEventListener("click", (event) => { const tab = event.target.closest('[role="tab"]'); if (tab) choose(tab); });
  list.addEventListener("keydown", (event) => {
    const at = all.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const next = all[(to + all.length) % all.length];
    next.focus();
    choose(next);
  });
  show(all.find((tab) => tab.getAttribute("aria-selected") === "true") ?? all[0]);
  return { select: (id) => { const tab = all.find((one) => one.getAttribute("aria-controls") === id); if (tab) show(tab); } };
}

/** Fold each `.fold` that is higher than the fold, with a button that says how long the text is. */
export function folds(root = document) {
  for (const place of root.querySelectorAll(".fold:not([data-folded])")) {
    place.dataset.folded = "";
    place.classList.add("shut");
    if (place.scrollHeight <= place.clientHeight + 60) { place.classList.remove("shut"); continue; }
    const length = count(place.textContent.length);
    const button = element("button", { type: "button", className: "fold-button quiet small" });
    const tell = () => {
      const isShut = place.classList.contains("shut");
      button.setAttribute("aria-expanded", String(!isShut));
      button.textContent = isShut ? `Show all ${length} characters` : "Show less";
    };
    button.addEventListener("click", () => { place.classList.toggle("shut"); tell(); });
    place.after(button);
    tell();
  }
}

/** Copy a text, and say so. */
export async function copy(text) {
  await navigator.clipboard.writeText(text);
  toast("Copied", "done");
}

const known = new Map();

/**
 * Let keys do something in this view, and list them in the dialog of `?`.
 * `map`: `{ "j": ["Next request", () => …] }`; keys of one action are separated by spaces: `"j ArrowDown"`. With no
 * action only the dialog lists it. An action that returns false has done nothing, and the browser does its own.
 */
export function keys(map) {
  for (const [names, [says, act]] of Object.entries(map)) known.set(names, { says, act });
}

export const knownKeys = () => [...known];

/** Whether keys are text for what has the focus. */
export const isTyping = (target) => Boolean(target.closest?.("input:not([type=checkbox]):not([type=radio]), select, textarea, [contenteditable]"));
