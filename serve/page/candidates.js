// The table of candidates: filters of the service, a search within, and pages.

import { campaignPath, followLink, get } from "./api.js";
import { fixed, formulaNodes, h, show, table } from "./dom.js";

const PAGE = 20; // rows shown
const CHUNK = 200; // rows asked for at a time
const STATUSES = ["validated", "failed", "selected", "ranked", "rejected"];

/** All candidates with a status, from the first page to the last, a few at a time. */
async function* pages(id, filter) {
  let cursor = null;
  do {
    const query = new URLSearchParams({ limit: CHUNK, ...filter, ...(cursor ? { cursor } : {}) });
    const answer = await get(campaignPath(id, `/candidates?${query}`));
    yield answer.candidates;
    cursor = answer.next_cursor;
  } while (cursor);
}

/** Everything that the oracle was asked for and has answered, in the order of the calls. */
export async function askedFor(id) {
  const rows = [];
  for (const status of ["validated", "failed"]) {
    for await (const page of pages(id, { status })) rows.push(...page);
  }
  return rows.sort((a, b) => (a.call ?? Infinity) - (b.call ?? Infinity));
}

/** True where a row answers the search: all words occur in its formula, or are elements of it. */
export function matches(row, search) {
  const elements = new Set(row.chemical_system?.split("-") ?? []);
  return search.split(/[\s,]+/).filter(Boolean).every((word) => elements.has(word)
    || row.formula.toLowerCase().includes(word.toLowerCase()));
}

/** The table of one campaign. */
export class CandidateTable {
  constructor(target, onView) {
    Object.assign(this, { target, onView, id: null, filter: {}, search: "", page: 0, generation: 0 });
    this.results = h("div", { "aria-live": "polite" });
    this.target.append(this.controls(), this.results);
  }

  /** Show a campaign's candidates; the filters stay. */
  async open(id) {
    if (id !== this.id) this.page = 0;
    this.id = id;
    await this.refresh();
  }

  controls() {
    const status = h("select", { id: "filter-status", onchange: () => this.filtered() },
      h("option", { value: "" }, "any"), STATUSES.map((name) => h("option", { value: name }, name)));
    const stable = h("input", { id: "filter-stable", type: "checkbox", onchange: () => this.filtered() });
    const search = h("input", { id: "filter-search", type: "search", autocomplete: "off", placeholder: "Li O" });
    search.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.filtered(), 250);
    });
    Object.assign(this, { status, stable, search });
    return h("form", { class: "row filters", role: "search", "aria-label": "Filter candidates", onsubmit: (e) => e.preventDefault() },
      h("span", { class: "field" }, h("label", { for: "filter-status" }, "Status"), status),
      h("span", { class: "field" }, h("label", { for: "filter-search" }, "Formula or elements"), search),
      h("span", { class: "check" }, stable, h("label", { for: "filter-stable" }, "stable only")));
  }

  filtered() {
    this.page = 0;
    return this.refresh();
  }

  /** Read until the page is full: the service filters by status, the search is done here. */
  async refresh() {
    const own = ++this.generation;
    const filter = { ...(this.status.value ? { status: this.status.value } : {}), ...(this.stable.checked ? { stable: true } : {}) };
    const wanted = (this.page + 1) * PAGE + 1;
    const found = [];
    for await (const page of pages(this.id, filter)) {
      if (own !== this.generation) return; // a later filter is being answered
      found.push(...page.filter((row) => matches(row, this.search.value)));
      if (found.length >= wanted) break;
    }
    if (own === this.generation) this.draw(found);
  }

  draw(found) {
    const first = this.page * PAGE;
    const rows = found.slice(first, first + PAGE);
    const more = found.length > first + PAGE;
    const caption = rows.length ? `Candidates ${first + 1} to ${first + rows.length}${more ? ", and more" : ""}` : "No candidate passes the filter";
    show(this.results, table(caption, this.columns(), rows, { id: "candidate-table" }), h("div", { class: "row" },
      h("button", { type: "button", id: "previous-page", disabled: this.page === 0 }, "Previous page"),
      h("button", { type: "button", id: "next-page", disabled: !more }, "Next page")));
    this.wire(rows);
  }

  /** `show` keeps elements whose markup has not changed, so listeners are put on whatever stands there now. */
  wire(rows) {
    const turn = (step) => () => { this.page += step; this.refresh(); };
    this.results.querySelector("#previous-page").onclick = turn(-1);
    this.results.querySelector("#next-page").onclick = turn(1);
    for (const button of this.results.querySelectorAll("button[data-formula]")) {
      const row = rows.find((candidate) => candidate.formula === button.dataset.formula);
      button.onclick = () => this.onView(row);
    }
    for (const link of this.results.querySelectorAll("a[download]")) link.onclick = (event) => followLink(event, link.download);
  }

  columns() {
    return [
      { title: "Formula", cell: (row) => formulaNodes(row.formula) },
      { title: "Status", cell: (row) => h("span", { class: `status ${row.status}` }, row.status) },
      { title: "Round", number: true, cell: (row) => row.last_round ?? "–" },
      { title: "Predicted (eV/atom)", number: true, cell: (row) => row.predicted_energy_above_hull === null ? "–"
        : `${fixed(row.predicted_energy_above_hull, 3, true)} ± ${fixed(row.predicted_std)}` },
      { title: "Validated (eV/atom)", number: true, cell: (row) => fixed(row.energy_above_hull, 3, true) },
      { title: "Why", cell: (row) => row.failure_reason || row.reason || "" },
      { title: "Structure", cell: (row) => this.structureCell(row) },
    ];
  }

  structureCell(row) {
    if (!row.structure) return "–";
    return [h("button", { type: "button", "data-formula": row.formula, "aria-label": `View structure of ${row.formula}` }, "View"),
      " ", h("a", { href: campaignPath(this.id, `/${row.structure}`), download: `${row.formula}.cif` }, "CIF")];
  }
}
