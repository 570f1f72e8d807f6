// What every page does: copy buttons, folds, keys and their dialog, the theme, and whether the daemon answers.
import { $, ask, attempt, copy, element, folds, isTyping, keys, knownKeys } from "./page.js";

const HEALTH_EVERY = 5000;
const PLACES = { o: "overview", r: "requests", c: "conversations", d: "compare", m: "models", p: "projects", t: "playground" };
const NAMES = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc", " ": "Space" };
const THEMES = ["", "light", "dark"];
let isGoing = false;

// `data-copy="text"` copies that text, an empty one what the block holds; `data-copy-from="/path"` what the daemon answers.
async function copyOf(button) {
  const { copy: text, copyFrom: path } = button.dataset;
  if (path) return (await ask(path, { headers: { accept: "text/plain" } })).text();
  return text || $("pre, code", button.closest(".code")).textContent;
}

function describe() {
  const line = (names, says) => element("div", {}, element("dt", {}, ...names.map((name) => element("kbd", { textContent: NAMES[name] ?? name }))), element("dd", { textContent: says }));
  const here = knownKeys().map(([names, { says }]) => line(names.split(" "), says));
  const places = Object.entries(PLACES).map(([key, place]) => line(["g", key], `Go to ${place}`));
  $("#keys dl").replaceChildren(...here, ...places, line(["?"], "This list"));
  $("#keys").showModal();
}

function go(key) {
  isGoing = false;
  if (!PLACES[key]) return false;
  location.href = `/ui/${PLACES[key]}`;
  return true;
}

function actionOf(key) {
  return knownKeys().find(([names]) => names.split(" ").includes(key))?.[1].act;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target) || $("dialog[open]")) return;
  if (isGoing) { if (go(event.key)) event.preventDefault(); return; }
  if (event.key === "?") { event.preventDefault(); describe(); return; }
  const act = actionOf(event.key);
  if (act) { if (act(event) !== false) event.preventDefault(); return; }
  if (event.key === "g") {
    isGoing = true;
    setTimeout(() => { isGoing = false; }, 1500);
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (button) attempt(async () => copy(await copyOf(button)));
  if (event.target.closest("#keys-button")) describe();
  if (event.target.closest("#theme-button")) turn();
});

function turn() {
  const { dataset } = document.documentElement;
  const next = THEMES[(THEMES.indexOf(dataset.theme ?? "") + 1) % THEMES.length];
  if (next) dataset.theme = next;
  else delete dataset.theme;
  try { localStorage.setItem("theme", next); } catch { /* it holds for this page */ }
  tellTheme();
}

function tellTheme() {
  const name = document.documentElement.dataset.theme || "system";
  $("#theme-button").title = `Theme: ${name}`;
  $("#theme-button").setAttribute("aria-label", `Theme: ${name}. Change it`);
  $("#theme-button use").setAttribute("href", $("#theme-button use").getAttribute("href").replace(/#.*/, `#theme-${name}`));
}

async function health() {
  const place = $("#health");
  const live = $("#live-count");
  try {
    const now = await (await fetch("/ui/health")).json();
    place.textContent = now.waiting ? `${now.waiting} queued` : "Daemon running";
    place.classList.remove("away");
    live.textContent = now.running || "";
    live.hidden = !now.running;
    if (now.version !== place.dataset.version) place.textContent = "Updated: reload this page";
  } catch {
    place.textContent = "No answer: run dmrc ui";
    place.classList.add("away");
    live.hidden = true;
  }
}

keys({ "/": ["Search", () => { const field = $("main input[type=search]"); field?.focus(); return Boolean(field); }] });
folds();
tellTheme();
health();
setInterval(() => { if (!document.hidden) health(); }, HEALTH_EVERY);
