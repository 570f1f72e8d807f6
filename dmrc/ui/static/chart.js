// Small bar charts, drawn as SVG.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 40;

function bar(parent, x, width, value, most, kind) {
  const height = most ? (value / most) * HEIGHT : 0;
  const rect = document.createElementNS(SVG, "rect");
  for (const [name, number] of Object.entries({ x: x + 0.1, y: HEIGHT - height, width: width - 0.2, height })) rect.setAttribute(name, number);
  if (kind) rect.setAttribute("class", kind);
  parent.append(rect);
}

/** Return a figure; `bad` is the part of each value that is drawn in another colour. */
export function chart(title, values, { bad = [], show = String } = {}) {
  const most = Math.max(...values, 0);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${values.length} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${title}, at most ${show(most)}`);
  values.forEach((value, at) => {
    bar(svg, at, 1, value, most);
    if (bad[at]) bar(svg, at, 1, bad[at], most, "bad");
  });
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = `${title} · at most ${show(most)}`;
  figure.append(svg, caption);
  return figure;
}
