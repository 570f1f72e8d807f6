// Charts over time, drawn as SVG: bars one upon the other, or lines. They have axes with units, tell values under the
// pointer or by arrow keys, and a range that is dragged is given to the view, which makes a filter of it. They are our
// own because the smallest charting module that does as much is 50 kB, and this is 10.
import { element } from "./page.js";

const SVG = "http://www.w3.org/2000/svg";
const LOWEST = 1.5; // pixels of a bar
const LEFT = 44;
const BOTTOM = 18;
const TOP = 8;
const STEPS = [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 2592000];

function draw(parent, name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

/** The values of an axis from 0 that reach `most`: steps of 1, 2 or 5. */
export function niceTicks(most, wanted = 3) {
  if (!(most > 0)) return [0];
  const rough = most / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((one) => one * power >= rough * 0.999) * power;
  const ticks = [];
  for (let at = 0; at < most + step * 0.999; at += step) ticks.push(Number(at.toPrecision(12)));
  return ticks;
}

/** Unix seconds at round times of the clock here, at most `wanted` of them. */
export function timeTicks(start, end, wanted) {
  const step = STEPS.find((one) => (end - start) / one <= wanted) ?? STEPS.at(-1);
  const offset = new Date(start * 1000).getTimezoneOffset() * 60;
  const ticks = [];
  for (let at = Math.ceil((start - offset) / step) * step + offset; at <= end; at += step) ticks.push(at);
  return { step, ticks };
}

export function clock(seconds, step = 60) {
  const at = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  if (step >= 86400) return at.toLocaleDateString("en", { month: "short", day: "numeric" });
  return `${two(at.getHours())}:${two(at.getMinutes())}${step < 60 ? `:${two(at.getSeconds())}` : ""}`;
}

/**
 * Draw a chart in `place`, and again with each `update(data)` of what is returned.
 *
 * options: `title`; `kind`: "bars" (the default) or "lines"; `series`: `[{ name, kind }]`, `kind` is a class that has
 * the colour; `show(value)`: a value with its unit; `onRange(start, end)`: a range was chosen (Unix seconds);
 * `height` in pixels; `axis`: false leaves out the labels, for a chart among many.
 * data: `{ start, end, values, most }`: `values` has a list for each series, null where nothing is known; `most` is the
 * least that the axis reaches, so that several charts have one scale.
 */
export function timeChart(place, options) {
  const chart = new TimeChart(place, { kind: "bars", show: String, height: 120, axis: true, ...options });
  new ResizeObserver(() => chart.draw()).observe(place);
  return { update: (data) => chart.update(data) };
}

class TimeChart {
  constructor(place, options) {
    this.options = options;
    this.data = null;
    this.at = null;
    this.from = null;
    this.svg = document.createElementNS(SVG, "svg");
    this.tip = element("output", { className: "tip", hidden: true });
    this.tip.setAttribute("aria-live", "polite");
    const names = options.series.length > 1 ? options.series.map(({ name, kind }) => element("span", { className: `key ${kind}`, textContent: name })) : [];
    const caption = element("figcaption", {}, element("strong", { textContent: options.title }), element("span", { className: "legend" }, ...names));
    this.figure = element("figure", { className: "chart" }, caption, this.svg, this.tip);
    place.replaceChildren(this.figure);
    this.svg.setAttribute("tabindex", "0");
    this.svg.setAttribute("role", "group");
    this.svg.setAttribute("aria-roledescription", "chart");
    this.listen();
  }

  update(data) {
    this.data = data;
    this.draw();
  }

  get count() { return this.data.values[0]?.length ?? 0; }
  get left() { return this.options.axis ? LEFT : 0; }
  get inner() { return this.width - this.left; }
  secondsOf(index) { return this.data.start + ((this.data.end - this.data.start) / this.count) * index; }
  xOf(index) { return this.left + (this.inner / this.count) * index; }

  sums() {
    const bars = this.options.kind === "bars";
    return Array.from({ length: this.count }, (_, at) => {
      const all = this.data.values.map((values) => values[at] ?? 0);
      return bars ? all.reduce((sum, value) => sum + value, 0) : Math.max(...all);
    });
  }

  draw() {
    this.width = Math.floor(this.svg.clientWidth);
    if (!this.data || this.width < 40) return;
    const { height, axis, title } = this.options;
    this.floor = height - (axis ? BOTTOM : 2);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
    this.svg.setAttribute("height", height);
    this.svg.replaceChildren();
    const sums = this.sums();
    const most = Math.max(...sums, 0);
    const ticks = niceTicks(Math.max(most, this.data.most ?? 0));
    this.top = ticks.at(-1) || 1;
    if (axis) this.drawAxes(ticks);
    if (this.options.kind === "bars") this.drawBars(); else this.drawLines();
    this.mark = draw(this.svg, "rect", { class: "mark", y: TOP, height: this.floor - TOP, width: 0 });
    const peak = sums.indexOf(most);
    const said = most ? `most ${this.options.show(most)} at ${clock(this.secondsOf(peak))}` : "nothing";
    const how = this.options.onRange ? " Enter filters by it." : "";
    this.svg.setAttribute("aria-label", `${title}, ${clock(this.data.start)} to ${clock(this.data.end)}: ${said}. Arrow keys tell each value.${how}`);
  }

  yOf(value) { return this.floor - (value / this.top) * (this.floor - TOP); }

  drawAxes(ticks) {
    for (const tick of ticks) {
      const y = Math.round(this.yOf(tick)) + 0.5;
      draw(this.svg, "line", { class: tick ? "rule" : "ground", x1: LEFT, x2: this.width, y1: y, y2: y });
      draw(this.svg, "text", { x: LEFT - 6, y: y + 3.5, "text-anchor": "end" }, tick ? this.options.show(tick) : "0");
    }
    const { step, ticks: times } = timeTicks(this.data.start, this.data.end, Math.max(2, this.inner / 90));
    for (const at of times) {
      const x = LEFT + ((at - this.data.start) / (this.data.end - this.data.start)) * this.inner;
      if (x < LEFT + 14 || x > this.width - 16) continue;
      draw(this.svg, "text", { x, y: this.floor + 14, "text-anchor": "middle" }, clock(at, step));
    }
  }

  drawBars() {
    const wide = this.inner / this.count;
    const gap = wide > 4 ? 1 : 0;
    for (let at = 0; at < this.count; at += 1) {
      const parts = this.options.series.map(({ kind }, which) => ({ kind, value: this.data.values[which][at] ?? 0 }));
      this.drawStack(parts.filter(({ value }) => value), this.xOf(at), Math.max(wide - gap, 1));
    }
  }

  // One failure among thousands is still seen. Where the whole is too low for parts on top of each other, they stand
  // side by side: each would be as high as the other, whatever its share.
  drawStack(parts, left, wide) {
    const whole = parts.reduce((sum, { value }) => sum + value, 0);
    const isLow = this.floor - this.yOf(whole) < LOWEST * parts.length;
    let sum = 0;
    for (const { kind, value } of parts) {
      const [from, to] = isLow ? [0, whole] : [sum, sum + value];
      const tall = Math.max(this.yOf(from) - this.yOf(to), LOWEST);
      const box = isLow ? { x: left + (sum / whole) * wide, width: (value / whole) * wide } : { x: left, width: wide };
      draw(this.svg, "rect", {
        class: `bar ${kind}`, x: box.x.toFixed(2), y: Math.min(this.yOf(to), this.floor - tall), width: box.width.toFixed(2), height: tall,
      });
      sum += value;
    }
  }

  drawLines() {
    const middle = this.inner / this.count / 2;
    this.options.series.forEach(({ kind }, which) => {
      let path = "";
      let isDown = false;
      this.data.values[which].forEach((value, at) => {
        if (value === null || value === undefined) { isDown = false; return; }
        const point = `${(this.xOf(at) + middle).toFixed(1)} ${this.yOf(value).toFixed(1)}`;
        // A point between two gaps is a dot, for a line of no length is not drawn.
        path += isDown ? `L${point}` : `M${point}l.01 0`;
        isDown = true;
      });
      draw(this.svg, "path", { class: `line ${kind}`, d: path });
    });
  }

  indexAt(event) {
    const x = event.clientX - this.svg.getBoundingClientRect().left - this.left;
    return Math.min(Math.max(Math.floor((x / this.inner) * this.count), 0), this.count - 1);
  }

  /** Tell the values of one part, and mark it, or all parts since the one where a range began. */
  tell(at) {
    this.at = at;
    const [first, last] = this.from === null ? [at, at] : [Math.min(at, this.from), Math.max(at, this.from)];
    this.mark.setAttribute("x", this.xOf(first));
    this.mark.setAttribute("width", this.xOf(last + 1) - this.xOf(first));
    const lines = this.options.series.map(({ name, kind }, which) => {
      const value = this.data.values[which][at];
      return element("span", { className: `key ${kind}`, textContent: `${name} ${value === null || value === undefined ? "none" : this.options.show(value)}` });
    });
    const seconds = this.secondsOf(1) - this.secondsOf(0) < 60 ? 1 : 60;
    const days = this.data.end - this.data.start > 86400 * 1.5 ? `${clock(this.secondsOf(first), 86400)} ` : "";
    const range = `${days}${clock(this.secondsOf(first), seconds)} – ${clock(this.secondsOf(last + 1), seconds)}`;
    this.tip.replaceChildren(element("strong", { textContent: range }), ...(first === last ? lines : [element("span", { textContent: "Release to filter" })]));
    this.tip.hidden = false;
    const middle = (this.xOf(first) + this.xOf(last + 1)) / 2;
    this.tip.style.left = `${Math.min(Math.max(middle - this.tip.offsetWidth / 2, 0), this.width - this.tip.offsetWidth)}px`;
  }

  forget() {
    this.at = null;
    this.from = null;
    this.tip.hidden = true;
    this.mark?.setAttribute("width", 0);
  }

  choose() {
    if (this.at === null || !this.options.onRange) return;
    const from = this.from ?? this.at;
    const [first, last] = [Math.min(from, this.at), Math.max(from, this.at)];
    this.forget();
    this.options.onRange(this.secondsOf(first), this.secondsOf(last + 1));
  }

  listen() {
    const { svg } = this;
    svg.addEventListener("pointermove", (event) => { if (this.data) this.tell(this.indexAt(event)); });
    svg.addEventListener("pointerleave", () => { if (this.from === null) this.forget(); });
    svg.addEventListener("pointerdown", (event) => {
      if (!this.data || !this.options.onRange || event.button) return;
      event.preventDefault();
      this.from = this.indexAt(event);
      svg.setPointerCapture(event.pointerId);
      this.tell(this.from);
    });
    svg.addEventListener("pointerup", () => { if (this.from !== null) this.choose(); });
    svg.addEventListener("pointercancel", () => this.forget());
    svg.addEventListener("blur", () => this.forget());
    svg.addEventListener("keydown", (event) => this.press(event));
  }

  press(event) {
    if (!this.data) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      if (!event.shiftKey) this.from = null;
      else this.from ??= this.at ?? this.count - 1;
      const next = this.at === null ? this.count - 1 : this.at + step;
      this.tell(Math.min(Math.max(next, 0), this.count - 1));
    } else if (event.key === "Enter") this.choose();
    else if (event.key === "Escape" && this.at !== null) this.forget();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
