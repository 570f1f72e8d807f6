// The list of conversations: filters, keys, and new ones as they are recorded.
import { $, ask, attempt, every, keys } from "./page.js";

const LOOK_EVERY = 3000;
const table = $("#conversations");
const body = $("tbody", table);
const form = $("#filters");
const older = $("#older");
let isWhole = true; // whether only the newest rows are shown, which may be replaced

const links = () => [...body.querySelectorAll("a")];

function wanted() {
  return new URLSearchParams([...new FormData(form)].filter(([, value]) => value.trim()));
}

function apply(event) {
  event?.preventDefault();
  location.search = wanted();
}

form.addEventListener("submit", apply);
form.addEventListener("change", apply);
form.addEventListener("click", (event) => {
  const chip = event.target.closest(".chip");
  if (!chip) return;
  if (chip.id === "more-filters") {
    chip.setAttribute("aria-expanded", String(form.classList.toggle("wide")));
    return;
  }
  const field = form.elements[chip.dataset.field];
  field.value = field.value ? "" : chip.dataset.value;
  apply();
});

function move(step) {
  const all = links();
  const at = all.indexOf(document.activeElement);
  all[at < 0 ? 0 : Math.min(Math.max(at + step, 0), all.length - 1)]?.focus();
}

function tellMore(before) {
  table.dataset.before = before ?? "";
  older.hidden = !before;
  $("#list").hidden = !body.rows.length;
  $("#empty").hidden = body.rows.length > 0;
}

async function rows(more) {
  return ask(`/ui/conversations/rows?${new URLSearchParams([...new URLSearchParams(location.search), ...more])}`);
}

async function look() {
  const response = await rows([["seen", table.dataset.seen]]);
  if (response.status === 204) return;
  const focused = document.activeElement.closest("#conversations tr")?.id;
  body.innerHTML = await response.text(); // the daemon's own rows, in which every value is escaped
  table.dataset.seen = response.headers.get("x-seen");
  tellMore(response.headers.get("x-before"));
  if (focused) $(`#${CSS.escape(focused)} a`, body)?.focus({ preventScroll: true });
}

older.addEventListener("click", () => attempt(async () => {
  const response = await rows([["after", table.dataset.before]]);
  isWhole = false;
  body.insertAdjacentHTML("beforeend", await response.text());
  tellMore(response.headers.get("x-before"));
}));

body.addEventListener("click", (event) => {
  if (!event.target.closest("a") && !getSelection().toString()) $("a", event.target.closest("tr")).click();
});

keys({
  "j ArrowDown": ["Next conversation", () => move(1)],
  "k ArrowUp": ["Previous conversation", () => move(-1)],
  Enter: ["Open it"],
});
every(LOOK_EVERY, () => isWhole && look());
