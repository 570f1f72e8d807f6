// One comparison: how far it is, the matrix, and a cell with both answers.
import { $, ask, attempt, fill, folds, keys, post } from "./page.js";

const EVERY_MS = 500;
const base = `/ui/compare/${$("#progress").dataset.id}`;
let isOnlyWorse = false;
let current = null;

const cells = () => [...document.querySelectorAll("#matrix a.cell")].filter((cell) => cell.offsetParent);

function show(progress) {
  const places = document.querySelectorAll("#progress li");
  progress.columns.forEach((column, at) => {
    $("progress", places[at]).value = column.answered;
    $(".counts", places[at]).textContent = `${column.answered} of ${column.total}`;
    const worse = column.worse === null ? "" : `, ${column.worse} worse`;
    $(".doing", places[at]).textContent = column.state === "running" ? column.doing : column.state + worse;
  });
  $("#cancel").hidden = progress.state === "done" || progress.state === "cancelled";
  $("#progress").hidden = progress.is_over;
}

/** Say aloud what changed for good, and not each count. */
function tell(progress) {
  const names = [...document.querySelectorAll("#progress .label")].map((label) => label.textContent);
  const over = progress.columns.map((column, at) => [column, names[at]]).filter(([column]) => column.worse !== null);
  const text = over.map(([column, name]) => `${name}: ${column.worse} worse of ${column.answered}`).join(". ");
  $("#told").textContent = progress.is_over ? `${progress.state}. ${text}` : text;
}

async function refresh() {
  const at = cells().indexOf(document.activeElement);
  await fill($("#matrix"), `${base}/matrix`);
  filter();
  if (at >= 0) cells()[at]?.focus();
}

async function follow() {
  let filled = -1;
  for (;;) {
    const progress = await (await ask(`${base}/progress`)).json();
    show(progress);
    const over = progress.columns.filter((column) => !["waiting", "running"].includes(column.state)).length;
    if (over !== filled || progress.is_over) {
      await refresh();
      tell(progress);
      filled = over;
    }
    if (progress.is_over) return;
    await new Promise((wake) => { setTimeout(wake, EVERY_MS); });
  }
}

function filter() {
  $("#matrix .matrix").classList.toggle("only-worse", isOnlyWorse);
  for (const chip of document.querySelectorAll("#matrix [data-rows]")) {
    chip.setAttribute("aria-pressed", String((chip.dataset.rows === "worse") === isOnlyWorse));
  }
}

async function open(cell) {
  current = cell;
  await fill($("#pair-place"), `${cell.href}&part=1`);
  const all = cells();
  $("#pair-before").disabled = all.indexOf(cell) <= 0;
  $("#pair-next").disabled = all.indexOf(cell) >= all.length - 1;
  if (!$("#pair").open) $("#pair").showModal();
  folds($("#pair-place"));
  $("#pair").scrollTop = 0;
}

const step = (by) => { const next = cells()[cells().indexOf(current) + by]; if (next) attempt(() => open(next)); };

/** Move from cell to cell by arrow keys; every cell is a link, and Tab reaches it too. */
function move(event) {
  const cell = event.target.closest("a.cell");
  const by = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
  if (!cell || !by || event.ctrlKey || event.metaKey || event.altKey) return;
  const rows = [...document.querySelectorAll("#matrix tbody tr")].filter((row) => row.offsetParent);
  const row = rows.indexOf(cell.closest("tr"));
  const next = rows[row + by[0]]?.cells[cell.closest("td").cellIndex + by[1]];
  const link = next && $("a.cell", next);
  if (!link) return;
  event.preventDefault();
  link.focus();
}

$("#matrix").addEventListener("click", (event) => {
  const chip = event.target.closest("[data-rows]");
  if (chip) { isOnlyWorse = chip.dataset.rows === "worse"; filter(); }
  const cell = event.target.closest("a.cell");
  if (!cell || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  attempt(() => open(cell));
});
$("#matrix").addEventListener("keydown", move);
$("#pair-before").addEventListener("click", () => step(-1));
$("#pair-next").addEventListener("click", () => step(1));
$("#pair").addEventListener("close", () => { current?.focus(); });
$("#cancel").addEventListener("click", () => attempt(() => post(`${base}/cancel`, {})));
keys({ "ArrowUp ArrowDown ArrowLeft ArrowRight": ["From answer to answer"], "x": ["Only regressions", () => {
  isOnlyWorse = !isOnlyWorse && !$('[data-rows="worse"]').disabled;
  filter();
}] });
if (!$("#progress").dataset.over) attempt(follow);
