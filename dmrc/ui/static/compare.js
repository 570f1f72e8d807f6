// Compare, before anything is sent: which requests, and which targets.
import { $, attempt, post } from "./page.js";

const boxes = () => [...document.querySelectorAll("#chosen tbody input")];
const picked = () => boxes().filter((box) => box.checked && !box.disabled).map((box) => box.value);
const targets = () => [...document.querySelectorAll("#targets .target")];
const words = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

function tell() {
  const ids = picked();
  const able = boxes().filter((box) => !box.disabled);
  $("#chosen-count").textContent = `${ids.length} of ${words(boxes().length, "request")} chosen`;
  const all = $("#pick-all");
  all.checked = able.length > 0 && ids.length === able.length;
  all.indeterminate = ids.length > 0 && ids.length < able.length;
  const run = $("#run");
  if (!run) return;
  run.disabled = ids.length === 0;
  $("#run-note").textContent = `Sends ${words(ids.length, "request")} to ${words(targets().length, "target")}`;
  const most = Number($("#add-target").dataset.most);
  $("#add-target").disabled = targets().length >= most;
  targets().forEach((target, at) => {
    $("legend", target).textContent = `Target ${at + 1}`;
    $(".remove", target).hidden = targets().length === 1;
    $(".remove", target).setAttribute("aria-label", `Remove target ${at + 1}`);
  });
}

function add(isFocused) {
  const made = $("#target").content.cloneNode(true).firstElementChild;
  $("#targets").append(made);
  if (isFocused) $("select", made).focus();
  tell();
}

function read(target) {
  const value = (name) => $(`[name=${name}]`, target).value.trim();
  const model = $("[name=model]", target);
  return {
    model: model.value || null,
    project: model.selectedOptions[0].dataset.project || null,
    context_size: value("context_size") ? Number(value("context_size")) : null,
    temperature: value("temperature") ? Number(value("temperature")) : null,
    flags: value("flags"),
  };
}

async function run() {
  const wrong = document.querySelector("#targets :invalid");
  if (wrong) { wrong.reportValidity(); return; }
  const body = { ids: picked(), masked: Boolean($("#run").dataset.masked), targets: targets().map(read) };
  $("#run").disabled = true;
  try {
    location.href = (await (await post("/ui/compare", body)).json()).url;
  } finally {
    $("#run").disabled = false;
  }
}

$("#chosen")?.addEventListener("change", (event) => {
  if (event.target.id === "pick-all") for (const box of boxes()) if (!box.disabled) box.checked = event.target.checked;
  tell();
});
$("#targets")?.addEventListener("click", (event) => {
  if (!event.target.closest(".remove")) return;
  event.target.closest(".target").remove();
  tell();
  $("#add-target").focus();
});
$("#add-target")?.addEventListener("click", () => add(true));
$("#run")?.addEventListener("click", () => attempt(run));
if ($("#targets")) add(false);
else if ($("#chosen")) tell();
