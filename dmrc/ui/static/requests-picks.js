// Requests that were chosen, and what is done with them.
import { $, ask, attempt, element, post, toast } from "./page.js";
import { idOf, picked, rowOf, rows } from "./requests-list.js";

let last = null;

function tell() {
  const bar = $("#selection");
  bar.hidden = !picked.size;
  $("strong", bar).textContent = `${picked.size} selected`;
  $("[data-do=compare]", bar).disabled = picked.size < 2;
}

function choose(row, isChosen) {
  const id = idOf(row);
  if (isChosen) picked.add(id);
  else picked.delete(id);
  $("[type=checkbox]", row).checked = isChosen;
}

/** Choose a row, or let it go; with Shift all between it and the last one. */
export function pick(row, isChosen, withShift) {
  const all = rows();
  const from = withShift && last ? all.indexOf(rowOf(last)) : -1;
  const at = all.indexOf(row);
  const range = from < 0 ? [row] : all.slice(Math.min(from, at), Math.max(from, at) + 1);
  for (const one of range) if (!one.classList.contains("running")) choose(one, isChosen);
  last = idOf(row);
  tell();
}

function clear() {
  for (const row of rows()) if (picked.has(idOf(row))) choose(row, false);
  picked.clear();
  tell();
}

async function exportAll() {
  const response = await post("/ui/requests/export", { ids: [...picked] });
  const url = URL.createObjectURL(await response.blob());
  element("a", { href: url, download: "requests.jsonl" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

async function deleteAll() {
  const dialog = $("#confirm");
  const many = picked.size === 1 ? "this request" : `these ${picked.size} requests`;
  $("h2", dialog).textContent = `Delete ${many}?`;
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((done) => { dialog.addEventListener("close", done, { once: true }); });
  if (dialog.returnValue !== "yes") return;
  const { deleted } = await (await post("/ui/requests/delete", { ids: [...picked] })).json();
  for (const id of picked) rowOf(id)?.remove();
  clear();
  toast(`${deleted} deleted`, "done");
}

const actions = {
  compare: async () => { location.href = `/ui/compare?ids=${[...picked].join(",")}`; },
  export: exportAll,
  delete: deleteAll,
  clear: async () => clear(),
};

export function picks() {
  $("#selection").addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (button) attempt(actions[button.dataset.do]);
  });
}

export const cancel = (button) => attempt(async () => {
  button.disabled = true;
  await ask(`/ui/requests/${button.dataset.cancel}/cancel`, { method: "POST" });
});
