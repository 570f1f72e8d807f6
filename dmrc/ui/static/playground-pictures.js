// Pictures of a message: attached, pasted or dropped, kept as data URLs, and drawn without loading anything.

import { element, toast } from "./page.js";

const PREVIEW_PIXELS = 160;
const MOST_BYTES = 20 << 20;

/** Return a file as a data URL. */
const dataUrl = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => resolve(reader.result));
  reader.addEventListener("error", () => reject(new Error(`${file.name} cannot be read: ${reader.error.message}`)));
  reader.readAsDataURL(file);
});

/** Return the bytes of a data URL; the page's policy lets no script fetch one. */
function blobOf(url) {
  const [head, body] = [url.slice(5, url.indexOf(",")), url.slice(url.indexOf(",") + 1)];
  const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: head.split(";")[0] });
}

/** Return a small picture of a data URL, drawn on a canvas: the page's policy need not let it load pictures. */
export function preview(url, name = "Picture") {
  const canvas = element("canvas", { className: "picture", width: PREVIEW_PIXELS, height: PREVIEW_PIXELS, role: "img" });
  canvas.setAttribute("aria-label", name);
  const frame = element("span", { className: "picture-frame" }, canvas);
  draw(canvas, url, name).catch(() => frame.replaceChildren(element("span", { className: "badge", textContent: told(url) })));
  return frame;
}

async function draw(canvas, url, name) {
  const image = await createImageBitmap(blobOf(url));
  const scale = Math.min(1, PREVIEW_PIXELS / Math.max(image.width, image.height));
  canvas.width = Math.max(1, Math.round(image.width * scale));
  canvas.height = Math.max(1, Math.round(image.height * scale));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.setAttribute("aria-label", `${name}, ${image.width} × ${image.height} pixels`);
  canvas.title = `${image.width} × ${image.height} pixels`;
  image.close();
}

/** Say what stands for a picture that cannot be drawn. */
function told(url) {
  if (url.startsWith("[media ")) return `${url.slice(7, url.indexOf(","))}: not in the record`;
  return url.startsWith("data:") ? `picture (${url.slice(5, 40).split(/[;,]/)[0] || "unknown kind"})` : url.slice(0, 80);
}

/** Pictures that wait to be sent. */
export class Attached {
  /** Show them in `list`; `input` is a file field, and what is pasted or dropped into `zone` comes too. */
  constructor(list, input, zone) {
    this.list = list;
    this.pictures = [];
    input.addEventListener("change", () => { this.add(input.files); input.value = ""; });
    zone.addEventListener("paste", (event) => this.take(event, event.clipboardData));
    zone.addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes("Files")) { event.preventDefault(); zone.classList.add("dropping"); } });
    zone.addEventListener("dragleave", () => zone.classList.remove("dropping"));
    zone.addEventListener("drop", (event) => { zone.classList.remove("dropping"); this.take(event, event.dataTransfer); });
  }

  take(event, data) {
    const files = [...data.files];
    if (!files.length) return;
    event.preventDefault();
    this.add(files);
  }

  async add(files) {
    for (const file of files) {
      if (!file.type.startsWith("image/")) toast(`${file.name} is not a picture. Pictures can be attached; put the words of a file into the message.`, "error");
      else if (file.size > MOST_BYTES) toast(`${file.name} is larger than 20 MB. Make it smaller first: models scale pictures down anyway.`, "error");
      else this.pictures.push({ name: file.name, url: await dataUrl(file) });
    }
    this.show();
  }

  clear() {
    this.pictures = [];
    this.show();
  }

  show() {
    this.list.replaceChildren(...this.pictures.map((one) => {
      const remove = element("button", { type: "button", className: "icon small", textContent: "×", ariaLabel: `Remove ${one.name}` });
      remove.addEventListener("click", () => { this.pictures = this.pictures.filter((other) => other !== one); this.show(); });
      return element("li", {}, preview(one.url, one.name), remove);
    }));
  }
}
