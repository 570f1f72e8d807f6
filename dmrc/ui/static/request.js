import { $, ask, attempt, lines, say } from "./page.js";

const form = $("#again form");
const base = form.dataset.from.replace(/\/request$/, "");

async function html(path) {
  return (await ask(path, { headers: { accept: "text/plain" } })).text();
}

async function open() {
  $("#again").hidden = false;
  $("#again-open").setAttribute("aria-expanded", "true");
  form.elements.body.focus();
  if (form.elements.body.value) return;
  const text = await html(form.dataset.from);
  try {
    form.elements.body.value = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    form.elements.body.value = text;
  }
  $("#then").innerHTML = await html(`${base}/answer`); // the server's own, in which every value is escaped
}

async function send() {
  let document;
  try {
    document = JSON.parse(form.elements.body.value);
  } catch (error) {
    throw new Error(`The request is not JSON: ${error.message}`);
  }
  if (form.elements.model.value) document.model = form.elements.model.value;
  $("#now").textContent = "Waiting for the answer …";
  const response = await fetch(form.dataset.path, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(document),
  });
  let size = 0;
  const count = (more) => { size += more; $("#now").textContent = `${size} characters came …`; };
  for await (const _ of lines(response, count)); // the record shows what it was
  const id = response.headers.get("x-dmrc-exchange-id");
  if (!id) throw new Error(`The gateway answers ${response.status}, and records nothing of it`);
  $("#now").innerHTML = await html(`/ui/requests/${id}/answer`);
}

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", () => attempt(async () => {
    await navigator.clipboard.writeText(await html(button.dataset.from));
    say("Copied.");
  }));
}
$("#again-open").addEventListener("click", () => attempt(open));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(send);
});
