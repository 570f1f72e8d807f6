// What the modules of all pages share.

export const $ = (selector, within = document) => within.querySelector(selector);

/** Show one line above the page; errors too are said here and not in the console. */
export function say(text, isError = false) {
  const line = document.createElement("p");
  line.textContent = text;
  if (isError) line.className = "error";
  $("#notice").replaceChildren(line);
}

/** Run `work`; what it throws is shown. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, true);
    return undefined;
  }
}

/** Fetch, and throw an Error with the server's own words when it refuses. */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The daemon does not answer. Start it again with: dmrc ui");
  }
  if (response.ok) return response;
  const text = await response.text();
  let message = text || `The daemon answers ${response.status}`;
  try {
    const document = JSON.parse(text);
    message = document.error?.message ?? document.error ?? document.message ?? message;
  } catch { /* the text itself is the message */ }
  throw new Error(String(message));
}

export const post = (path, document, options = {}) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(document), ...options });

/** Yield the lines of an answer as they come. */
export async function* lines(response, onBytes = () => {}) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    onBytes(value.length);
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
  if (rest) yield rest;
}

/** Yield the JSON of each Server-Sent Event up to `[DONE]`. */
export async function* events(response) {
  for await (const line of lines(response)) {
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") return;
    yield JSON.parse(data);
  }
}

/** Return an element with properties and children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
