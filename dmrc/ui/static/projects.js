// What a project does now: containers, figures and the prompt cache come after the page is painted.
import { $, ago, ask, attempt, count, element, fill, span } from "./page.js";
import { timeChart } from "./chart.js";

const CONTAINERS_MS = 15000;
const FIGURES_MS = 60000; // sums over a day of a busy service take the better part of a second
const charts = new Map();

async function figuresOf(section) {
  const { start, end, services } = await (await ask(`/ui/projects/${encodeURIComponent(section.dataset.project)}/figures`)).json();
  for (const card of section.querySelectorAll("[data-service]")) {
    const found = services[card.dataset.service];
    if (found) show(card, found, start, end);
  }
}

function show(card, found, start, end) {
  const put = (name, text) => { $(`[data-figure=${name}]`, card).textContent = text; };
  put("requests", count(found.requests));
  put("failed", count(found.failed));
  put("p95", span(found.p95_ms));
  put("prompt", found.requests ? count(found.prompt_tokens) : "");
  put("completion", found.requests ? count(found.completion_tokens) : "");
  $("[data-figure=failed]", card).classList.toggle("wrong", found.failed > 0);
  $(".stats", card).removeAttribute("aria-busy");
  const last = $("[data-last]", card);
  last.replaceChildren(...(found.last_id ? ["Last request ", element("a", { href: `/ui/requests/${found.last_id}`, textContent: ago(found.last_at) })] : ["No requests yet"]));
  // The best moment to say how it is called.
  if (!found.last_id && !charts.has(card)) { const snippet = $("[data-snippet]", card); if (snippet) snippet.open = true; }
  draw(card, found, start, end);
}

function draw(card, found, start, end) {
  const place = $("[data-chart]", card);
  place.hidden = found.requests === 0;
  if (!charts.has(card)) {
    const series = [{ name: "succeeded", kind: "done" }, { name: "failed", kind: "failed" }];
    charts.set(card, timeChart(place, { title: "Requests by the hour", series, show: count, height: 44, axis: false }));
  }
  charts.get(card).update({ start, end, values: [found.done, found.errors] });
}

async function containersOf(section) {
  const { answers, containers } = await (await ask(`/ui/projects/${encodeURIComponent(section.dataset.project)}/containers`)).json();
  $("[data-docker]", section).textContent = answers === false ? "· Docker is not running" : "";
  for (const card of section.querySelectorAll("[data-service]")) {
    const own = containers.filter((one) => one.service === card.dataset.service);
    const place = $("[data-containers]", card);
    if (own.length) place.replaceChildren(...own.map(badge));
    else place.textContent = answers && card.dataset.service !== "*" ? "no container" : "";
  }
}

/** Running is good, an end with 0 is quiet, and any other end is a failure. */
function badge(one) {
  const kind = one.state === "running" ? (one.status.includes("unhealthy") ? "failed" : "done") : one.exit_code ? "failed" : "cancelled";
  const text = one.exit_code === null ? one.status : `exit code ${one.exit_code}`;
  return element("span", { className: `badge ${kind}`, textContent: text || one.state, title: `Container ${one.id}: ${one.status}` });
}

async function cacheOf(section) {
  for (const place of section.querySelectorAll("[data-cache]")) {
    const service = place.dataset.cache === "*" ? "" : place.dataset.cache;
    await fill(place, `/ui/projects/cache?${new URLSearchParams({ project: section.dataset.project, service })}`);
  }
}

const sections = [...document.querySelectorAll("[data-project]")];

/** Ask of all projects now, and again and again while the page is seen. One that has ended meanwhile says so. */
async function keep(read, every) {
  if (!document.hidden) await Promise.all(sections.map((section) => attempt(() => read(section))));
  setTimeout(() => keep(read, every), every);
}

if (sections.length) {
  keep(figuresOf, FIGURES_MS);
  keep(containersOf, CONTAINERS_MS);
  // The lens reads hundreds of requests of a service: one after the other, and once.
  attempt(async () => { for (const section of sections) await cacheOf(section); });
}
