// Reading the crystal in a CIF: cell, atoms, and the symmetry operations that multiply them.

const SAME = 1e-3; // of a cell edge: atoms nearer than this are one

/** Numbers in CIF carry their uncertainty in brackets. */
const number = (text) => Number.parseFloat(String(text).replace(/\(.*\)/, ""));

const tokens = (line) => [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map((m) => m[1] ?? m[2] ?? m[3]);

/** Single values and loops of a CIF: {values: {tag: text}, loops: [{tags, rows}]}. */
function parse(text) {
  const values = {};
  const loops = [];
  let loop = null;
  for (const line of text.split(/\r?\n/).map((raw) => raw.trim())) {
    if (!line || line.startsWith("#") || line.startsWith("data_")) loop = line ? null : loop;
    else if (line === "loop_") loops.push((loop = { tags: [], rows: [] }));
    else if (line.startsWith("_")) {
      const [tag, value] = tokens(line);
      if (loop && !loop.rows.length && value === undefined) loop.tags.push(tag);
      else { loop = null; values[tag] = value; }
    } else if (loop) loop.rows.push(tokens(line));
  }
  return { values, loops };
}

function column(loops, ...names) {
  for (const { tags, rows } of loops) {
    const index = names.map((name) => tags.indexOf(name)).find((i) => i >= 0);
    if (index !== undefined) return rows.map((row) => row[index]);
  }
  return null;
}

/** A symmetry operation such as "-x+y, 1/2-z, x" as a function of fractional coordinates. */
export function operation(text) {
  const parts = text.toLowerCase().replaceAll(/\s/g, "").split(",").map((part) => {
    const terms = [...part.matchAll(/([+-]?)(?:(\d*\.?\d+)(?:\/(\d+))?\*?)?([xyz])?/g)].filter((m) => m[2] || m[4]);
    return terms.map(([, sign, top, under, axis]) => {
      const size = (top ? Number(top) / Number(under ?? 1) : 1) * (sign === "-" ? -1 : 1);
      return { size, axis: axis ? "xyz".indexOf(axis) : -1 };
    });
  });
  return (xyz) => parts.map((terms) => terms.reduce((sum, { size, axis }) => sum + size * (axis < 0 ? 1 : xyz[axis]), 0));
}

const wrapped = (x) => { const y = x - Math.floor(x + SAME); return Math.abs(y) < SAME ? 0 : y; };

const near = (a, b) => a.every((x, i) => Math.abs(x - b[i] - Math.round(x - b[i])) < SAME);

/** Rows are the cell's edges in Angstrom: a along x, b in the xy plane. */
export function cellVectors({ a, b, c, alpha, beta, gamma }) {
  const [ca, cb, cg] = [alpha, beta, gamma].map((degrees) => Math.cos((degrees * Math.PI) / 180));
  const sg = Math.sin((gamma * Math.PI) / 180);
  const y = (ca - cb * cg) / sg;
  return [[a, 0, 0], [b * cg, b * sg, 0], [c * cb, c * y, c * Math.sqrt(Math.max(1 - cb * cb - y * y, 0))]];
}

/** {cell, vectors, atoms: [{element, xyz}]} of a CIF; throws where it holds no crystal. */
export function crystal(text) {
  const { values, loops } = parse(text);
  const value = (name) => number(values[`_cell_${name}`]);
  const cell = { a: value("length_a"), b: value("length_b"), c: value("length_c"),
    alpha: value("angle_alpha"), beta: value("angle_beta"), gamma: value("angle_gamma") };
  const axes = ["x", "y", "z"].map((axis) => column(loops, `_atom_site_fract_${axis}`));
  const symbols = column(loops, "_atom_site_type_symbol", "_atom_site_label");
  if (Object.values(cell).some(Number.isNaN) || !symbols || axes.includes(null)) {
    throw new Error("This CIF has no cell or no atoms: download it and look into it with another program.");
  }
  const operations = (column(loops, "_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz") ?? ["x,y,z"]).map(operation);
  const atoms = [];
  symbols.forEach((symbol, i) => {
    const element = /^[A-Z][a-z]?/.exec(symbol)?.[0] ?? symbol;
    for (const act of operations) {
      const xyz = act(axes.map((axis) => number(axis[i]))).map(wrapped);
      if (!atoms.some((atom) => atom.element === element && near(atom.xyz, xyz))) atoms.push({ element, xyz });
    }
  });
  return { cell, vectors: cellVectors(cell), atoms };
}
