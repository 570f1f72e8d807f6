import { $, ask, attempt, count, elapsed, element, fill, span } from "./page.js";
import { timeChart } from "./chart.js";

const TICK_MS = 250;
const HOUR_EVERY = 10_000;
const FIRST_EVERY = 1000;
const hasHour = Boolean($("#hour"));
const charts = new Map();
let isStale = false;

// What runs: the daemon sends the tables when they change, and how far each answer has come.

function listen() {
  const source = new EventSource("/ui/overview/now");
  source.addEventListener("now", (event) => {
    const place = $("#now");
    const focused = document.activeElement?.closest("#now a")?.getAttribute("href");
    const before = place.querySelectorAll("[data-id]").length;
    place.innerHTML = JSON.parse(event.data).html; // the server's own, in which every value is escaped
    if (focused) $(`a[href="${CSS.escape(focused)}"]`, place)?.focus();
    if (place.querySelectorAll("[data-id]").length < before) isStale = true;
  });
  source.addEventListener("progress", (event) => {
    for (const [id, pieces] of Object.entries(JSON.parse(event.data))) {
      const cell = $(`[data-id="${CSS.escape(id)}"] [data-pieces]`);
      if (cell && pieces) cell.textContent = count(pieces);
    }
  });
}

function tick() {
  if (document.hidden) return;
  const now = Date.now();
  for (const cell of document.querySelectorAll("[data-since]")) cell.textContent = elapsed(now - cell.dataset.since * 1000);
  for (const cell of document.querySelectorAll("[data-until]")) {
    // Whole seconds: it counts down, and its tenths would only flicker.
    const left = Math.max(0, Math.round(cell.dataset.until - now / 1000));
    cell.textContent = left < 60 ? `unloads in ${left} s` : `unloads in ${span(left * 1000)}`;
  }
}

// The last hour.

function rangeFilter(link = {}) {
  return (start, end) => { location.href = `/ui/requests?${new URLSearchParams({ ...link, since: day(start), before: day(end) })}`; };
}

const day = (seconds) => `${new Date(seconds * 1000).toISOString().slice(0, 19)}+00:00`;

function chartOf(key, place, options) {
  if (!charts.has(key)) charts.set(key, timeChart(place, options));
  return charts.get(key);
}

function multiple(place, service) {
  const known = [...place.children].find((one) => one.dataset.name === service.name);
  const box = known ?? element("div", { className: "multiple" });
  const sum = (values) => count(values.reduce((all, value) => all + value, 0));
  const failed = service.failed ? ` · ${count(service.failed)} failed` : "";
  const facts = `${count(service.requests)} ${service.requests === 1 ? "request" : "requests"} · ${sum(service.prompt_tokens)} in · ${sum(service.completion_tokens)} out${failed}`;
  if (!known) {
    box.dataset.name = service.name;
    const link = element("a", { href: `/ui/requests?${new URLSearchParams({ ...service.link, since: "1h" })}`, className: "clip", textContent: service.name });
    link.dir = "auto";
    box.append(element("p", {}, link), element("div"), element("p", { className: "facts" }));
    place.append(box);
  }
  box.lastElementChild.textContent = facts;
  return box.children[1];
}

async function hour() {
  isStale = false;
  const told = await (await ask("/ui/overview/hour")).json();
  const { start, end } = told;
  const page = element("template");
  page.innerHTML = told.html; // the server's own, in which every value is escaped
  const place = $("#hour");
  const shown = $("#requests-chart");
  const focused = place.contains(document.activeElement);
  // The chart stays, so that what is read in it does not go away under the pointer.
  $("#requests-chart", page.content).replaceWith(shown);
  if (!focused) place.replaceChildren(page.content);
  const series = [{ name: "succeeded", kind: "done" }, { name: "failed", kind: "failed" }];
  chartOf("all requests", shown, { title: "Requests per minute", series, show: count, onRange: rangeFilter(), height: 120 }).update({ start, end, values: [told.requests, told.failed] });
  services(told);
}

// Where nothing was asked yet: the first request makes the page what it is.
async function first() {
  const { requests, failed } = await (await ask("/ui/overview/hour")).json();
  if ([...requests, ...failed].some(Boolean)) location.reload();
}

function services({ services: all, start, end }) {
  const place = $("#services .multiples");
  place.removeAttribute("aria-busy");
  if (!all.length) place.replaceChildren(element("p", { className: "hint", textContent: "No requests in the last hour." }));
  else if (!$(".multiple", place)) place.replaceChildren();
  // One scale for all, for they are there to be compared.
  const most = Math.max(0, ...all.flatMap((one) => one.prompt_tokens.map((tokens, at) => tokens + one.completion_tokens[at])));
  for (const one of all) {
    const box = multiple(place, one);
    const series = [{ name: "in", kind: "in" }, { name: "out", kind: "out" }];
    const options = { title: `Tokens of ${one.name}`, series, show: count, height: 48, axis: false, onRange: rangeFilter(one.link) };
    chartOf(`service ${one.name}`, box, options).update({ start, end, values: [one.prompt_tokens, one.completion_tokens], most });
  }
}

listen();
setInterval(tick, TICK_MS);
if (!hasHour) setInterval(() => { if (!document.hidden) attempt(first); }, FIRST_EVERY);
if (hasHour) {
  attempt(hour);
  setInterval(() => { if (!document.hidden && (isStale || $("[data-id]"))) attempt(hour); }, HOUR_EVERY);
}
attempt(() => fill($("#checks"), "/ui/overview/checks"));
attempt(() => fill($("#advice"), "/ui/overview/advice"));
