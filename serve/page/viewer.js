// A crystal on a canvas: balls, bonds and cell; turned by mouse, touch, keys or buttons.

import { crystal } from "./cif.js";
import { alternative, fixed, formulaNodes, h, table } from "./dom.js";
import { colour, radius } from "./elements.js";
import { after, rotation, scene, turn } from "./geometry.js";

const START = rotation(0.35, -0.5);
const STEP = Math.PI / 18; // radians of a key press
const BALL = 0.42; // of the covalent radius
const [WIDTH, HEIGHT] = [560, 420];
const KEYS = { ArrowLeft: [0, -STEP], ArrowRight: [0, STEP], ArrowUp: [-STEP, 0], ArrowDown: [STEP, 0] };

const paint = ([hue, saturation, light], change = 0) => `hsl(${hue} ${saturation}% ${Math.max(Math.min(light + change, 97), 5)}%)`;

/** The picture and what can be done with it, for one CIF. */
export class Viewer {
  constructor(target, formula, cif) {
    this.formula = formula;
    this.found = crystal(cif);
    this.scene = scene(this.found);
    this.canvas = h("canvas", { id: "canvas", width: WIDTH, height: HEIGHT, tabindex: "0", role: "img", "aria-describedby": "viewer-help",
      "aria-label": this.sentence(), onkeydown: (event) => this.key(event) });
    this.drag();
    target.replaceChildren(
      h("div", { class: "viewer" }, this.canvas, this.legend(), this.buttons()),
      h("p", { class: "hint", id: "viewer-help" }, "Turn with the mouse or the arrow keys, + and − change the size, 0 sets it back."),
      alternative("structure-table", this.cellTable(), this.atomTable()));
    this.reset();
  }

  sentence() {
    const { cell, atoms } = this.found;
    const edges = [cell.a, cell.b, cell.c].map((edge) => edge.toFixed(2)).join(", ");
    return `Crystal structure of ${this.formula}: ${atoms.length} atoms in a cell with edges ${edges} Angstrom`;
  }

  reset() {
    this.matrix = START;
    this.zoom = 1;
    this.draw();
  }

  rotate(x, y) {
    this.matrix = after(rotation(x, y), this.matrix);
    this.draw();
  }

  magnify(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.3), 5);
    this.draw();
  }

  key(event) {
    if (KEYS[event.key]) this.rotate(...KEYS[event.key]);
    else if (event.key === "+" || event.key === "=") this.magnify(1.15);
    else if (event.key === "-") this.magnify(1 / 1.15);
    else if (event.key === "0") this.reset();
    else return;
    event.preventDefault();
  }

  drag() {
    let last = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      this.rotate((event.clientY - last[1]) / 120, (event.clientX - last[0]) / 120);
      last = [event.clientX, event.clientY];
    });
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => { last = null; });
  }

  buttons() {
    const button = (words, name, action) => h("button", { type: "button", "aria-label": name, onclick: action }, words);
    return h("div", { class: "row", role: "group", "aria-label": "Turn the structure" },
      button("←", "Turn left", () => this.rotate(0, -STEP)), button("→", "Turn right", () => this.rotate(0, STEP)),
      button("↑", "Turn up", () => this.rotate(-STEP, 0)), button("↓", "Turn down", () => this.rotate(STEP, 0)),
      button("+", "Larger", () => this.magnify(1.15)), button("−", "Smaller", () => this.magnify(1 / 1.15)),
      button("Reset", "Reset the view", () => this.reset()));
  }

  legend() {
    const elements = [...new Set(this.found.atoms.map((atom) => atom.element))];
    return h("ul", { class: "legend", "aria-label": "Colours" }, elements.map((element) => {
      const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = paint(colour(element));
      return h("li", {}, swatch, element);
    }));
  }

  /** Far things first, so that near ones cover them. */
  draw() {
    const context = this.canvas.getContext("2d");
    const scale = (this.zoom * Math.min(WIDTH, HEIGHT)) / 2 / this.scene.size;
    const project = (at) => {
      const [x, y, z] = turn(this.matrix, at);
      return { x: WIDTH / 2 + scale * x, y: HEIGHT / 2 - scale * y, z };
    };
    const atoms = this.scene.atoms.map((atom) => ({ ...project(atom.at), element: atom.element }));
    const things = [
      ...this.scene.edges.map(([from, to]) => edge(project(from), project(to), getComputedStyle(this.canvas).color)),
      ...this.scene.bonds.flatMap(([i, j]) => halves(atoms[i], atoms[j], scale)),
      ...atoms.map((atom) => ball(atom, scale)),
    ];
    context.clearRect(0, 0, WIDTH, HEIGHT);
    for (const thing of things.sort((one, two) => one.z - two.z)) thing.draw(context);
  }

  cellTable() {
    const { cell } = this.found;
    const rows = [["a, b, c (Angstrom)", [cell.a, cell.b, cell.c]], ["alpha, beta, gamma (degrees)", [cell.alpha, cell.beta, cell.gamma]]];
    return table("Cell", [
      { title: "Quantity", cell: ([name]) => name },
      { title: "Values", number: true, cell: ([, values]) => values.map((value) => fixed(value, 3)).join("  ") },
    ], rows);
  }

  atomTable() {
    const coordinate = (k) => ({ title: "xyz"[k], number: true, cell: (atom) => fixed(atom.xyz[k], 4) });
    return table("Atoms of the cell, fractions of its edges",
      [{ title: "Element", cell: (atom) => formulaNodes(atom.element) }, coordinate(0), coordinate(1), coordinate(2)], this.found.atoms);
  }
}

function line(context, from, to, style, width) {
  context.strokeStyle = style;
  context.lineWidth = width;
  context.lineCap = "round";
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.lineTo(to.x, to.y);
  context.stroke();
}

const edge = (from, to, style) => ({ z: (from.z + to.z) / 2, draw: (context) => line(context, from, to, style, 1) });

/** A bond, each half in its atom's colour. */
function halves(one, two, scale) {
  const middle = { x: (one.x + two.x) / 2, y: (one.y + two.y) / 2, z: (one.z + two.z) / 2 };
  return [one, two].map((atom) => ({ z: (atom.z + middle.z) / 2 - 1e-3,
    draw: (context) => line(context, atom, middle, paint(colour(atom.element), -6), Math.max(0.14 * scale, 1.5)) }));
}

function ball({ x, y, z, element }, scale) {
  const r = Math.max(BALL * radius(element) * scale, 2);
  return { z, draw: (context) => {
    const light = context.createRadialGradient(x - r / 3, y - r / 3, r / 8, x, y, r);
    light.addColorStop(0, paint(colour(element), 28));
    light.addColorStop(0.5, paint(colour(element)));
    light.addColorStop(1, paint(colour(element), -22));
    context.fillStyle = light;
    context.beginPath();
    context.arc(x, y, r, 0, 2 * Math.PI);
    context.fill();
  } };
}
