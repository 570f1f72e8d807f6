// One request: the page of its own, and the panel beside the list, which calls `setUp` with what it put in.

import { $, ask, attempt, elapsed, keys, lines, post, span, tabs, toast } from "./page.js";
import { openAll, parse, shutAll, tree, visible } from "./json.js";

const LONGEST_TEXT = 20_000;
const LOOK_EVERY = 1000;

async function text(path) {
  return (await ask(path, { headers: { accept: "text/plain" } })).text();
}

/** Make a detail work. `isPage`: it is the page, whose address tells the tab. Returns a function that ends it. */
export function setUp(root, { isPage = false } = {}) {
  const detail = root.matches?.(".detail") ? root : $(".detail", root);
  if (!detail) return () => {};
  const ending = new AbortController();
  const listen = (target, kind, act) => target?.addEventListener(kind, act, { signal: ending.signal });
  if (detail.dataset.running) {
    setUpRunning(detail, listen, ending.signal, isPage);
    return () => ending.abort();
  }
  const select = setUpTabs(detail, listen, isPage);
  setUpTexts(detail, listen, select);
  setUpMenu(detail, listen);
  setUpAgain(detail, listen);
  setUpDelete(detail, listen, isPage);
  return () => ending.abort();
}

// A request that runs: its seconds tick, and it is shown whole when it ends.

function setUpRunning(detail, listen, signal, isPage) {
  const begun = Number(detail.dataset.running) * 1000;
  const { base } = detail.dataset;
  let latest = () => {};
  signal.addEventListener("abort", () => latest());
  const tick = () => { $(".elapsed", detail).textContent = elapsed(Date.now() - begun); };
  const ticking = setInterval(tick, 200);
  const asking = setInterval(() => attempt(look), LOOK_EVERY);
  const stop = () => { clearInterval(ticking); clearInterval(asking); };
  latest = stop;
  let isLooking = false;
  const look = async () => {
    if (isLooking || !detail.isConnected) return;
    isLooking = true;
    const html = await text(`${base}/panel`).finally(() => { isLooking = false; });
    const template = document.createElement("template");
    template.innerHTML = html; // the server's own, in which every value is escaped
    const next = $(".detail", template.content);
    if (next.dataset.running) {
      for (const part of [".detail-facts > span:not(.elapsed)", ":scope > .muted"]) $(part, detail)?.replaceWith($(part, next) ?? "");
      return;
    }
    stop();
    if (isPage) { location.reload(); return; }
    detail.replaceWith(next);
    latest = setUp(next);
  };
  listen($("button.cancel", detail), "click", () => attempt(async () => {
    await post(`${base}/cancel`, {});
    await look();
  }));
  tick();
}

// The tabs, and what is fetched when one is opened.

function setUpTabs(detail, listen, isPage) {
  const opened = (id) => {
    const body = $(`#${id} .body`, detail);
    if (body && !body.dataset.shown) {
      body.dataset.shown = "true";
      attempt(() => showBody(body));
    }
  };
  const all = tabs($(".tabs", detail), (id) => {
    opened(id);
    if (isPage) history.replaceState(null, "", `${location.pathname}${location.search}#${id.slice("pane-".length)}`);
  });
  const select = (id) => { all.select(id); opened(id); };
  const follow = () => {
    const name = decodeURIComponent(location.hash.slice(1));
    if (!name) return;
    if (document.getElementById(`pane-${name}`)) select(`pane-${name}`);
    else jump(detail, name, select);
  };
  if (isPage) {
    listen(window, "hashchange", follow);
    follow();
  }
  return select;
}

/** Show an element, whichever tab it is in, and what it is folded into. */
function jump(detail, id, select) {
  const place = document.getElementById(id);
  if (!place || !detail.contains(place)) return;
  const pane = place.closest('[role="tabpanel"]');
  if (pane) select(pane.id);
  const fold = place.closest("details");
  if (fold) fold.open = true;
  place.scrollIntoView({ block: "start" });
  if (!place.hasAttribute("tabindex")) place.tabIndex = -1;
  place.focus({ preventScroll: true });
}

async function showBody(body) {
  const place = $(".body-text", body);
  place.setAttribute("aria-busy", "true");
  const told = await text(body.dataset.body).finally(() => place.removeAttribute("aria-busy"));
  let value;
  try {
    value = parse(told);
  } catch {
    place.replaceChildren(plain(told));
    return;
  }
  place.replaceChildren(tree(value));
  const tools = $(".tree-tools", body);
  tools.hidden = false;
  $("[data-open]", tools).addEventListener("click", () => openAll(place));
  $("[data-shut]", tools).addEventListener("click", () => shutAll(place));
}

function plain(told) {
  const shown = document.createDocumentFragment();
  const pre = document.createElement("pre");
  pre.dir = "auto";
  pre.textContent = visible(told.slice(0, LONGEST_TEXT));
  shown.append(pre);
  if (told.length > LONGEST_TEXT) {
    const hint = document.createElement("p");
    hint.className = "hint";
    hint.textContent = `The first ${LONGEST_TEXT.toLocaleString("en-US")} of ${told.length.toLocaleString("en-US")} characters; all of it is behind Raw text.`;
    shown.append(hint);
  }
  return shown;
}

// Long texts, and links within the detail.

function unfold(button) {
  const place = button.closest(".long");
  const more = $(".more", place);
  const isShown = more.hidden;
  more.hidden = !isShown;
  button.setAttribute("aria-expanded", String(isShown));
  button.dataset.shut ??= button.textContent;
  button.textContent = isShown ? "Show less" : button.dataset.shut;
  const hint = $(".hint", place);
  if (hint) hint.hidden = !isShown;
  if (!isShown) place.scrollIntoView({ block: "nearest" });
}

function setUpTexts(detail, listen, select) {
  listen(detail, "click", (event) => {
    const button = event.target.closest("button.unfold");
    if (button) return unfold(button);
    const link = event.target.closest("a[data-jump]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return undefined;
    event.preventDefault();
    return jump(detail, link.hash.slice(1), select);
  });
}

function setUpMenu(detail, listen) {
  const menu = $("details.menu", detail);
  if (!menu) return;
  listen(document, "click", (event) => { if (!menu.contains(event.target) || event.target.matches("button")) menu.open = false; });
  listen(menu, "keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    $("summary", menu).focus();
  });
}

// Send again.

function setUpAgain(detail, listen) {
  const section = $(".again", detail);
  const button = $(".again-open", detail);
  if (!section || !button) return;
  const form = $("form", section);
  const toggle = (isOpen) => {
    section.hidden = !isOpen;
    button.setAttribute("aria-expanded", String(isOpen));
  };
  listen(button, "click", () => attempt(async () => {
    toggle(section.hidden);
    if (section.hidden || form.elements.body.value) return;
    await openAgain(detail, section, form);
  }));
  listen($(".again-close", section), "click", () => { toggle(false); button.focus(); });
  listen(form, "submit", (event) => {
    event.preventDefault();
    attempt(() => send(section, form));
  });
}

async function openAgain(detail, section, form) {
  const told = await text(`${detail.dataset.base}/request`);
  try {
    form.elements.body.value = JSON.stringify(JSON.parse(told), null, 2);
  } catch {
    form.elements.body.value = told;
  }
  form.elements.body.focus();
  $(".then", section).innerHTML = await text(`${detail.dataset.base}/answer`); // the server's own, in which every value is escaped
}

async function send(section, form) {
  let document;
  try {
    document = JSON.parse(form.elements.body.value);
  } catch (error) {
    throw new Error(`The request is not JSON: ${error.message}`);
  }
  if (form.elements.model.value) document.model = form.elements.model.value;
  const now = $(".now", section);
  now.textContent = "Waiting for the answer …";
  const response = await fetch(form.dataset.path, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(document),
  });
  for await (const _ of lines(response)); // the record shows what it was
  const id = response.headers.get("x-dmrc-exchange-id");
  if (!id) throw new Error(`The gateway answers ${response.status}, and records nothing of it`);
  now.innerHTML = await text(`/ui/requests/${id}/answer`);
}

// Delete. A list that shows the request hears of it: the event `request-deleted` bubbles, with the id as its detail.

function setUpDelete(detail, listen, isPage) {
  const dialog = $(".delete-dialog", detail);
  listen($("button.delete", detail), "click", () => { dialog.returnValue = ""; dialog.showModal(); });
  listen(dialog, "close", () => {
    if (dialog.returnValue === "delete") attempt(() => erase(detail, isPage));
  });
}

async function erase(detail, isPage) {
  await post(`${detail.dataset.base}/delete`, {});
  if (isPage) {
    location.href = ($('.detail-beside [rel="next"]') ?? $(".detail-crumbs a")).href;
    return;
  }
  toast("The request is deleted", "done");
  detail.dispatchEvent(new CustomEvent("request-deleted", { bubbles: true, detail: detail.dataset.id }));
}

// The page of its own.

function follow(selector) {
  const link = $(selector);
  if (!link) return false;
  location.href = link.href + location.hash;
  return true;
}

if ($(".detail-crumbs")) {
  setUp(document, { isPage: true });
  keys({
    "j": ["Older request", () => follow('.detail-beside [rel="next"]')],
    "k": ["Newer request", () => follow('.detail-beside [rel="prev"]')],
  });
}
