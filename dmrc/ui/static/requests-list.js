// The table: rows that the daemon made, their bars, which of them are chosen, and which columns are shown.
import { $, elapsed } from "./page.js";

const MOST_ROWS = 500;
const LEAST_SHARE = 0.02;
const body = $("#rows tbody");
const table = $("#rows");

export const picked = new Set();
export const rows = () => [...body.rows];
export const idOf = (row) => row.id.slice(2);
export const rowOf = (id) => document.getElementById(`r-${id}`);

function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // the server's own rows, in which every value is escaped
  return template.content;
}

function told() {
  const has = body.rows.length > 0;
  table.hidden = !has;
  $("#empty").hidden = has;
}

/** Draw bars for the 95th percentile of the list. */
let scale = 0;
export function drawBars(changed) {
  const known = rows().map((row) => Number(row.dataset.ms)).filter((ms) => ms > 0).sort((a, b) => a - b);
  const now = known[Math.min(Math.floor(known.length * 0.95), known.length - 1)] ?? 0;
  const isOther = Math.abs(now - scale) > scale * 0.02;
  if (isOther) scale = now;
  for (const row of isOther ? rows() : changed) {
    const share = Math.min(Math.max(Number(row.dataset.ms) / scale, LEAST_SHARE), 1);
    $("svg.span", row)?.setAttribute("viewBox", `0 0 ${(1000 / share).toFixed(1)} 8`);
  }
}

function keep(row, current) {
  if (picked.has(idOf(row))) $("[type=checkbox]", row).checked = true;
  row.classList.toggle("current", idOf(row) === current);
}

/** Put rows in their places: those that are known are replaced, others are the newest. */
export function put(list, current) {
  const changed = [];
  for (const { id, html, isNew } of list) {
    const known = rowOf(id);
    const isFocused = known?.contains(document.activeElement);
    const made = fragment(html);
    if (known) known.replaceWith(made);
    else body.prepend(made);
    const row = rowOf(id);
    if (isNew && !known) row.classList.add("new");
    keep(row, current);
    if (isFocused) focus(row);
    changed.push(row);
  }
  while (body.rows.length > MOST_ROWS) body.lastElementChild.remove();
  told();
  drawBars(changed);
}

/** Show these rows and no others. */
export function replace(html, current) {
  const focused = document.activeElement.closest?.("#rows tr")?.id;
  body.replaceChildren(fragment(html));
  for (const row of rows()) keep(row, current);
  if (focused) focus(document.getElementById(focused));
  told();
  scale = 0;
  drawBars([]);
}

export function append(html, current) {
  const before = body.rows.length;
  body.append(fragment(html));
  for (const row of rows().slice(before)) keep(row, current);
  drawBars(rows().slice(before));
}

export const focus = (row) => row && $("[data-name=time] a", row).focus();

/** Seconds of what runs, coarser as they grow. */
function write(cell, text) {
  if (cell.firstChild?.nodeType === Node.TEXT_NODE) { if (cell.firstChild.data !== text) cell.firstChild.data = text; }
  else cell.textContent = text;
}

/** Tell how far requests are; `counts` has tokens so far by id, null for one that waits. */
export function progress(counts) {
  const now = Date.now();
  for (const row of body.querySelectorAll("tr.running")) {
    const tokens = counts[idOf(row)];
    write($("[data-name=took] .number", row), elapsed(Math.max(now - Number(row.dataset.at) * 1000, 0)));
    if (tokens) write($("[data-name=tokens] span", row), `→${tokens.toLocaleString("en-US")}`);
    const badge = $("[data-name=status] .badge", row);
    if (tokens !== undefined) write(badge, tokens === null ? "waiting" : "running");
  }
}

/** Let people choose columns; what they chose stays in this browser. */
export function columns() {
  const boxes = [...document.querySelectorAll("#columns input")];
  let left = ["first", "rate"];
  try { left = JSON.parse(localStorage.getItem("requests.columns") ?? "null") ?? left; } catch { /* what is usual */ }
  const show = () => { table.dataset.hide = boxes.filter((box) => !box.checked).map((box) => box.value).join(" "); };
  for (const box of boxes) {
    box.checked = !left.includes(box.value);
    box.addEventListener("change", () => {
      show();
      try { localStorage.setItem("requests.columns", JSON.stringify(table.dataset.hide.split(" ").filter(Boolean))); } catch { /* for this page */ }
    });
  }
  show();
}
