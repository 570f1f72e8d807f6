// What the requests of a filter come to: numbers, chips with counts, facets and charts. All of it comes after the rows.
import { timeChart } from "./chart.js";
import { $, ask, count, element, share, span } from "./page.js";

const RANGES = { "15m": "15 min", "1h": "1 h", "24h": "24 h", "7d": "7 d" };
const TITLES = { project: "Project", service: "Service", model: "Model", status: "Status", operation: "Operation" };
const QUICK = [["errors", "1", "Failed"], ["slow", "5s", "Slow"], ["cancelled", "1", "Cancelled"]];
const MOST_VALUES = 5;
const FLAG_NAMES = { errors: "failed", cancelled: "cancelled" };

export const ranges = RANGES;

/** A chip that is a button; `act` is called when it is pressed. */
function chip(text, number, isPressed, act) {
  const made = element("button", { type: "button", className: "chip", textContent: text });
  if (number !== null) made.append(element("span", { className: "count", textContent: ` ${count(number)}` }));
  if (isPressed !== null) made.setAttribute("aria-pressed", String(isPressed));
  made.addEventListener("click", act);
  return made;
}

/** Put elements in a place; the one that has the focus keeps it, by its text. */
function swap(place, made) {
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  place.replaceChildren(...made);
  if (focused) [...place.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focused)?.focus();
}

function keyed(made, key) {
  made.dataset.key = key;
  return made;
}

export class Counts {
  /** `change(filters)` chooses others; `toggleRunning()` shows only what runs, or everything again. */
  constructor({ change, toggleRunning }) {
    this.change = change;
    this.toggleRunning = toggleRunning;
    this.found = null;
    this.running = 0;
    this.onlyRunning = false;
    this.range = "24h";
    this.charts = null;
    this.unfolded = new Set();
  }

  values(name) {
    return (this.found?.values[name] ?? []).map(([value]) => value);
  }

  toggled(filters, name, value) {
    const next = new URLSearchParams(filters);
    if (next.get(name) === String(value)) next.delete(name);
    else next.set(name, value);
    return next;
  }

  /** Show chips for the filters, with the counts that are known. */
  chips(filters) {
    const quick = QUICK.map(([name, value, text]) => keyed(chip(text, this.found ? this.found.quick[name] : null, filters.get(name) === value, () => this.change(this.toggled(filters, name, value))), name));
    quick.push(keyed(chip("Running", this.running, this.onlyRunning, () => this.toggleRunning()), "running"));
    swap($("#quick"), quick);
    const active = [...filters].map(([name, value]) => {
      const text = FLAG_NAMES[name] ?? (name === "grep" ? `“${value}”` : `${name}: ${value}`);
      const made = keyed(element("button", { type: "button", className: "chip active", title: "Remove this filter" }, element("bdi", { textContent: text }), element("span", { ariaHidden: "true", textContent: " ✕" })), name);
      made.setAttribute("aria-label", `Remove the filter ${text}`);
      made.addEventListener("click", () => { const next = new URLSearchParams(filters); next.delete(name); this.change(next); });
      return made;
    });
    swap($("#active"), active);
    $("#fold").textContent = active.length ? `Filters · ${active.length}` : "Filters";
  }

  runs(number, filters) {
    if (number === this.running) return;
    this.running = number;
    const place = $("#quick [data-key=running] .count");
    if (place) place.textContent = ` ${count(number)}`;
    else this.chips(filters);
  }

  /** Read the newest requests of the filters, and show what they come to. */
  async read(filters, signal) {
    const found = await (await ask(`/ui/requests/facets?${filters}`, { signal })).json();
    this.found = found;
    this.chips(filters);
    this.facets(filters);
    this.stats();
    $("#totals").setAttribute("aria-busy", "false");
  }

  facets(filters) {
    const groups = Object.entries(TITLES).filter(([name]) => this.found.values[name]?.length).map(([name, title]) => {
      const all = this.found.values[name];
      // One more than fits is shown, and not a button in its place.
      const isFolded = all.length > MOST_VALUES + 1 && !this.unfolded.has(name);
      const shown = all.filter(([value], at) => !isFolded || at < MOST_VALUES || filters.get(name) === String(value));
      const buttons = shown.map(([value, label, number]) => {
        const made = keyed(element("button", { type: "button", title: String(value) }, element("bdi", { textContent: label }), element("span", { className: "count", textContent: count(number) })), `${name}:${value}`);
        made.setAttribute("aria-pressed", String(filters.get(name) === String(value)));
        made.addEventListener("click", () => this.change(this.toggled(filters, name, value)));
        return made;
      });
      if (isFolded) buttons.push(this.unfold(name, all.length - shown.length, filters));
      const group = element("div", { className: "facet" }, element("h3", { textContent: title }), ...buttons);
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", title);
      return group;
    });
    swap($("#facets > div"), groups);
  }

  unfold(name, number, filters) {
    const made = element("button", { type: "button", className: "more", textContent: `${number} more` });
    made.addEventListener("click", () => {
      this.unfolded.add(name);
      this.facets(filters);
      $(`.facet[aria-label="${TITLES[name]}"] button:nth-of-type(${MOST_VALUES + 1})`)?.focus();
    });
    return made;
  }

  stats() {
    const { looked_at: all, has_more: hasMore, quick, prompt_tokens: given, completion_tokens: made, total, first_token: first } = this.found;
    const pair = ({ p50, p95 }) => (p50 === null ? "" : `p50 ${span(p50)} · p95 ${span(p95)}`);
    const facts = [
      ["Requests", hasMore ? `${count(all)}+` : count(all)],
      ["Failed", all ? share(quick.errors / all) : "", quick.errors ? "wrong" : ""],
      ["Tokens", given || made ? `${count(given)} in · ${count(made)} out` : ""],
      ["Took", pair(total)],
      ["First token", pair(first)],
    ];
    $("#totals .stats").replaceChildren(...facts.filter(([, value]) => value).map(([name, value, kind = ""]) =>
      element("div", { className: "stat" }, element("dt", { textContent: name }), element("dd", { textContent: value, className: kind }))));
    $("#counted").textContent = hasMore ? `Numbers and filters count the newest ${all.toLocaleString("en-US")} that match.` : "";
    $("#totals").hidden = !all;
  }

  /** Draw the charts, of the time that is filtered by, or of the range that was chosen. */
  async draw(filters, signal) {
    const isFixed = filters.has("since") || filters.has("before");
    const asked = isFixed ? filters : new URLSearchParams([...filters, ["since", this.range]]);
    this.showRanges(filters, isFixed);
    const sums = await (await ask(`/ui/requests/totals?${asked}`, { signal })).json();
    $("#totals .charts").hidden = !sums.requests;
    if (!sums.requests) return;
    this.charts ??= this.makeCharts();
    const { start, end, parts } = sums;
    const of = (name) => parts.map((part) => part[name]);
    this.charts.requests.update({ start, end, values: [parts.map((part) => part.requests - part.failed), of("failed")] });
    this.charts.took.update({ start, end, values: [of("total_ms")] });
    this.charts.tokens.update({ start, end, values: [of("completion_tokens")] });
  }

  showRanges(filters, isFixed) {
    swap($("#ranges"), Object.entries(RANGES).map(([range, text]) => keyed(chip(text, null, !isFixed && range === this.range, () => {
      this.range = range;
      const next = new URLSearchParams(filters);
      next.delete("since");
      next.delete("before");
      this.change(next);
    }), range)));
  }

  makeCharts() {
    const onRange = (start, end) => this.onRange(start, end);
    const chart = (options) => {
      const place = element("div");
      $("#totals .charts").append(place);
      return timeChart(place, { height: 96, onRange, ...options });
    };
    return {
      requests: chart({ title: "Requests", series: [{ name: "succeeded", kind: "done" }, { name: "failed", kind: "failed" }], show: (value) => (Number.isInteger(value) ? count(value) : "") }),
      took: chart({ title: "Mean time", kind: "lines", series: [{ name: "mean", kind: "p50" }], show: span }),
      tokens: chart({ title: "Tokens out", series: [{ name: "out", kind: "done" }], show: count }),
    };
  }
}
