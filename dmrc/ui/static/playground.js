// The playground: several models side by side, one message to all of them.

import { $, ask, attempt, element, toast } from "./page.js";
import { Column, refuse } from "./playground-column.js";
import { Attached } from "./playground-pictures.js";
import { Settings } from "./playground-settings.js";

const MOST_COLUMNS = 4;
const composer = $("#composer");
const field = $("#message");
const attached = new Attached($("#attached"), $("#picture"), $("#playground"));
const settings = new Settings($("#settings"), () => bench.changed());

const bench = {
  models: [],
  columns: [],
  settings,
  attempt,

  get draft() { return field.value.trim(); },

  add(model) {
    const column = new Column(this, model);
    this.columns.push(column);
    $("#columns").append(column.root);
    const [first] = this.columns;
    // A model that comes later is asked the same: up to the last message of the person.
    const until = first.messages.findLastIndex((one) => one.role === "user");
    if (column !== first) column.messages = first.messages.slice(0, until + 1);
    column.show();
    this.changed();
    return column;
  },

  remove(column) {
    column.drop();
    column.root.remove();
    this.columns = this.columns.filter((one) => one !== column);
    this.changed();
    field.focus();
  },

  /** Put another message in the place of one, in each column that has it; what followed is asked anew. */
  replace(message, other) {
    const having = this.columns.filter((column) => column.messages.includes(message));
    for (const column of having) {
      column.drop();
      const at = column.messages.indexOf(message);
      column.error = null;
      if (message.role === "assistant") {
        column.facts.delete(message);
        column.messages[at] = other;
        column.show();
      } else {
        column.messages = [...column.messages.slice(0, at), other];
        attempt(() => column.ask());
      }
    }
  },

  announce(text) {
    const place = $("#said");
    place.append(element("p", { textContent: text }));
    while (place.children.length > MOST_COLUMNS) place.firstChild.remove();
  },

  changed() {
    const running = this.columns.filter((column) => column.isAsking);
    for (const column of this.columns) {
      column.stop.hidden = !column.isAsking;
      column.close.hidden = this.columns.length < 2;
    }
    $("#stop-all").hidden = running.length === 0;
    $("#stop-all").textContent = this.columns.length > 1 ? "Stop all" : "Stop";
    $("#columns").dataset.count = this.columns.length;
    $("#add-model").disabled = this.columns.length >= MOST_COLUMNS || this.models.length === 0;
    const asked = [...new Set(this.columns.map((column) => column.model))];
    if (asked.length) settings.showDefaults(asked);
  },

  /** Return the next message of the person; undefined where there is none. */
  message() {
    const text = field.value.trim();
    if (!text && !attached.pictures.length) return undefined;
    if (!attached.pictures.length) return { role: "user", content: text };
    const pictures = attached.pictures.map(({ url }) => ({ type: "image_url", image_url: { url } }));
    return { role: "user", content: [...(text ? [{ type: "text", text }] : []), ...pictures] };
  },

  send() {
    const message = this.message();
    if (!this.columns.length || this.columns.some((column) => column.isAsking)) return;
    const open = this.columns.find((column) => column.openCalls.length);
    if (open) { refuse(open); return; }
    if (!message) return;
    settings.fields(); // what is wrong there is said before anything is sent
    field.value = "";
    attached.clear();
    for (const column of this.columns) {
      column.say(message);
      attempt(() => column.ask());
    }
  },

  newChat() {
    for (const column of this.columns) column.clear();
    attached.clear();
    $("#source").hidden = true;
    history.replaceState(null, "", location.pathname);
    this.changed();
    field.focus();
  },
};

/** Go on with a recorded request. */
async function take(id) {
  const source = await (await ask(`/ui/playground/from/${encodeURIComponent(id)}`)).json();
  const asked = source.document.model;
  const isMeant = (one) => one.project === source.project && [source.model_key, asked].includes(one.name);
  const isSame = (one) => one.shown === asked || one.name === source.model_reference || one.name === asked;
  const model = bench.models.find(isMeant) ?? bench.models.find((one) => one.project === source.project && isSame(one)) ?? bench.models.find(isSame);
  const column = bench.columns[0];
  if (model) column.choose(model);
  $("#system-fold").open = false;
  settings.fill(source.document);
  column.messages = [...(source.document.messages ?? [])];
  column.show();
  column.follow(true);
  const notes = [...source.notes, ...(model ? [] : [`Its model '${asked}' cannot be asked now: choose another one.`])];
  $("#source").replaceChildren("From request ", element("a", { href: `/ui/requests/${source.id}`, textContent: source.short }), notes.length ? `. ${notes.join(" ")}` : "");
  $("#source").hidden = false;
  bench.changed();
}

function openSettings(isOpen) {
  $("#settings").hidden = !isOpen;
  $("#settings-open").setAttribute("aria-expanded", String(isOpen));
  $("#bench").classList.toggle("wide", !isOpen);
}

composer.addEventListener("submit", (event) => { event.preventDefault(); attempt(async () => bench.send()); });
field.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const column of bench.columns) column.abort();
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
});
$("#attach").addEventListener("click", () => $("#picture").click());
$("#stop-all").addEventListener("click", () => { for (const column of bench.columns) column.abort(); field.focus(); });
$("#new-chat").addEventListener("click", () => bench.newChat());
$("#settings-open").addEventListener("click", () => openSettings($("#settings").hidden));
$("#add-model").addEventListener("click", () => {
  const used = bench.columns.map((column) => column.model);
  bench.add(bench.models.find((one) => !used.includes(one)) ?? bench.models[0]).select.focus();
});

openSettings(matchMedia("(min-width: 1000px)").matches);
attempt(async () => {
  bench.models = await (await ask("/ui/playground/models")).json();
  $("#no-models").hidden = bench.models.length > 0;
  $("#bench").hidden = bench.models.length === 0;
  $("#playground .head .actions").hidden = bench.models.length === 0;
  if (!bench.models.length) return bench.changed();
  const wanted = new URLSearchParams(location.search);
  const named = bench.models.filter((one) => [one.name, one.shown].includes(wanted.get("model")));
  const model = named.find((one) => one.project === wanted.get("project")) ?? (wanted.get("project") ? undefined : named[0]);
  if (wanted.get("model") && !model) toast(`Model '${wanted.get("model")}' cannot be asked: it is not here, or does not chat`, "error");
  bench.add(model ?? bench.models[0]);
  if (wanted.get("from")) await take(wanted.get("from"));
  return field.focus();
});
