// The search of Docker Hub and Hugging Face, and what quantisations a model is there in.

import { element, fill } from "./page.js";

let running = null;

/** Search, and show what was found; a search that is still on its way ends for the next one. */
export async function search(term, place) {
  running?.abort();
  running = new AbortController();
  place.replaceChildren(element("p", { className: "loading", textContent: "Searching Docker Hub and Hugging Face …" }));
  try {
    await fill(place, `/ui/models/search?${new URLSearchParams({ term })}`, { signal: running.signal });
  } catch (error) {
    if (error.name === "AbortError") return;
    place.replaceChildren(element("p", { className: "error", textContent: error.message }));
  }
}

/** Show the quantisations of a model that was found, in a row below its own; once more puts them away. */
export async function showVariants(name, button) {
  const row = button.closest("tr");
  const isOpen = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!isOpen));
  if (isOpen) {
    row.nextElementSibling.remove();
    return;
  }
  const cell = element("td", { colSpan: row.children.length }, element("p", { className: "loading", textContent: "Looking what there is …" }));
  row.after(element("tr", { className: "variants" }, cell));
  try {
    await fill(cell, `/ui/models/variants?${new URLSearchParams({ name })}`);
  } catch (error) {
    cell.replaceChildren(element("p", { className: "error", textContent: error.message }));
  }
}
