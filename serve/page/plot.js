// The frame of a chart: data ranges on a drawing, axes, round ticks. Colours are classes of style.css.

import { h, s } from "./dom.js";

/** Round numbers (1, 2 or 5 times a power of ten apart) from `low` to `high`. */
export function ticks(low, high, about = 5) {
  const raw = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: Math.max(count, 0) }, (_, i) => (first + i) * step);
}

const tickText = (value) => String(Number(value.toPrecision(10))).replace("-", "−");

/** The range of the values with some room on both sides; never empty. */
export function padded(values, share = 0.06) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = (high - low) * share || 0.05;
  return [low - room, high + room];
}

/** A plot's area; lengths in pixels of the drawing, origin at its top left. */
export class Frame {
  constructor(xRange, yRange, [width, height], { left = 58, right = 16, top = 14, bottom = 46 } = {}) {
    Object.assign(this, { xRange, yRange, width, height, left, right, top, bottom });
  }

  at(x, y) {
    const share = (value, [low, high]) => (value - low) / (high - low);
    return [
      this.left + share(x, this.xRange) * (this.width - this.left - this.right),
      this.height - this.bottom - share(y, this.yRange) * (this.height - this.top - this.bottom),
    ];
  }

  line(from, to, css) {
    const [[x1, y1], [x2, y2]] = [this.at(...from), this.at(...to)];
    return s("line", { x1, y1, x2, y2, class: css });
  }

  path(points, css) {
    return s("polyline", { points: points.map((point) => this.at(...point).map((v) => v.toFixed(1)).join()).join(" "), class: css });
  }

  axes(xLabel, yLabel) {
    const [left, right] = this.xRange;
    const bottom = this.yRange[0];
    const middleX = (this.left + this.width - this.right) / 2;
    const middleY = (this.top + this.height - this.bottom) / 2;
    return [
      ...ticks(...this.yRange).flatMap((value) => [
        this.line([left, value], [right, value], "grid"),
        label(this.at(left, value), tickText(value), "tick", "end", [-7, 4]),
      ]),
      ...ticks(...this.xRange).map((value) => label(this.at(value, bottom), tickText(value), "tick", "middle", [0, 18])),
      this.line([left, bottom], [right, bottom], "axis"),
      label([middleX, this.height - 8], xLabel, "label", "middle"),
      s("text", { transform: `translate(14 ${middleY}) rotate(-90)`, class: "label", "text-anchor": "middle" }, yLabel),
    ];
  }
}

/** Words at a point, moved by `shift`. */
export function label([x, y], words, css, anchor = "start", [dx, dy] = [0, 0]) {
  return s("text", { x: x + dx, y: y + dy, class: css, "text-anchor": anchor }, words);
}

/** A drawing that screen readers read as one image with a sentence, its caption, and its table. */
export function figure(elements, [width, height], sentence, caption, table) {
  const drawing = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": sentence }, elements);
  return h("figure", {}, drawing, h("figcaption", {}, caption), table);
}
