// One conversation: bars and turns belong together, the request beside them, zoom, keys, and new turns as they come.
import { $, ask, attempt, every, fill, folds, keys } from "./page.js";
import { setUp } from "./request.js";

const LOOK_EVERY = 2000;
const ZOOMS = [1, 2, 4, 8];
const place = $("#conversation");
const body = $("#body");
const panel = $("#panel");
const beside = matchMedia("(min-width: 1121px)");
let zoom = 0; // index into ZOOMS
let leave = () => {}; // ends what the panel does
let shown = null; // id of the element of the turn that is chosen

const turns = () => [...body.querySelectorAll(".turn")];
const chosen = () => (shown ? document.getElementById(shown) : null);

/** Mark a turn and its bar; `isFar`: bring both into view. */
function choose(turn, isFar = true) {
  for (const one of body.querySelectorAll(".chosen")) one.classList.remove("chosen");
  shown = turn?.id ?? null;
  if (!turn) return;
  turn.classList.add("chosen");
  const bar = body.querySelector(`.request[data-turn="${turn.dataset.turn}"]`);
  bar?.classList.add("chosen");
  if (!isFar) return;
  $(".open", turn).focus({ preventScroll: true });
  turn.scrollIntoView({ block: "nearest" });
  showBar(bar);
}

/** Scroll the timeline, and nothing else, so that a bar is seen. */
function showBar(bar) {
  const track = $(".track", body);
  if (!bar || !track) return;
  const [at, seen] = [bar.getBoundingClientRect(), track.getBoundingClientRect()];
  if (at.left < seen.left || at.right > seen.right) track.scrollLeft += at.left - seen.left - seen.width / 3;
  const lanes = $(".lanes", body);
  const frame = lanes.getBoundingClientRect();
  if (at.top < frame.top || at.bottom > frame.bottom) lanes.scrollTop += at.top - frame.top - frame.height / 3;
}

function move(step) {
  const all = turns();
  const from = document.activeElement.closest(".turn") ?? chosen();
  const at = all.indexOf(from);
  const turn = all[at < 0 ? 0 : Math.min(Math.max(at + step, 0), all.length - 1)];
  choose(turn);
  if (!panel.hidden && turn) open(turn);
}

function open(turn) {
  choose(turn);
  return attempt(async () => {
    const address = $(".open", turn).getAttribute("href");
    await fill(panel, `${address}/panel`);
    panel.hidden = false;
    place.classList.add("open");
    leave();
    leave = setUp(panel);
    folds(panel);
    choose(turn); // it has moved: the turns are narrower now
  });
}

function close() {
  if (panel.hidden) return false;
  leave();
  panel.hidden = true;
  panel.replaceChildren();
  place.classList.remove("open");
  const turn = chosen();
  if (turn) $(".open", turn).focus();
  return true;
}

function zoomTo(level) {
  zoom = Math.min(Math.max(level, 0), ZOOMS.length - 1);
  const drawing = $(".bars", body);
  if (!drawing) return;
  drawing.style.width = `${ZOOMS[zoom] * 100}%`;
  for (const marks of drawing.querySelectorAll(".ticks")) {
    if (Number(marks.dataset.zoom) === ZOOMS[zoom]) marks.removeAttribute("display");
    else marks.setAttribute("display", "none");
  }
  $('[data-zoom="out"]', body).disabled = zoom === 0;
  $('[data-zoom="in"]', body).disabled = zoom === ZOOMS.length - 1;
  showBar(body.querySelector(".request.chosen"));
}

body.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-zoom]");
  if (button) { zoomTo({ in: zoom + 1, out: zoom - 1, fit: 0 }[button.dataset.zoom]); return; }
  const bar = event.target.closest(".request");
  const turn = bar ? body.querySelector(`.turn[data-turn="${bar.dataset.turn}"]`) : event.target.closest(".turn");
  const link = event.target.closest("a");
  if (!turn || (link && !link.matches(".open")) || event.target.closest("button, summary")) return;
  if (!link && !bar && getSelection().toString()) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey || !beside.matches) {
    if (bar) choose(turn);
    return;
  }
  event.preventDefault();
  open(turn);
});

panel.addEventListener("request-deleted", () => { close(); attempt(look); });

async function look() {
  const response = await ask(`/ui/conversations/${place.dataset.id}/turns?seen=${place.dataset.seen}`);
  if (response.status === 204) return;
  const focused = document.activeElement.closest(".turn")?.id;
  const wide = new Set([...body.querySelectorAll("details[open]")].map((one) => one.closest(".turn")?.id));
  const [left, top] = [$(".track", body).scrollLeft, $(".lanes", body).scrollTop];
  const html = await response.text();
  body.innerHTML = html; // the daemon's own part of the page, in which every value is escaped
  place.dataset.seen = response.headers.get("x-seen");
  for (const id of wide) for (const one of document.getElementById(id)?.querySelectorAll("details") ?? []) one.open = true;
  folds(body);
  zoomTo(zoom);
  Object.assign($(".track", body), { scrollLeft: left });
  Object.assign($(".lanes", body), { scrollTop: top });
  choose(chosen(), false);
  if (focused) document.getElementById(focused)?.querySelector(".open").focus({ preventScroll: true });
}

keys({
  "j ArrowDown": ["Next turn", () => move(1)],
  "k ArrowUp": ["Previous turn", () => move(-1)],
  Enter: ["Open the request beside the turns"],
  Escape: ["Close the request", close],
  "+ =": ["Zoom in", () => zoomTo(zoom + 1)],
  "-": ["Zoom out", () => zoomTo(zoom - 1)],
  0: ["Whole conversation", () => zoomTo(0)],
});
zoomTo(0);
const asked = document.getElementById(location.hash.slice(1));
if (asked?.matches(".turn")) choose(asked);
if ("live" in place.dataset) every(LOOK_EVERY, look);
