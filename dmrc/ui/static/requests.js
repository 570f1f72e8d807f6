import { $, ask, attempt, element } from "./page.js";
import { chart } from "./chart.js";

const MOST_ROWS = 500;
const TOTALS_EVERY = 10_000;
const filters = new URLSearchParams(location.search);
const body = $("#rows tbody");
const pause = $("#pause");
// Words and times are looked for on disk; nothing that happens now can be said to match.
const isLive = !filters.get("grep") && !filters.get("before");
let hidden = 0;
let isStale = false;
let source = null;

$("#filters").addEventListener("submit", (event) => {
  event.preventDefault();
  const chosen = [...new FormData(event.target)].filter(([, value]) => value.trim());
  location.search = new URLSearchParams(chosen);
});

function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // the server's own row, in which every value is escaped
  return template.content;
}

function put(row) {
  const known = document.getElementById(`r-${row.id}`);
  const isNew = fragment(row.html);
  const hadFocus = known?.contains(document.activeElement);
  if (known) known.replaceWith(isNew);
  else body.prepend(isNew);
  if (hadFocus) $("a", document.getElementById(`r-${row.id}`)).focus();
  while (body.rows.length > MOST_ROWS) body.lastElementChild.remove();
  $("#empty").hidden = true;
}

function tell() {
  const paused = pause.getAttribute("aria-pressed") === "true";
  let text = "Live: requests appear as they start.";
  if (!isLive) text = "These are requests on record; new ones are not added to a search.";
  else if (paused) text = `Paused. ${hidden} new since then.`;
  $("#live").textContent = text;
  return paused;
}

function listen() {
  source?.close();
  source = new EventSource(`/ui/events?${filters}`);
  // It begins with the rows on record: some ended after this page was made, or while it did not listen.
  source.addEventListener("connected", (event) => {
    if (!tell()) replace(JSON.parse(event.data));
  });
  const take = (event) => {
    const row = JSON.parse(event.data);
    if (event.type === "completed") isStale = true;
    const known = document.getElementById(`r-${row.id}`);
    if (pause.getAttribute("aria-pressed") === "true" && !known) {
      if (event.type === "started") hidden += 1;
      tell();
    } else put(row);
  };
  source.addEventListener("started", take);
  source.addEventListener("completed", take);
  source.addEventListener("progress", (event) => {
    for (const [id, chunks] of Object.entries(JSON.parse(event.data))) {
      const cell = $(`#r-${CSS.escape(id)} [data-name=tokens]`);
      if (cell && chunks) cell.textContent = `${chunks} tok`;
    }
  });
  source.addEventListener("missed", listen);
  source.addEventListener("error", () => { $("#live").textContent = "The daemon does not answer; trying again."; });
}

function replace({ rows, has_more: hasMore }) {
  if (rows.map((row) => `r-${row.id}`).join() === [...body.rows].map((row) => row.id).join()) return;
  const focused = document.activeElement.closest("#rows tr")?.id;
  body.replaceChildren(fragment(rows.map((row) => row.html).join("")));
  if (focused) body.querySelector(`#${CSS.escape(focused)} a`)?.focus();
  $("#older").hidden = !hasMore;
  $("#empty").hidden = rows.length > 0;
}

async function older() {
  const after = body.lastElementChild.id.slice(2);
  const response = await ask(`/ui/requests/rows?${new URLSearchParams([...filters, ["after", after]])}`);
  body.append(fragment(await response.text()));
  $("#older").hidden = response.headers.get("x-more") !== "true";
}

const round = (value, unit) => (value === null ? "-" : `${Math.round(value)} ${unit}`);

async function totals() {
  isStale = false;
  const sums = await (await ask(`/ui/requests/totals?${filters}`)).json();
  const hours = (sums.end - sums.start) / 3600;
  const span = hours < 1.01 ? `${Math.round(hours * 60)} minutes` : `${Math.round(hours)} hours`;
  const facts = {
    [`Requests, ${span}`]: sums.requests,
    Failed: sums.failed,
    Tokens: `${sums.prompt_tokens}→${sums.completion_tokens}`,
    Rate: round(sums.tokens_per_second, "tok/s"),
    "First token": round(sums.first_token_ms, "ms"),
    Latency: round(sums.total_ms, "ms"),
  };
  $("#totals dl").replaceChildren(...Object.entries(facts).map(([name, value]) =>
    element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
  const series = (name) => sums.parts.map((part) => part[name] ?? 0);
  $("#totals .charts").replaceChildren(
    chart("Requests", series("requests"), { bad: series("failed") }),
    chart("Tokens/s", series("tokens_per_second"), { show: (value) => round(value, "tok/s") }),
    chart("Latency", series("total_ms"), { show: (value) => round(value, "ms") }),
  );
  $("#totals").setAttribute("aria-busy", "false");
}

function togglePause() {
  const pauses = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(pauses));
  hidden = 0;
  tell();
  if (!pauses) listen();
}

function move(step) {
  const links = [...body.querySelectorAll("td[data-name=time] a")];
  const at = links.indexOf(document.activeElement);
  links[at < 0 ? 0 : Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const actions = { ArrowDown: () => move(1), ArrowUp: () => move(-1), j: () => move(1), k: () => move(-1), p: togglePause, "/": () => $("[name=grep]").focus() };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
body.addEventListener("click", (event) => {
  if (!event.target.closest("a") && !getSelection().toString()) $("a", event.target.closest("tr")).click();
});
pause.addEventListener("click", togglePause);
$("#older").addEventListener("click", () => attempt(older));
if (isLive) listen();
else pause.hidden = true;
tell();
attempt(totals);
setInterval(() => { if (isStale && !document.hidden) attempt(totals); }, TOTALS_EVERY);
