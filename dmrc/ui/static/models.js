import { $, ask, attempt, element, lines, post, say } from "./page.js";

const REFRESH_EVERY = 2000;
const isIndex = Boolean($("#stored"));
let pulling = null;

async function refresh(part) {
  const place = $(`#${part}`);
  // A button that has the focus keeps it while its table is drawn again.
  const focused = place.contains(document.activeElement) ? { ...document.activeElement.dataset } : null;
  place.innerHTML = await (await ask(`/ui/models/${part}`)).text(); // the server's own, in which every value is escaped
  const [name, value] = Object.entries(focused ?? {})[0] ?? [];
  if (name) $(`[data-${name}="${CSS.escape(value)}"]`, place)?.focus();
}

async function refreshAll() {
  if (!isIndex) location.reload();
  else await Promise.all([refresh("running"), refresh("stored")]);
}

function layer(id, size) {
  const place = $("#layers");
  let line = [...place.children].find((one) => one.dataset.id === id);
  if (!line) {
    line = element("div", {}, element("code", { textContent: id.slice(0, 19) }), element("progress", { max: size, ariaLabel: `Layer ${id.slice(7, 19)}` }), element("span"));
    line.dataset.id = id;
    place.append(line);
  }
  return line;
}

const mega = (bytes) => (bytes / 1e6).toFixed(1);

async function pull(name) {
  pulling = new AbortController();
  $("#layers").replaceChildren();
  $("#pull-stop").hidden = false;
  say(`Pulling ${name} …`);
  try {
    const response = await post("/ui/api/models/create", { from: name }, { signal: pulling.signal });
    for await (const line of lines(response)) {
      if (!line) continue;
      const event = JSON.parse(line);
      if (event.type === "error") throw new Error(event.message);
      if (event.type === "success") say(`${name}: ${event.message}`);
      if (event.layer?.id) {
        const shown = layer(event.layer.id, event.layer.size);
        $("progress", shown).value = event.layer.current;
        $("span", shown).textContent = `${mega(event.layer.current)} of ${mega(event.layer.size)} MB`;
      }
    }
  } catch (error) {
    if (error.name === "AbortError") say("Stopped. The next pull goes on with what came.");
    throw error;
  } finally {
    $("#pull-stop").hidden = true;
    pulling = null;
    await refresh("stored");
  }
}

async function remove(name) {
  const dialog = $("#confirm");
  $("#confirm-text").textContent = `Remove ${name} from the store?`;
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((done) => { dialog.addEventListener("close", done, { once: true }); });
  if (dialog.returnValue !== "yes") return;
  await ask(`/ui/api/models/${name.split("/").map(encodeURIComponent).join("/")}?force=true`, { method: "DELETE" });
  say(`${name} is removed.`);
}

const actions = {
  load: async (name) => {
    say(`Loading ${name} …`);
    const runner = await (await post("/ui/models/load", { model: name })).json();
    say(`${name} is ready.${runner.load_seconds === null ? "" : ` It took ${runner.load_seconds.toFixed(1)} s to load.`}`);
  },
  unload: async (id) => {
    await post("/ui/models/unload", { id });
    say("Unloaded.");
  },
  remove,
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const name = button && Object.keys(actions).find((one) => one in button.dataset);
  if (!name) return;
  button.disabled = true;
  attempt(() => actions[name](button.dataset[name])).then(() => attempt(refreshAll)).finally(() => { button.disabled = false; });
});
if (isIndex) {
  $("#pull").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = event.target.elements.from.value.trim();
    if (name && !pulling) attempt(() => pull(name));
  });
  $("#pull-stop").addEventListener("click", () => pulling?.abort());
  setInterval(() => { if (!document.hidden) attempt(() => refresh("running")); }, REFRESH_EVERY);
}
