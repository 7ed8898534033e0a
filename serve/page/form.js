// The form of a new campaign.

import { post } from "./api.js";
import { h } from "./dom.js";

const ACQUISITIONS = ["stability", "ei", "lcb", "greedy", "thompson", "random"];
const ORACLES = [["chgnet", "CHGNet (relaxed prototypes)"], ["external", "you, a laboratory or a queue (ask and tell)"], ["", "another one, by name"]];

const integer = (name, label, value, min, max) => ({ name, label, type: "number", value, min, max, step: "1" });
const DATA = "data", LIMITS = "limits";

// group, then fields; names are those of the interface
const FIELDS = [
  { name: "name", label: "Name", type: "text", maxlength: 100, placeholder: "lithium oxides" },
  integer("rounds", "Rounds", 5, 1, 1000),
  integer("batch_size", "Oracle calls in a round", 16, 1, 1000),
  integer("candidates_per_round", "Samples in a round", 2000, 1, 20000),
  integer("seed", "Seed", 0, 0),
  { name: "tolerance", label: "Tolerance (eV/atom)", type: "number", value: 0.1, min: 0, max: 10, step: "any" },
  { name: "acquisition", label: "Acquisition", options: ACQUISITIONS.map((name) => [name, name]) },
  { name: "oracle", label: "Oracle", options: ORACLES },
  { name: "oracle_name", label: "Its name", type: "text", placeholder: "table:labels.csv or module:factory", hidden: true },
  { name: "model", label: "Generator", options: [["", "the service's default"]], group: DATA },
  { name: "surrogate", label: "Surrogate", options: [["", "the service's default"]], group: DATA },
  { name: "reference", label: "Known phases", options: [["", "the service's default"]], group: DATA },
  { name: "candidates", label: "Candidates", options: [["", "what the generator writes"]], group: DATA },
  { name: "chemsys", label: "Chemical system", type: "text", placeholder: "Li-Fe-O", group: LIMITS },
  { name: "allowed", label: "Only these elements", type: "text", placeholder: "Li Na O S", group: LIMITS },
  { name: "required", label: "All of these elements", type: "text", placeholder: "Li", group: LIMITS },
  { name: "excluded", label: "None of these elements", type: "text", placeholder: "Pb Cd", group: LIMITS },
  { ...integer("max_atoms", "Atoms in a formula, at most", 30, 2, 30), group: LIMITS },
  { ...integer("max_elements", "Elements, at most", 8, 2, 8), group: LIMITS },
  { name: "intermetallics", label: "Also compounds of metals only", type: "checkbox", group: LIMITS },
  { name: "mixed_valence", label: "Also several oxidation states of one element", type: "checkbox", group: LIMITS },
];

const idOf = (name) => `new-${name}`;

function control(field) {
  const { name, label, options, group, hidden, ...attributes } = field;
  const shared = { id: idOf(name), name };
  const input = options
    ? h("select", shared, options.map(([value, words]) => h("option", { value }, words)))
    : h("input", { ...shared, ...attributes, required: attributes.type === "number", autocomplete: "off" });
  const caption = h("label", { for: idOf(name) }, label);
  const order = attributes.type === "checkbox" ? [input, caption] : [caption, input];
  return h("span", { class: attributes.type === "checkbox" ? "check" : "field", hidden }, order);
}

const symbols = (text) => text.split(/[\s,;-]+/).filter(Boolean);

/** The body of POST /v1/campaigns from the form's values. */
export function configuration(values) {
  const limits = { max_atoms: Number(values.max_atoms), max_elements: Number(values.max_elements),
    intermetallics: values.intermetallics, mixed_valence: values.mixed_valence };
  if (values.chemsys.trim()) {
    const system = symbols(values.chemsys);
    Object.assign(limits, { allowed: system, required: system, exact_system: true });
  }
  for (const name of ["allowed", "required", "excluded"]) {
    const given = symbols(values[name]);
    if (given.length) limits[name] = given;
  }
  const body = { oracle: values.oracle || values.oracle_name.trim(), acquisition: values.acquisition, constraints: limits };
  for (const name of ["rounds", "batch_size", "candidates_per_round", "seed", "tolerance"]) body[name] = Number(values[name]);
  for (const name of ["model", "surrogate", "reference", "candidates"]) if (values[name]) body[name] = values[name];
  if (values.name.trim()) body.name = values.name.trim();
  return body;
}

function valuesOf(form) {
  return Object.fromEntries(FIELDS.map(({ name, type }) => {
    const input = form.elements.namedItem(name);
    return [name, type === "checkbox" ? input.checked : input.value];
  }));
}

/** Put choices into a list, between those that stay; what was chosen stays chosen. */
function choose(select, before, found, after = []) {
  const chosen = select.value;
  select.replaceChildren(...[...before, ...found, ...after].map(([value, words]) => h("option", { value }, words)));
  if ([...select.options].some((option) => option.value === chosen)) select.value = chosen;
}

/** Offer what GET /v1/models names. */
function offer(form, { generators, surrogates, references, oracles, uploads }) {
  const list = (name) => form.elements.namedItem(name);
  const named = (entries) => entries.filter((entry) => !entry.default).map(({ name }) => [name, name]);
  const standard = (entries) => [["", entries.find((entry) => entry.default)?.name ?? "the service's default"]];
  for (const [name, entries] of Object.entries({ model: generators, surrogate: surrogates, reference: references })) {
    choose(list(name), standard(entries), named(entries));
  }
  choose(list("candidates"), [["", "what the generator writes"]], uploads.map((name) => [name, `the list ${name}`]));
  const known = new Set(ORACLES.map(([value]) => value));
  const words = (name) => (name.startsWith("table:") ? `the labels in ${name.slice(6)}` : name);
  const others = oracles.filter((name) => !known.has(name)).map((name) => [name, words(name)]);
  choose(list("oracle"), ORACLES.slice(0, -1), others, ORACLES.slice(-1));
}

/** Fill the form; `started` is called with the campaign that was made, `failed` with what the service said. Returns what
 * takes the answer of GET /v1/models and offers what it names. */
export function campaignForm(form, started, failed) {
  const part = (group) => FIELDS.filter((field) => field.group === group).map(control);
  form.append(
    h("h2", { id: "new-title" }, "New campaign"),
    h("div", { class: "fields" }, part(undefined)),
    h("fieldset", {}, h("legend", {}, "Models and data"), h("div", { class: "fields" }, part(DATA)),
      h("p", { class: "hint" }, "Lists, labels and tables of known phases in the folder uploads/ of the service can be chosen here by name.")),
    h("fieldset", {}, h("legend", {}, "Limits of the compositions"), h("div", { class: "fields" }, part(LIMITS))),
    h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, "Start"), h("button", { type: "button", id: "new-close" }, "Close")));
  const oracle = form.elements.namedItem("oracle");
  oracle.addEventListener("change", () => { form.elements.namedItem("oracle_name").parentElement.hidden = oracle.value !== ""; });
  const button = form.querySelector("[type=submit]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await started(await create(configuration(valuesOf(form))));
    } catch (error) {
      failed(error);
    } finally {
      button.disabled = false;
    }
  });
  return (catalogue) => offer(form, catalogue);
}

/** Make a campaign, and run it unless its oracle is outside. */
async function create(body) {
  const made = await post("v1/campaigns", body);
  if (body.oracle === "external") return made;
  return post(`v1/campaigns/${encodeURIComponent(made.id)}/run`, { rounds: body.rounds });
}
