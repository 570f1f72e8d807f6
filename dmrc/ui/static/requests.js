// The list of requests: filters in the address, rows as they come, and one request beside them.
import { $, ask, attempt, keys } from "./page.js";
import { Counts } from "./requests-counts.js";
import * as list from "./requests-list.js";
import { LiveRows } from "./requests-live.js";
import { Panel } from "./requests-panel.js";
import { cancel, pick, picks } from "./requests-picks.js";
import { SearchBox } from "./requests-search.js";

const COUNTED_EVERY = 10_000;
const pause = $("#pause");
const panel = new Panel();
let filters = new URLSearchParams();
let hidden = 0;
let isStale = false;
let changing = null;

// Words and times are looked for on disk; nothing that happens now can be said to match.
const isLive = () => !filters.get("grep") && !filters.get("before");
const isPaused = () => pause.getAttribute("aria-pressed") === "true";

function fromAddress() {
  const given = new URLSearchParams(location.search);
  const shown = given.get("show");
  given.delete("show");
  for (const [name, value] of [...given]) if (!value) given.delete(name);
  return { given, shown };
}

function tell() {
  let text = "Live";
  if (!isLive()) text = "On record; a search is not live";
  else if (isPaused()) text = hidden ? `Paused · ${hidden} new` : "Paused";
  $("#live").textContent = text;
  pause.hidden = !isLive();
}

const live = new LiveRows({
  connected: ({ rows, has_more: hasMore }) => {
    tell();
    if (!rows || isPaused()) return;
    list.replace(rows.map((row) => row.html).join(""), panel.id);
    $("#older").hidden = !hasMore;
    counts.runs(document.querySelectorAll("#rows tr.running").length, filters);
  },
  rows: (rows) => {
    const shown = isPaused() ? rows.filter(({ id }) => list.rowOf(id)) : rows;
    hidden += rows.filter((row) => row.isNew && !shown.includes(row)).length;
    if (rows.some((row) => !row.isNew)) isStale = true;
    list.put(shown, panel.id);
    if (shown.some(({ id, isNew }) => id === panel.id && !isNew)) attempt(() => panel.load());
    counts.runs(document.querySelectorAll("#rows tr.running").length, filters);
    if (isPaused()) tell();
  },
  progress: list.progress,
  lost: () => { $("#live").textContent = "The daemon does not answer; trying again"; },
});

const counts = new Counts({
  change: (next) => change(next),
  toggleRunning: () => {
    counts.onlyRunning = !counts.onlyRunning;
    $("#rows").classList.toggle("only-running", counts.onlyRunning);
    counts.chips(filters);
  },
});
counts.onRange = (start, end) => {
  const next = new URLSearchParams(filters);
  next.set("since", clockOf(start));
  if (end < Date.now() / 1000 - 5) next.set("before", clockOf(end));
  else next.delete("before");
  change(next);
};

/** A moment as the filters read it, in the time of this machine. */
function clockOf(seconds) {
  const at = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

const box = new SearchBox({
  apply: (next) => { if (next.toString() !== filters.toString()) change(next); },
  values: (name) => counts.values(name),
});

function problem(text) {
  $("#problem").textContent = text;
  $("#problem").hidden = !text;
}

/** Show what other filters show, without another page. */
function change(next, { keepAddress = false } = {}) {
  filters = next;
  if (!keepAddress) history.replaceState(null, "", panel.address(filters));
  box.show(filters);
  counts.chips(filters);
  for (const part of document.querySelectorAll("#empty [data-when]")) part.hidden = (part.dataset.when === "filtered") !== filters.size > 0;
  changing?.abort();
  changing = new AbortController();
  return read(changing.signal);
}

async function read(signal) {
  live.close();
  try {
    const response = await ask(`/ui/requests/rows?${filters}`, { signal });
    const html = await response.text();
    if (signal.aborted) return;
    const wrong = response.headers.get("x-problem");
    problem(wrong ? decodeURIComponent(wrong) : "");
    if (wrong) return;
    list.replace(html, panel.id);
    $("#older").hidden = response.headers.get("x-more") !== "true";
    follow(response.headers.get("x-seen"));
    await count(signal);
  } catch (error) {
    if (error.name !== "AbortError") problem(error.message);
  }
}

function follow(seen) {
  hidden = 0;
  if (isLive()) live.listen(filters, seen);
  tell();
}

async function count(signal) {
  isStale = false;
  await Promise.all([counts.read(filters, signal), counts.draw(filters, signal)]);
}

async function older() {
  const after = list.idOf(list.rows().at(-1));
  const response = await ask(`/ui/requests/rows?${new URLSearchParams([...filters, ["after", after]])}`);
  list.append(await response.text(), panel.id);
  $("#older").hidden = response.headers.get("x-more") !== "true";
}

function togglePause() {
  pause.setAttribute("aria-pressed", String(!isPaused()));
  pause.textContent = isPaused() ? "Resume" : "Pause";
  hidden = 0;
  tell();
  if (!isPaused() && isLive()) live.listen(filters, "");
}

function move(step) {
  const shown = list.rows().filter((row) => row.offsetParent);
  const here = document.activeElement.closest("#rows tr") ?? (panel.id ? list.rowOf(panel.id) : null);
  const at = shown.indexOf(here);
  const row = shown[at < 0 ? 0 : Math.min(Math.max(at + step, 0), shown.length - 1)];
  if (!row) return false;
  list.focus(row);
  row.scrollIntoView({ block: "nearest" });
  if (panel.id && panel.isWide) panel.show(list.idOf(row), filters);
  return true;
}

const here = () => document.activeElement.closest("#rows tr") ?? (panel.id && list.rowOf(panel.id));

function openPage() {
  const focused = document.activeElement;
  const isOther = focused.matches("button, input, summary, a") && !focused.closest("[data-name=time]");
  const row = here();
  if (isOther || !row) return false;
  location.href = panel.pageOf(list.idOf(row), filters);
  return true;
}

keys({
  "j ArrowDown": ["Next request", () => move(1)],
  "k ArrowUp": ["Previous request", () => move(-1)],
  "o": ["Show beside the list", () => { const row = here(); if (row && panel.isWide) panel.show(list.idOf(row), filters); return Boolean(row) && panel.isWide; }],
  "Enter": ["Open the page of the request", () => openPage()],
  "x": ["Select", () => { const row = here(); if (row) pick(row, !list.picked.has(list.idOf(row)), false); return Boolean(row); }],
  "Escape": ["Close what is beside the list", () => panel.close()],
  "p": ["Pause", () => { togglePause(); }],
});

$("#rows tbody").addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  const filter = event.target.closest("[data-filter]");
  const box = event.target.closest("[type=checkbox]");
  const button = event.target.closest("[data-cancel]");
  if (event.ctrlKey || event.metaKey || event.shiftKey && !box) return;
  if (box) pick(row, box.checked, event.shiftKey);
  else if (button) cancel(button);
  else if (filter) {
    event.preventDefault();
    change(new URLSearchParams([...new Map([...filters, ...new URL(filter.href).searchParams])]));
  } else if (!getSelection().toString() && !event.target.closest("[data-name=pick]")) open(event, row);
});

function open(event, row) {
  const id = list.idOf(row);
  if (panel.isWide) {
    event.preventDefault();
    list.focus(row);
    panel.show(id, filters);
  } else if (!event.target.closest("a")) location.href = panel.pageOf(id, filters);
}

$("#panel").addEventListener("request-deleted", ({ detail: id }) => {
  panel.close();
  list.rowOf(id)?.remove();
});
panel.onClose = () => history.replaceState(null, "", panel.address(filters));
pause.addEventListener("click", togglePause);
$("#older").addEventListener("click", () => attempt(older));
$("#clear").addEventListener("click", () => change(new URLSearchParams()));
$("#fold").addEventListener("click", () => {
  const isOpen = $("#fold").getAttribute("aria-expanded") !== "true";
  $("#fold").setAttribute("aria-expanded", String(isOpen));
  document.body.classList.toggle("filters-open", isOpen);
});
addEventListener("popstate", () => {
  const { given, shown } = fromAddress();
  if (!shown) panel.forget();
  if (given.toString() !== filters.toString()) change(given, { keepAddress: true });
  if (shown) panel.show(shown, filters);
});

function begin() {
  const { given, shown } = fromAddress();
  filters = given;
  list.columns();
  picks();
  counts.chips(filters);
  $("#facets").open = panel.isWide;
  if (shown && panel.isWide) { panel.id = null; panel.show(shown, filters); }
  else if (shown) { location.replace(`/ui/requests/${shown}`); return; }
  if ($("#problem").hidden) follow($("#rows").dataset.seen);
  else tell();
  // The rows are painted first.
  changing = new AbortController();
  requestAnimationFrame(() => setTimeout(async () => {
    if ($("#problem").hidden) await attempt(() => count(changing.signal));
    // Then the rows below the screen are laid out: a screen reader finds no cells in those that are not.
    requestIdleCallback(() => $("#rows").classList.add("whole"));
  }));
  setInterval(() => { if (isStale && !document.hidden) attempt(() => count(changing.signal)); }, COUNTED_EVERY);
}

begin();
