import { $, ask, attempt, post, toast } from "./page.js";
import { closeLog, openLog } from "./model-log.js";
import { search, showVariants } from "./model-search.js";

const SLOWLY_MS = 2000;
const QUICKLY_MS = 1000;
const isIndex = Boolean($("#stored"));
const drawn = new Map();

/** Draw a part anew where it has changed. What has the focus keeps it, and what was folded out stays so. */
function draw(id, html) {
  if (drawn.get(id) === html) return;
  drawn.set(id, html);
  const place = document.getElementById(id);
  const focused = place.contains(document.activeElement) ? { ...document.activeElement.dataset } : null;
  const open = [...place.querySelectorAll("details[open]")].map((one) => one.closest("tr")?.querySelector("a")?.getAttribute("href"));
  place.innerHTML = html; // the daemon's own, in which every value is escaped
  for (const one of place.querySelectorAll("details")) one.open = open.includes(one.closest("tr")?.querySelector("a")?.getAttribute("href"));
  const [name, value] = Object.entries(focused ?? {})[0] ?? [];
  if (name) $(`[data-${name.replace(/[A-Z]/g, (one) => `-${one.toLowerCase()}`)}="${CSS.escape(value)}"]`, place)?.focus();
}

let known = "";
let timer = 0;

/** Show what changes by itself, and what is stored where that, or what runs, has changed. */
async function refresh() {
  clearTimeout(timer);
  let pulls = "";
  try {
    const now = await (await ask("/ui/models/now")).json();
    pulls = now.pulls.trim();
    draw("pulls", pulls);
    draw("spaces", now.spaces);
    draw("running", now.running);
    const state = `${now.store} ${now.runners}`;
    if (known !== state) {
      draw("stored", await (await ask("/ui/models/stored")).text());
      known = state;
    }
  } catch { /* the rail says that the daemon is away; the next look finds it again */ }
  timer = setTimeout(() => (document.hidden ? undefined : refresh()), pulls ? QUICKLY_MS : SLOWLY_MS);
}

const refreshed = () => (isIndex ? refresh() : location.reload());

async function pull(model) {
  if (!model) {
    toast("Name a model: ai/smollm2, hf.co/org/repository:Q4_K_M", "error");
    $("#term").focus();
    return;
  }
  const answer = post("/ui/models/pull", { model });
  if (isIndex) setTimeout(refresh, 300);
  let pulled;
  try {
    pulled = await (await answer).json();
  } catch (error) {
    if (!isIndex || error.name === "AbortError") throw error;
    toast(`${model} was not pulled`, "error"); // why stands among the pulls, and stays there
    return;
  }
  toast(pulled.was_present ? `${model} is up to date` : `${model} pulled`, "done");
}

async function remove(name) {
  const dialog = $("#confirm");
  $("#confirm-text").textContent = `Remove ${name} from the store?`;
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((done) => { dialog.addEventListener("close", done, { once: true }); });
  if (dialog.returnValue !== "yes") return;
  await ask(`/ui/api/models/${name.split("/").map(encodeURIComponent).join("/")}?force=true`, { method: "DELETE" });
  toast(`${name} removed`, "done");
}

/** What buttons do, by the `data-` of theirs. */
const actions = {
  async load(name) {
    toast(`Loading ${name} …`);
    const runner = await (await post("/ui/models/load", { model: name })).json();
    toast(`${name} is ready${runner.load_seconds === null ? "" : ` after ${runner.load_seconds.toFixed(1)} s`}`, "done");
  },
  async unload(id) {
    await post("/ui/models/unload", { id });
    toast("Unloaded", "done");
  },
  remove,
  pullName: pull,
  async cancel(id) {
    const { cancelled } = await (await post("/ui/models/pull/cancel", { id })).json();
    toast(cancelled ? "Pull cancelled. The next one goes on from here." : "That pull has ended");
  },
  putAway: (model) => post("/ui/models/pull/cancel", { model }),
  variants: showVariants,
};

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-log]");
  if (link && isIndex && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    openLog(link.dataset.log, link.dataset.replica, link.dataset.of, link.getAttribute("href"));
    return;
  }
  const button = event.target.closest("button");
  const name = button && Object.keys(actions).find((one) => one in button.dataset);
  if (!name) return;
  button.disabled = true;
  attempt(() => actions[name](button.dataset[name], button))
    .then(() => (name === "variants" ? undefined : attempt(refreshed)))
    .finally(() => { button.disabled = false; });
});

if (isIndex) {
  $("#get").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => search($("#term").value.trim(), $("#found")));
  });
  $("#pull").addEventListener("click", () => attempt(() => pull($("#term").value.trim())).then(refresh));
  $("#log-close").addEventListener("click", closeLog);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  refresh();
}
