// A person as the oracle: ask for candidates, tell their energies or why there are none.

import { campaignPath, post } from "./api.js";
import { fixed, formulaNodes, h, show, table } from "./dom.js";

/** The panel of one campaign; `told` is called after labels were accepted. */
export class HandPanel {
  constructor(target, { told, failed, announce }) {
    Object.assign(this, { target, told, failed, announce, id: null, asked: [], results: [] });
    this.list = h("div", {});
    this.note = h("p", { class: "hint" });
    this.n = h("input", { id: "ask-n", type: "number", min: 1, max: 100, value: 5 });
    this.scheme = h("input", { id: "tell-scheme", type: "text", required: true, placeholder: "my-dft" });
    target.append(
      h("p", { class: "hint" }, "Candidates that you ask for are leased to you for a time; nobody else is asked for them until it ends."),
      h("form", { class: "row", onsubmit: (event) => this.ask(event) },
        h("label", { for: "ask-n" }, "Number"), this.n, h("button", { type: "submit", id: "ask-button" }, "Ask")),
      this.note, this.list);
  }

  open(id) {
    if (id === this.id) return;
    Object.assign(this, { id, asked: [], results: [] });
    this.note.textContent = "";
    this.draw();
  }

  async ask(event) {
    event.preventDefault();
    try {
      const { candidates, reason } = await post(campaignPath(this.id, "/ask"), { n: Number(this.n.value) });
      this.asked.push(...candidates);
      this.note.textContent = candidates.length < Number(this.n.value) ? reason ?? "" : "";
      this.announce(`${candidates.length} candidates are leased to you. ${this.note.textContent}`);
      this.draw();
    } catch (error) {
      this.failed(error);
    }
  }

  draw() {
    if (!this.asked.length) return show(this.list, this.resultTable());
    const energy = (c) => h("input", { id: `energy-${c.id}`, type: "number", step: "any", "aria-label": `Energy above hull of ${c.formula}, eV/atom` });
    const why = (c) => h("input", { id: `failure-${c.id}`, type: "text", maxlength: 200, "aria-label": `Why ${c.formula} has no energy` });
    this.list.replaceChildren(...[h("form", { onsubmit: (event) => this.tell(event) },
      table("Candidates leased to you", [
        { title: "Formula", cell: (c) => formulaNodes(c.formula) },
        { title: "Predicted (eV/atom)", number: true, cell: (c) => `${fixed(c.predicted_energy_above_hull, 3, true)} ± ${fixed(c.std)}` },
        { title: "Lease ends", cell: (c) => new Date(c.lease_expires_at).toLocaleTimeString() },
        { title: "Energy above hull (eV/atom)", cell: energy },
        { title: "or why there is none", cell: why },
      ], this.asked),
      h("div", { class: "row" }, h("label", { for: "tell-scheme" }, "Scheme of the energies"), this.scheme,
        h("button", { type: "submit", class: "primary", id: "tell-button" }, "Tell"))), this.resultTable()].filter(Boolean));
  }

  /** One entry for each candidate that was filled in; the key makes a repeated click harmless. */
  labels(form) {
    const value = (kind, c) => form.querySelector(`#${CSS.escape(`${kind}-${c.id}`)}`).value.trim();
    return this.asked.flatMap((c) => {
      const shared = { candidate_id: c.id, source: "page" };
      if (value("energy", c)) {
        return { ...shared, energy_above_hull: Number(value("energy", c)), scheme: this.scheme.value.trim(),
          idempotency_key: `page-${c.id}-${value("energy", c)}` };
      }
      return value("failure", c) ? { ...shared, failure: value("failure", c), idempotency_key: `page-${c.id}-failure` } : [];
    });
  }

  async tell(event) {
    event.preventDefault();
    const labels = this.labels(event.target);
    if (!labels.length) return this.failed(new Error("Nothing is filled in: give an energy, or why there is none."));
    try {
      const { results } = await post(campaignPath(this.id, "/tell"), labels);
      const done = new Set(results.filter((result) => result.status !== "rejected").map((result) => result.candidate_id));
      this.results = results;
      this.asked = this.asked.filter((c) => !done.has(c.id));
      this.announce(`${done.size} of ${labels.length} answers were taken`);
      this.draw();
      this.told();
    } catch (error) {
      this.failed(error);
    }
  }

  resultTable() {
    if (!this.results.length) return null;
    return table("What became of your answers", [
      { title: "Formula", cell: (result) => formulaNodes(result.formula ?? "") },
      { title: "Status", cell: (result) => result.status },
      { title: "Detail", cell: (result) => result.detail ?? "" },
    ], this.results);
  }
}
