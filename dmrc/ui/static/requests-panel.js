// One request beside the list. The list stays; j and k move, and what is shown follows.
import { $, ask, attempt, element } from "./page.js";
import { setUp } from "./request.js";
import { focus, idOf, rowOf, rows } from "./requests-list.js";

const WIDE = matchMedia("(min-width: 1121px)");
const MOVED_MS = 120;

/** The style of a request comes with the first one: the list is painted without it. */
let styled = null;
const style = () => (styled ??= new Promise((done) => {
  const link = element("link", { rel: "stylesheet", href: new URL("request.css", import.meta.url).href, onload: done, onerror: done });
  document.head.append(link);
}));

export class Panel {
  constructor() {
    this.id = null;
    this.place = $("#panel");
    this.body = $("#panel-body");
    this.end = () => {};
    this.place.addEventListener("click", (event) => { if (event.target.closest("[data-close]")) this.close(); });
  }

  get isWide() { return WIDE.matches; }

  /** The address of the list with what is shown. */
  address(filters) {
    const all = new URLSearchParams(filters);
    if (this.id) all.set("show", this.id);
    const text = all.toString();
    return text ? `/ui/requests?${text}` : "/ui/requests";
  }

  /** The page of a request, which knows what is before and after it in the list. */
  pageOf(id, filters) {
    return `/ui/requests/${id}${filters.size ? `?${filters}` : ""}`;
  }

  mark() {
    for (const row of rows()) row.classList.toggle("current", idOf(row) === this.id);
  }

  /** Show a request; one after the other replaces the address, so that Back leads to the list. */
  show(id, filters) {
    if (!id || id === this.id) return;
    const isFirst = this.id === null;
    this.id = id;
    this.mark();
    history[isFirst ? "pushState" : "replaceState"](null, "", this.address(filters));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => attempt(() => this.load()), isFirst ? 0 : MOVED_MS);
  }

  async load() {
    const { id } = this;
    if (!id) return;
    this.loading?.abort();
    this.loading = new AbortController();
    this.place.setAttribute("aria-busy", "true");
    const html = await (await ask(`/ui/requests/${id}/panel`, { signal: this.loading.signal })).text();
    await style();
    if (id !== this.id) return;
    const tab = $('[role="tab"][aria-selected="true"]', this.body)?.id;
    this.end();
    this.body.innerHTML = html; // the server's own, in which every value is escaped
    this.place.removeAttribute("aria-busy");
    this.place.hidden = false;
    this.place.scrollTop = 0;
    $("#split").classList.add("open");
    this.end = setUp(this.body);
    // Who goes through the answers sees the next answer.
    const same = tab && document.getElementById(tab);
    if (same && same.getAttribute("aria-selected") !== "true") same.click();
  }

  close() {
    if (!this.id) return false;
    const { id } = this;
    this.forget();
    focus(rowOf(id));
    this.onClose?.();
    return true;
  }

  forget() {
    this.id = null;
    this.loading?.abort();
    clearTimeout(this.timer);
    this.place.hidden = true;
    this.end();
    this.body.replaceChildren();
    $("#split").classList.remove("open");
    this.mark();
  }
}
