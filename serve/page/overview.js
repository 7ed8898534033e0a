// The list of campaigns, and what is said of one: its state, its numbers, what can be done with it.

import { campaignPath, followLink } from "./api.js";
import { fixed, h, table } from "./dom.js";

const STAGES = ["generate", "screen", "rank", "select", "validate", "learn", "record"];

export const isActive = (campaign) => campaign.status === "running" || campaign.status === "stopping";

const status = (campaign) => h("span", { class: `status ${campaign.status}` }, campaign.status);

export const nameOf = (campaign) => campaign.name || `Campaign ${campaign.id.slice(0, 8)}`;

/** All campaigns, newest first; links change the address, so that a reload and the back button keep the place. */
export function campaignList(campaigns, selected) {
  if (!campaigns.length) return h("p", { class: "hint" }, "There is no campaign yet. Start one with the button above.");
  const rows = [...campaigns].sort((a, b) => b.created_at.localeCompare(a.created_at));
  return table("Campaigns, newest first", [
    { title: "Name", cell: (c) => h("a", { href: `#${encodeURIComponent(c.id)}`, "aria-current": c.id === selected ? "true" : null }, nameOf(c)) },
    { title: "Status", cell: status },
    { title: "Rounds", number: true, cell: (c) => `${c.rounds_finished} of ${c.rounds}` },
    { title: "Oracle calls", number: true, cell: (c) => c.counts.validated + c.counts.failed },
    { title: "Stable", number: true, cell: (c) => c.counts.stable },
    { title: "Oracle", cell: (c) => c.oracle },
    { title: "Begun", cell: (c) => h("time", { datetime: c.created_at }, c.created_at.slice(0, 16).replace("T", " ")) },
  ], rows);
}

/** How many of how many, against which hull, and how far that can be trusted. */
export function summary(campaign) {
  const { counts, reference_false_stable_rate: rate } = campaign;
  const facts = [
    ["Status", status(campaign)], ["Rounds finished", `${campaign.rounds_finished} of ${campaign.rounds}`],
    ["Oracle", campaign.oracle], ["Scheme", campaign.scheme], ["Reference", campaign.reference],
    ["Oracle calls", `${counts.validated + counts.failed}, ${counts.failed} of them failed`],
  ];
  return [
    campaign.error ? h("p", { class: "warning", id: "campaign-error" }, campaign.error) : null,
    h("p", { class: "headline" }, h("strong", {}, `${counts.stable} of ${counts.validated}`),
      ` validated compounds lie within ${campaign.tolerance} eV/atom of the ${campaign.reference.split(" ")[0]} hull.`),
    rate === null || rate === undefined ? h("p", { class: "hint" }, "How often this hull is wrong about that has not been measured.")
      : h("p", { class: "warning" }, `The reference is incomplete: ${(100 * rate).toFixed(0)} % of compounds known to lie more than `
        + `${campaign.tolerance} eV/atom above the true hull look stable against it. Take the finds as leads, to be confirmed by DFT.`),
    h("dl", {}, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
  ];
}

/** Buttons and files. `run(rounds)`, `stop()` and `forget()` are what the buttons do. */
export function actions(campaign, { run, stop, forget }) {
  const path = (rest) => campaignPath(campaign.id, rest);
  const file = (rest, name, words) => h("a", { href: path(rest), download: name, onclick: (event) => followLink(event, name) }, words);
  const files = [
    h("a", { href: path("/report"), onclick: (event) => followLink(event, "report.html") }, "Report"), file("/candidates.csv", "candidates.csv", "Table (CSV)"),
  ];
  if (isActive(campaign)) {
    const stopping = campaign.status === "stopping";
    return [h("button", { type: "button", id: "stop-button", disabled: stopping, onclick: stop }, stopping ? "Stopping after the calls under way" : "Stop"), files];
  }
  const deletion = h("button", { type: "button", id: "delete-button", onclick: forget }, "Delete");
  return [campaign.oracle === "external" ? null : moreRounds(run), files, deletion].filter(Boolean);
}

function moreRounds(run) {
  const more = h("input", { id: "more-rounds", type: "number", min: 1, max: 1000, value: 1 });
  return h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); run(Number(more.value)); } },
    h("label", { for: "more-rounds" }, "More rounds"), more, h("button", { type: "submit", id: "run-button" }, "Run"));
}

/** How far the running round is; nothing where none runs. */
export function progress(campaign, stage) {
  if (!isActive(campaign)) return "";
  if (!stage) return h("p", { class: "hint" }, "Waiting for the first stage.");
  const counted = stage.total ? `${stage.done ?? 0} of ${stage.total}` : "";
  const words = `Round ${stage.round}, ${stage.stage} (stage ${STAGES.indexOf(stage.stage) + 1} of ${STAGES.length})`;
  return h("p", { class: "progress" }, h("label", { for: "stage" }, words),
    h("progress", { id: "stage", max: stage.total || 1, value: stage.total ? stage.done ?? 0 : null }), h("span", {}, counted));
}

/** One line for each finished round. */
export function roundTable(rounds) {
  if (!rounds.length) return h("p", { class: "hint" }, "No round is finished yet.");
  const count = (title, name) => ({ title, number: true, cell: (r) => r[name].toLocaleString("en") });
  const seconds = (r) => Object.values(r.seconds).reduce((sum, value) => sum + value, 0);
  return table("Finished rounds", [
    { title: "Round", cell: (r) => r.round }, count("Generated", "generated"), count("Valid", "valid"), count("Novel", "novel"),
    count("Validated", "validated"), count("Failed", "failed"), count("Stable", "stable"),
    { title: "Error before learning (eV/atom)", number: true, cell: (r) => fixed(r.learning?.metrics?.mae_before) },
    { title: "Seconds", number: true, cell: (r) => seconds(r).toFixed(0) },
  ], rounds);
}
