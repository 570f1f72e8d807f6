// Light Markdown as elements: paragraphs, headings, lists, quotes, code. What a model writes only ever becomes text.

import { element } from "./page.js";

const FENCE = /^\s{0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const QUOTE = /^\s{0,3}>\s?(.*)$/;
const SPAN = /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)|\*\*(\S|\S[\s\S]*?\S)\*\*|(?<![\w*])\*([^\s*]|[^\s*][^*]*?[^\s*])\*(?![\w*])/g;

/** Return a text as a fragment. */
export function markdown(text) {
  const fragment = document.createDocumentFragment();
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; ) {
    const [node, next] = block(lines, at);
    if (node) fragment.append(node);
    at = next;
  }
  return fragment;
}

function block(lines, at) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  const fence = FENCE.exec(line);
  if (fence) return code(lines, at, fence);
  const heading = HEADING.exec(line);
  // The page has a heading of its own, and the message too: those of an answer are below these.
  if (heading) return [spans(element(`h${Math.min(heading[1].length + 3, 6)}`), heading[2]), at + 1];
  if (ITEM.test(line)) return list(lines, at);
  if (QUOTE.test(line)) return quote(lines, at);
  return paragraph(lines, at);
}

function code(lines, at, [, marks, language]) {
  const closing = new RegExp(`^\\s{0,3}${marks[0]}{${marks.length},}\\s*$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) end += 1;
  const text = lines.slice(at + 1, end).join("\n");
  const figure = element("figure", { className: "code" }, element("pre", { dir: "auto", tabIndex: 0 }, element("code", { textContent: text })));
  if (language) figure.prepend(element("figcaption", { textContent: language }));
  return [figure, end + 1];
}

/** A list ends where a line is neither an item nor indented below one. */
function list(lines, at) {
  const [, indent, mark] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(mark);
  const made = element(ordered ? "ol" : "ul");
  if (ordered && parseInt(mark, 10) !== 1) made.start = parseInt(mark, 10);
  while (at < lines.length) {
    const item = ITEM.exec(lines[at]);
    if (!item || item[1].length !== indent.length || /\d/.test(item[2]) !== ordered) break;
    const inner = [item[3]];
    for (at += 1; at < lines.length; at += 1) {
      const next = lines[at];
      const deeper = next.length - next.trimStart().length > indent.length;
      if (next.trim() ? !deeper : !isIndented(lines[at + 1], indent)) break;
      inner.push(next.trim() ? next.slice(Math.min(next.length - next.trimStart().length, indent.length + item[2].length + 1)) : "");
    }
    made.append(itemOf(inner));
    while (at < lines.length && !lines[at].trim() && ITEM.exec(lines[at + 1] ?? "")?.[1].length === indent.length) at += 1;
  }
  return [made, at];
}

const isIndented = (line, indent) => Boolean(line?.trim()) && line.length - line.trimStart().length > indent.length;

/** An item of one paragraph has its words right in it. */
function itemOf(lines) {
  const item = element("li", { dir: "auto" });
  const inner = markdown(lines.join("\n"));
  if (inner.firstChild?.nodeName === "P") inner.firstChild.replaceWith(...inner.firstChild.childNodes);
  item.append(inner);
  return item;
}

function quote(lines, at) {
  const inner = [];
  for (; at < lines.length && QUOTE.test(lines[at]); at += 1) inner.push(QUOTE.exec(lines[at])[1]);
  const made = element("blockquote");
  made.append(markdown(inner.join("\n")));
  return [made, at];
}

function paragraph(lines, at) {
  const words = [];
  while (at < lines.length && lines[at].trim() && !(words.length && begins(lines[at]))) words.push(lines[at++]);
  return [spans(element("p", { dir: "auto" }), words.join("\n")), at];
}

const begins = (line) => FENCE.test(line) || HEADING.test(line) || ITEM.test(line) || QUOTE.test(line);

/** Put a text into an element: code, bold and italics; all else, HTML and links among it, stays as it is written. */
function spans(parent, text) {
  let end = 0;
  for (const found of text.matchAll(SPAN)) {
    parent.append(text.slice(end, found.index));
    const [whole, , inCode, bold, italics] = found;
    if (inCode !== undefined) parent.append(element("code", { textContent: inCode }));
    else parent.append(spans(element(bold === undefined ? "em" : "strong"), bold ?? italics));
    end = found.index + whole.length;
  }
  parent.append(text.slice(end));
  return parent;
}
