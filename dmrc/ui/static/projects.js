import { ask, attempt } from "./page.js";

// The lens reads hundreds of requests of a service: its words come after the page.
async function fill(cell) {
  const { project, service } = cell.dataset;
  const text = await (await ask(`/ui/projects/cache?${new URLSearchParams({ project, service })}`)).text();
  cell.innerHTML = text; // the server's own, in which every value is escaped
  cell.removeAttribute("aria-busy");
}

attempt(async () => {
  for (const cell of document.querySelectorAll("[data-name=cache]")) await fill(cell);
});
