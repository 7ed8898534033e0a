// Elements without a template engine: text is never parsed as markup, and no inline style is written.

const SVG = "http://www.w3.org/2000/svg";

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** An HTML element; attributes that begin with "on" are listeners, null and false ones are left out. */
export function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function s(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

export const byId = (id) => document.getElementById(id);

/** Replace what an element holds, unless the new content is the same: focus and selection survive a refresh. */
export function show(target, ...children) {
  const fresh = h("div", {}, ...children);
  if (fresh.innerHTML === target.innerHTML) return;
  const focused = target.contains(document.activeElement) ? document.activeElement.id : "";
  target.replaceChildren(...fresh.childNodes);
  if (focused) byId(focused)?.focus();
}

/** A formula with its numbers as subscripts. */
export function formulaNodes(formula) {
  return formula.split(/(\d+)/).filter(Boolean).map((part) => (/^\d/.test(part) ? h("sub", {}, part) : part));
}

/** A number with fixed decimals and a true minus sign; a dash where there is none. */
export function fixed(value, digits = 3, sign = false) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) !== 0 ? "−" : sign ? "+" : "") + text;
}

/** A table with a caption; a column is {title, cell(row), number}. */
export function table(caption, columns, rows, attributes = {}) {
  const css = (column) => (column.number ? "number" : null);
  const head = columns.map((column) => h("th", { scope: "col", class: css(column) }, column.title));
  const body = rows.map((row) => h("tr", {}, columns.map((column, i) =>
    i === 0 ? h("th", { scope: "row" }, column.cell(row)) : h("td", { class: css(column) }, column.cell(row)))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", attributes, h("caption", {}, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

/** What a chart shows, as a table that opens on demand; it stays open when the chart is drawn anew. */
export function alternative(id, ...children) {
  const open = byId(id)?.open ?? false;
  return h("details", { id, open }, h("summary", {}, "As a table"), ...children);
}
