// What is drawn of a crystal: atoms with their copies on the faces of the cell, bonds, edges; and turning it.

import { isMetal, radius } from "./elements.js";

const BOND = 1.15; // times the sum of the covalent radii
const ON_FACE = 1e-3; // of an edge
const CORNERS = [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => [bits & 1, (bits >> 1) & 1, (bits >> 2) & 1]);

const cartesian = (xyz, vectors) => [0, 1, 2].map((k) => xyz[0] * vectors[0][k] + xyz[1] * vectors[1][k] + xyz[2] * vectors[2][k]);

const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);

/** Atoms of the cell, those on a face, an edge or a corner also on the opposite ones; positions in Angstrom. */
function drawnAtoms({ atoms, vectors }) {
  return atoms.flatMap(({ element, xyz }) => CORNERS
    .filter((shift) => shift.every((n, axis) => n === 0 || xyz[axis] < ON_FACE))
    .map((shift) => ({ element, at: cartesian(xyz.map((x, axis) => x + shift[axis]), vectors) })));
}

/** Pairs nearer than their radii allow; metals are not joined to each other beside nonmetals. */
function bondsBetween(atoms) {
  const metalsOnly = atoms.every(({ element }) => isMetal(element));
  const bonds = [];
  for (let i = 0; i < atoms.length; i++) {
    for (let j = i + 1; j < atoms.length; j++) {
      const [one, two] = [atoms[i], atoms[j]];
      if (!metalsOnly && isMetal(one.element) && isMetal(two.element)) continue;
      if (distance(one.at, two.at) < BOND * (radius(one.element) + radius(two.element))) bonds.push([i, j]);
    }
  }
  return bonds;
}

/** {atoms, bonds, edges, size}: positions in Angstrom around the middle of the cell. */
export function scene(found) {
  const middle = cartesian([0.5, 0.5, 0.5], found.vectors);
  const centred = (at) => at.map((x, k) => x - middle[k]);
  const atoms = drawnAtoms(found).map(({ element, at }) => ({ element, at: centred(at) }));
  const edges = CORNERS.flatMap((from) => [0, 1, 2].filter((axis) => !from[axis]).map((axis) => {
    const to = from.map((n, k) => (k === axis ? 1 : n));
    return [from, to].map((corner) => centred(cartesian(corner, found.vectors)));
  }));
  const size = Math.max(...edges.flat().map((at) => Math.hypot(...at))) + 1.2;
  return { atoms, bonds: bondsBetween(atoms), edges, size };
}

/** Rotation by angles (radians) about the screen's axes: first x (up is positive), then y. */
export function rotation(about_x, about_y) {
  const [cx, sx, cy, sy] = [Math.cos(about_x), Math.sin(about_x), Math.cos(about_y), Math.sin(about_y)];
  return [[cy, sx * sy, cx * sy], [0, cx, -sx], [-sy, sx * cy, cx * cy]];
}

export const turn = (matrix, v) => matrix.map((row) => row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);

export const after = (second, first) => second.map((row) =>
  [0, 1, 2].map((k) => row[0] * first[0][k] + row[1] * first[1][k] + row[2] * first[2][k]));
