// What a campaign found, drawn from the candidates that the oracle was asked for.

import { alternative, fixed, formulaNodes, h, s, table } from "./dom.js";
import { Frame, figure, label, padded } from "./plot.js";

const WIDE = [760, 320];
const PANEL = [430, 350];
const STEPS = [
  ["generated", "samples, raw"], ["valid", "charge neutral and balanced"], ["novel", "distinct and unknown"],
  ["asked", "given to the oracle"], ["validated", "with an energy"], ["stable", "within the tolerance"],
];

/** The standard normal distribution function (Abramowitz and Stegun 7.1.26: error below 1.5e-7). */
export function normal(z) {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const erf = 1 - series * Math.exp(-x * x);
  return (1 + Math.sign(z) * erf) / 2;
}

const isStable = (row, tolerance) => row.energy_above_hull !== null && row.energy_above_hull <= tolerance;

/** Probability of stability as estimated before the label; 0 where there was none, or where the call failed. */
function promised(row, tolerance) {
  if (row.energy_above_hull === null || row.predicted_energy_above_hull === null) return 0;
  return normal((tolerance - row.predicted_energy_above_hull) / Math.max(row.predicted_std ?? 0, 1e-6));
}

/** Calls with what was found and what was promised so far. */
export function curve(rows, tolerance) {
  let found = 0;
  let expected = 0;
  return rows.map((row, i) => {
    found += isStable(row, tolerance) ? 1 : 0;
    expected += promised(row, tolerance);
    return { ...row, call: i + 1, found, expected };
  });
}

/** Stable compounds against oracle calls; `rows` in the order of the calls, `ends` of rounds in calls. */
export function discoveryCurve(rows, ends, tolerance) {
  const points = curve(rows, tolerance);
  if (!points.length) return h("p", { class: "hint" }, "The oracle has not answered yet.");
  const { found, expected } = points.at(-1);
  const top = Math.max(found, expected, 1) * 1.08;
  const frame = new Frame([0, points.length], [0, top], WIDE, { right: 120 });
  const corners = points.flatMap((p, i) => [[i + 1, i ? points[i - 1].found : 0], [i + 1, p.found]]);
  const [x, y] = frame.at(points.length, found);
  const other = frame.at(points.length, expected)[1];
  const apart = Math.abs(other - y) < 16 ? (other < y ? y - 16 : y + 16) : other;
  const elements = [
    ends.filter((end) => end < points.length).map((end) => frame.line([end, 0], [end, top], "round")),
    frame.axes("oracle calls", "stable compounds found"),
    frame.path([[0, 0], ...points.map((p) => [p.call, p.expected])], "promised"),
    frame.path([[0, 0], ...corners], "found"),
    label([x, y], `found: ${found}`, "ink", "start", [6, 4]),
    label([x, apart], `promised: ${expected.toFixed(1)}`, "muted", "start", [6, 4]),
  ];
  const caption = `Compounds within ${tolerance} eV/atom of the reference's hull after each oracle call (failed calls `
    + "count). Dashed: the sum of the probabilities that the surrogate gave before each label. Dotted: ends of rounds.";
  return figure(elements, WIDE, `Discovery curve: ${found} stable compounds in ${points.length} oracle calls`, caption,
    alternative("curve-table", curveTable(points)));
}

function curveTable(points) {
  return table("Oracle calls in order", [
    { title: "Call", cell: (p) => p.call },
    { title: "Formula", cell: (p) => formulaNodes(p.formula) },
    { title: "Energy above hull (eV/atom)", number: true, cell: (p) => p.energy_above_hull === null ? "failed" : fixed(p.energy_above_hull) },
    { title: "Stable so far", number: true, cell: (p) => p.found },
  ], points);
}

/** How many candidates came how far. */
export function funnel(counts, rejects) {
  const largest = Math.log10(1 + Math.max(...STEPS.map(([name]) => counts[name]), 1));
  const [width, height] = [430, 44 * STEPS.length + 8];
  const bars = STEPS.flatMap(([name, meaning], i) => {
    const size = (Math.log10(1 + counts[name]) / largest) * (width - 90);
    return [
      label([0, 44 * i + 14], `${name}: ${meaning}`, "muted"),
      s("rect", { x: 0, y: 44 * i + 20, width: Math.max(size, 1), height: 16, class: "bar" }),
      label([size + 6, 44 * i + 33], counts[name].toLocaleString("en"), "ink"),
    ];
  });
  const sentence = `Funnel: ${STEPS.map(([name]) => `${counts[name]} ${name}`).join(", ")}`;
  const rows = STEPS.map(([name, meaning], i) => ({ name, meaning, n: counts[name], before: i ? counts[STEPS[i - 1][0]] : 0 }));
  return figure(bars, [width, height], sentence, "Bar lengths are logarithmic: each factor of ten adds the same length.",
    alternative("funnel-table", funnelTable(rows), rejectTable(rejects)));
}

function funnelTable(rows) {
  return table("Candidates by how far they came", [
    { title: "Step", cell: (row) => row.name },
    { title: "Meaning", cell: (row) => row.meaning },
    { title: "Number", number: true, cell: (row) => row.n.toLocaleString("en") },
    { title: "Of the step before", number: true, cell: (row) => row.before ? `${(100 * row.n / row.before).toFixed(1)} %` : "–" },
  ], rows);
}

function rejectTable(rejects) {
  const rows = Object.entries(rejects).sort(([, a], [, b]) => b - a);
  if (!rows.length) return null;
  return table("Turned down by a screen", [
    { title: "Reason", cell: ([reason]) => reason },
    { title: "Samples", number: true, cell: ([, n]) => n.toLocaleString("en") },
  ], rows);
}

/** Energy above hull as predicted before the label, with one standard deviation, against the validated one. */
export function parity(rows, tolerance) {
  const pairs = rows.filter((row) => row.predicted_energy_above_hull !== null && row.energy_above_hull !== null);
  if (!pairs.length) return h("p", { class: "hint" }, "No candidate has both a prediction and a validated energy yet.");
  const values = pairs.flatMap((row) => [row.predicted_energy_above_hull, row.energy_above_hull]);
  const limits = padded([...values, 0, tolerance]);
  const [low, high] = limits;
  const frame = new Frame(limits, limits, PANEL);
  const clip = (value) => Math.min(Math.max(value, low), high);
  const elements = [
    frame.axes("predicted energy above hull (eV/atom)", "validated (eV/atom)"),
    frame.line([low, low], [high, high], "reference"),
    frame.line([low, tolerance], [high, tolerance], "tolerance"),
    label(frame.at(high, tolerance), "tolerance", "muted", "end", [-2, -5]),
    pairs.map((row) => {
      const [x, std] = [row.predicted_energy_above_hull, row.predicted_std ?? 0];
      return frame.line([clip(x - std), row.energy_above_hull], [clip(x + std), row.energy_above_hull], "error");
    }),
    pairs.map((row) => parityDot(frame, row, tolerance)),
  ];
  const errors = pairs.map((row) => row.predicted_energy_above_hull - row.energy_above_hull);
  const mean = (numbers) => numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
  const absolute = fixed(mean(errors.map(Math.abs)));
  const caption = `${pairs.length} compounds; filled: within the tolerance. Mean absolute error ${absolute}, mean error `
    + `${fixed(mean(errors), 3, true)} eV/atom (negative: predicted too stable). Bars: one predicted standard deviation.`;
  const sentence = `Predicted against validated energy above hull of ${pairs.length} compounds, mean absolute error ${absolute} eV/atom`;
  return figure(elements, PANEL, sentence, caption, alternative("parity-table", parityTable(pairs)));
}

function parityDot(frame, row, tolerance) {
  const [cx, cy] = frame.at(row.predicted_energy_above_hull, row.energy_above_hull);
  const words = `${row.formula}: predicted ${fixed(row.predicted_energy_above_hull)} ± ${fixed(row.predicted_std)}, validated ${fixed(row.energy_above_hull)} eV/atom`;
  return s("circle", { cx, cy, r: 4.5, class: isStable(row, tolerance) ? "stable" : "unstable" }, s("title", {}, words));
}

function parityTable(pairs) {
  return table("Predicted and validated energy above hull, eV/atom", [
    { title: "Formula", cell: (row) => formulaNodes(row.formula) },
    { title: "Predicted", number: true, cell: (row) => `${fixed(row.predicted_energy_above_hull)} ± ${fixed(row.predicted_std)}` },
    { title: "Validated", number: true, cell: (row) => fixed(row.energy_above_hull) },
  ], pairs);
}
