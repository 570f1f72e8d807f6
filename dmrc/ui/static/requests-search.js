// The search box: `service:web status:4xx errors two words` is a filter, and its names and values complete themselves.
import { $, element } from "./page.js";

const FLAGS = { errors: "errors", failed: "errors", cancelled: "cancelled" };
const HINTS = { status: ["2xx", "4xx", "5xx", "429"], slow: ["1s", "5s", "30s"], since: ["15m", "1h", "24h", "7d"], before: ["1h", "24h"] };
const TYPED_MS = 250;
const MOST = 8;

/** Return what a text asks for, as the address of the list has it. */
export function parse(text, names) {
  const filters = new URLSearchParams();
  const words = [];
  for (const [token, name, quoted, plain] of text.matchAll(/(?:([a-z]+):)?(?:"([^"]*)"?|(\S+))/g)) {
    const value = quoted ?? plain;
    if (name && names.includes(name)) { if (value) filters.set(name, value); }
    else if (!name && quoted === undefined && FLAGS[value]) filters.set(FLAGS[value], "1");
    else words.push(token);
  }
  if (words.length) filters.set("grep", words.join(" "));
  return filters;
}

/** Return the text that asks for these; `parse` reads it. */
export function write(filters) {
  const quote = (value) => (value.includes(" ") ? `"${value}"` : value);
  const tokens = [...filters].filter(([name]) => name !== "grep").map(([name, value]) => (FLAGS[name] ? name : `${name}:${quote(value)}`));
  return [...tokens, ...(filters.get("grep") ? [filters.get("grep")] : [])].join(" ");
}

/** The box. `apply(filters)` is called a moment after the last key; `values(name)` are those that may follow a name. */
export class SearchBox {
  constructor({ apply, values }) {
    this.input = $("#query");
    this.list = $("#completions");
    this.names = this.input.dataset.names.split(" ").filter((name) => name !== "grep" && !FLAGS[name]);
    this.apply = apply;
    this.values = values;
    this.at = -1;
    this.input.addEventListener("input", () => { this.complete(); this.later(); });
    this.input.addEventListener("keydown", (event) => this.press(event));
    this.input.addEventListener("focus", () => this.complete());
    this.input.addEventListener("blur", () => { this.close(); this.now(); });
    this.list.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the box keeps the focus
      const option = event.target.closest("[role=option]");
      if (option) this.take(option);
    });
    $("#search").addEventListener("submit", (event) => { event.preventDefault(); this.now(); });
  }

  show(filters) {
    if (parse(this.input.value, this.names).toString() !== filters.toString()) this.input.value = write(filters);
  }

  /** Half a name is no word to search for, nor half a value one to filter by: those wait for the rest. */
  later() {
    clearTimeout(this.timer);
    if (this.list.hidden) this.timer = setTimeout(() => this.now(), TYPED_MS);
  }

  now() {
    clearTimeout(this.timer);
    this.apply(parse(this.input.value, this.names));
  }

  /** The token before the cursor, and where it begins. */
  token() {
    const before = this.input.value.slice(0, this.input.selectionStart);
    const found = /(\S*:"[^"]*|\S*)$/.exec(before)[0];
    return { text: found, start: before.length - found.length };
  }

  choices() {
    const { text } = this.token();
    const [, name, begun] = /^([a-z]+):"?(.*)$/.exec(text) ?? [];
    if (name && this.names.includes(name)) {
      const known = [...new Set([...this.values(name).map(String), ...(HINTS[name] ?? [])])];
      if (known.includes(begun)) return [];
      return known.filter((value) => value.toLowerCase().includes(begun.toLowerCase())).map((value) => ({ text: write(new URLSearchParams([[name, value]])), shown: value }));
    }
    const all = [...this.names.map((one) => `${one}:`), "errors", "cancelled"];
    if (all.includes(text)) return [];
    return all.filter((one) => one.startsWith(text)).map((one) => ({ text: one, shown: one }));
  }

  complete() {
    const choices = document.activeElement === this.input ? this.choices().slice(0, MOST) : [];
    this.at = -1;
    this.list.replaceChildren(...choices.map(({ text, shown }, number) => {
      const option = element("li", { id: `completion-${number}`, textContent: shown });
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      option.dataset.text = text;
      return option;
    }));
    this.list.hidden = !choices.length;
    this.input.setAttribute("aria-expanded", String(choices.length > 0));
    this.input.removeAttribute("aria-activedescendant");
  }

  close() {
    this.list.hidden = true;
    this.at = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  mark(at) {
    const options = [...this.list.children];
    this.at = (at + options.length) % options.length;
    options.forEach((option, number) => option.setAttribute("aria-selected", String(number === this.at)));
    this.input.setAttribute("aria-activedescendant", options[this.at].id);
  }

  take(option) {
    const { text } = option.dataset;
    const { start } = this.token();
    const end = this.input.selectionStart;
    const rest = this.input.value.slice(end);
    const isWhole = !text.endsWith(":");
    const put = isWhole && !rest.startsWith(" ") ? `${text} ` : text;
    this.input.value = this.input.value.slice(0, start) + put + rest;
    const cursor = start + put.length;
    this.input.setSelectionRange(cursor, cursor);
    this.complete();
    if (isWhole) this.now();
  }

  press(event) {
    const isOpen = !this.list.hidden;
    if (event.key === "ArrowDown" && isOpen) this.mark(this.at + 1);
    else if (event.key === "ArrowUp" && isOpen) this.mark(this.at < 0 ? -1 : this.at - 1);
    else if ((event.key === "Enter" || event.key === "Tab") && isOpen && this.at >= 0) this.take(this.list.children[this.at]);
    else if (event.key === "Enter") { this.close(); this.now(); }
    else if (event.key === "Escape" && isOpen) this.close();
    else if (event.key === "Escape") this.input.blur();
    else return;
    event.preventDefault();
  }
}
