// The panel beside the talk: what a request says beside its messages, and what holds where it says nothing.

import { $, element } from "./page.js";

const NUMBERS = ["temperature", "max_tokens", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty"];
const ESCAPES = { "\\n": "\n", "\\t": "\t", "\\r": "\r", "\\\\": "\\" };
const CHOICES = ["none", "required"];
const TEMPLATES = {
  tools: {
    type: "function",
    function: {
      name: "get_weather",
      description: "The weather of a place, now.",
      parameters: { type: "object", properties: { city: { type: "string", description: "Name of the city" } }, required: ["city"] },
    },
  },
  schema: { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"], additionalProperties: false },
};

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const pretty = (value) => JSON.stringify(value, null, 2);

/** Read JSON, and throw an Error that says where it ends to be JSON. */
function parsed(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    const at = /position (\d+)/.exec(error.message);
    const line = at ? text.slice(0, Number(at[1])).split("\n").length : /line (\d+)/.exec(error.message)?.[1];
    throw new Error(`${what}: not JSON${line ? `, see line ${line}` : ""}`);
  }
}

function tools(text) {
  if (!text.trim()) return undefined;
  const value = parsed(text, "Tools");
  const list = Array.isArray(value) ? value : [value];
  list.forEach((one, at) => {
    if (!isObject(one) || typeof one.type !== "string") throw new Error(`Tools: entry ${at + 1} needs a "type", mostly "function"`);
    if (one.type !== "function") return;
    if (typeof one.function?.name !== "string" || !one.function.name) throw new Error(`Tools: entry ${at + 1} needs "function": {"name": …}`);
    if (one.function.parameters !== undefined && !isObject(one.function.parameters)) throw new Error(`Tools: "parameters" of ${one.function.name} must be a JSON schema, an object`);
  });
  return list.length ? list : undefined;
}

function schema(text) {
  if (!text.trim()) throw new Error("JSON schema: write one, or choose another format");
  const value = parsed(text, "JSON schema");
  if (!isObject(value)) throw new Error("JSON schema: must be an object");
  return value;
}

function other(text) {
  if (!text.trim()) return {};
  const value = parsed(text, "Other fields");
  if (!isObject(value)) throw new Error('Other fields: must be an object, as {"logprobs": true}');
  for (const name of ["model", "messages"]) if (name in value) throw new Error(`Other fields: "${name}" comes from the chat`);
  return value;
}

const READERS = { tools, schema, other };

export class Settings {
  /** Read `form`; `onChange` is told of each change that a person makes. */
  constructor(form, onChange) {
    this.form = form;
    this.schemaExtra = {};
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => { this.show(); onChange(); });
    for (const button of form.querySelectorAll("[data-template]")) button.addEventListener("click", () => this.insert(button.dataset.template));
    $("#reset-settings").addEventListener("click", () => { this.clear(); onChange(); });
    this.show();
  }

  get system() { return this.form.elements.system.value; }

  clear() {
    this.form.reset();
    this.schemaExtra = {};
    this.show();
  }

  /** Return the fields of a request; throws an Error that names what is wrong. */
  fields() {
    const { elements } = this.form;
    const found = {};
    for (const name of NUMBERS) {
      if (elements[name].validity.badInput || !elements[name].validity.valid) throw new Error(`${elements[name].labels[0].textContent}: ${elements[name].validationMessage}`);
      if (elements[name].value !== "") found[name] = Number(elements[name].value);
    }
    const stop = elements.stop.value.split("\n").filter(Boolean).map((line) => line.replace(/\\[ntr\\]/g, (one) => ESCAPES[one]));
    if (stop.length) found.stop = stop;
    const format = elements.format.value;
    if (format === "json_object") found.response_format = { type: format };
    if (format === "json_schema") found.response_format = { type: format, json_schema: { name: "answer", strict: true, ...this.schemaExtra, schema: schema(elements.schema.value) } };
    const offered = tools(elements.tools.value);
    if (offered) found.tools = offered;
    if (offered && elements.tool_choice.value) found.tool_choice = elements.tool_choice.value;
    const more = other(elements.other.value);
    if (elements.stream.checked) Object.assign(found, { stream: true, stream_options: { include_usage: true } });
    return { ...found, ...more };
  }

  /** Take the fields of a request that is gone on with; what has no place of its own stays, as JSON. */
  fill(document) {
    this.clear();
    const { elements } = this.form;
    const { model, messages, ...rest } = document;
    const take = (name, isFit, put) => {
      if (!(name in rest) || !isFit(rest[name])) return;
      put(rest[name]);
      delete rest[name];
    };
    for (const name of NUMBERS) take(name, Number.isFinite, (value) => { elements[name].value = value; });
    const isLine = (one) => typeof one === "string" && one !== "";
    take("stop", (value) => [value].flat().length && [value].flat().every(isLine), (value) => { elements.stop.value = [value].flat().map(escaped).join("\n"); });
    take("response_format", (value) => ["text", "json_object"].includes(value?.type) && Object.keys(value).length === 1, (value) => { elements.format.value = value.type; });
    take("response_format", (value) => value?.type === "json_schema" && isObject(value.json_schema?.schema) && Object.keys(value).length === 2, (value) => this.fillSchema(value.json_schema));
    take("tools", (value) => Array.isArray(value) && value.length > 0, (value) => { elements.tools.value = pretty(value); });
    take("tool_choice", (value) => CHOICES.includes(value) && elements.tools.value !== "", (value) => { elements.tool_choice.value = value; });
    elements.stream.checked = rest.stream === true;
    delete rest.stream;
    if (rest.stream_options?.include_usage === true && Object.keys(rest.stream_options).length === 1) delete rest.stream_options;
    if (Object.keys(rest).length) elements.other.value = pretty(rest);
    for (const [fold, name] of [["#tools-fold", "tools"], ["#other-fold", "other"]]) $(fold).open = elements[name].value !== "";
    this.show();
  }

  fillSchema({ schema: wanted, ...extra }) {
    this.form.elements.format.value = "json_schema";
    this.form.elements.schema.value = pretty(wanted);
    // Who asked without "strict" gets none.
    this.schemaExtra = { strict: undefined, ...extra };
  }

  insert(name) {
    const area = this.form.elements[name];
    let value = TEMPLATES[name];
    if (name === "tools") {
      let known = [];
      try { known = tools(area.value) ?? []; } catch { return this.show(); }
      value = [...known, value];
    } else if (area.value.trim()) return this.show();
    area.value = pretty(value);
    area.dispatchEvent(new Event("input", { bubbles: true }));
    area.focus();
    area.setSelectionRange(0, 0);
    area.scrollTop = 0;
    return undefined;
  }

  /** Say what is wrong, and what is folded. */
  show() {
    const { elements } = this.form;
    $("#schema-part").hidden = elements.format.value !== "json_schema";
    for (const [name, read] of Object.entries(READERS)) {
      let problem = "";
      try { if (name !== "schema" || elements.format.value === "json_schema") read(elements[name].value); } catch (error) { problem = error.message; }
      $(`[data-problem=${name}]`, this.form).textContent = problem;
      elements[name].setAttribute("aria-invalid", String(Boolean(problem)));
    }
    $("#system-begins").textContent = this.system.trim() ? `· ${this.system.trim().split("\n")[0].slice(0, 40)}` : "";
    $("#tools-count").textContent = counted(() => tools(elements.tools.value)?.length);
    $("#other-count").textContent = counted(() => Object.keys(other(elements.other.value)).length);
  }

  /** Say of each parameter what holds where it is empty, for the models that are asked. */
  showDefaults(models) {
    for (const place of this.form.querySelectorAll("[data-default]")) {
      const known = models.map((model) => model.defaults[place.dataset.default] ?? { value: "", origin: "its server" });
      const values = [...new Set(known.map((one) => one.value))];
      const isOne = values.length === 1 && values[0] !== "";
      this.form.elements[place.dataset.default].placeholder = isOne ? values[0] : "";
      // One value stands in the field itself.
      const said = [...new Set(known.map((one) => (!one.value || isOne ? `Default of ${one.origin}` : `${one.value} by ${one.origin}`)))];
      place.replaceChildren(...said.flatMap((text, at) => (at ? [element("br"), text] : [text])));
    }
    $("#whose-defaults").textContent = models.length > 1 ? "For all models. An empty field keeps each model's default." : "An empty field keeps the default.";
  }
}

const escaped = (text) => text.replace(/[\n\t\r\\]/g, (one) => Object.keys(ESCAPES).find((name) => ESCAPES[name] === one));

function counted(read) {
  try {
    const found = read();
    return found ? `· ${found}` : "";
  } catch {
    return "· see below";
  }
}
