// The log of a runner in place: it follows what is written, unless one has scrolled back.

import { $, ask, attempt } from "./page.js";

const LOOK_MS = 1000;
const MOST_CHARACTERS = 500_000;
let timer = 0;
let whose = "";
let from = null;

/** Show the log of a runner, or of one of its replicas, and follow it. */
export function openLog(id, replica, title, page) {
  const place = $("#log");
  from = document.activeElement;
  place.hidden = false;
  $("h2", place).textContent = `Log of ${title}`;
  $("pre", place).textContent = "";
  $("#log-page").href = page;
  whose = `${id}?${new URLSearchParams(replica === undefined ? {} : { replica })}`;
  place.scrollIntoView({ block: "nearest" });
  $("pre", place).focus({ preventScroll: true });
  attempt(() => follow(whose, ""));
}

/** Close it, and go back to where one was. */
export function closeLog() {
  clearTimeout(timer);
  whose = "";
  $("#log").hidden = true;
  from?.focus();
}

async function follow(of, after) {
  clearTimeout(timer);
  if (of !== whose) return;
  const [id, query] = of.split("?");
  const path = `/ui/logs/${encodeURIComponent(id)}/part?${query ? `${query}&` : ""}after=${encodeURIComponent(after)}`;
  const part = await (await ask(path)).json();
  if (of !== whose) return;
  show(part.next ? part.text : null, part.text, after);
  if (part.runs) timer = setTimeout(() => attempt(() => follow(of, part.next)), LOOK_MS);
  else $("#log pre").append(`\n— unloaded —\n`);
}

function show(more, all, after) {
  const place = $("#log pre");
  const isAtEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
  const before = more !== null && after ? place.textContent : "";
  const text = visible(more !== null ? before + more : all);
  if (text !== place.textContent) place.textContent = text.slice(-MOST_CHARACTERS);
  if ($("#log-follow").checked && (isAtEnd || !after)) place.scrollTop = place.scrollHeight;
}

/** Return a text with a picture for each control character, so that an ANSI escape is seen. */
const visible = (text) =>
  text.replace(/[\x00-\x08\x0b-\x1f]/g, (one) => String.fromCharCode(0x2400 + one.charCodeAt(0))).replace(/[\x7f-\x9f]/g, "�");
