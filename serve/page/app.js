// The page: which campaign is shown, what is asked of the service, and who draws it.

import { campaignPath, get, onTokenNeeded, post, remove, request } from "./api.js";
import { askedFor, CandidateTable } from "./candidates.js";
import { discoveryCurve, funnel, parity } from "./charts.js";
import { askForToken, confirmDeletion } from "./dialogs.js";
import { byId, formulaNodes, show } from "./dom.js";
import { campaignForm } from "./form.js";
import { HandPanel } from "./hand.js";
import { actions, campaignList, isActive, nameOf, progress, roundTable, summary } from "./overview.js";
import { follow, past } from "./stream.js";
import { startTheme } from "./theme.js";
import { Viewer } from "./viewer.js";

const LIST_EVERY_MS = 15_000;

/** What is known of the campaign that is shown. */
const state = { campaigns: [], id: null, campaign: null, rows: [], live: [], rounds: [], stage: null, stream: null, viewer: null };

const announce = (words) => { byId("live").textContent = words; };

function fail(error) {
  if (error.name === "AbortError") return;
  const details = (error.errors ?? []).map((item) => item.detail ?? item.msg).filter(Boolean);
  byId("alert").textContent = [error.message, ...details.filter((text) => !error.message.includes(text))].join(" ");
  byId("alert").scrollIntoView({ block: "nearest" });
}

const clearAlert = () => { byId("alert").textContent = ""; };

/** Run something the person asked for; what goes wrong is said. */
async function attempt(action) {
  clearAlert();
  try {
    await action();
  } catch (error) {
    fail(error);
  }
}

// --- drawing ---

/** Rows in the order of the calls, then what the stream told since they were read. */
function answered() {
  const known = new Set(state.rows.map((row) => row.formula));
  return [...state.rows, ...state.live.filter((row) => !known.has(row.formula))];
}

/** Calls after which each finished round ended. */
function roundEnds() {
  let calls = 0;
  return state.rounds.map((record) => (calls += record.validated + record.failed));
}

function rejects() {
  const total = {};
  for (const [reason, n] of state.rounds.flatMap((record) => Object.entries(record.rejects))) total[reason] = (total[reason] ?? 0) + n;
  return total;
}

function drawList() {
  show(byId("campaigns"), campaignList(state.campaigns, state.id));
}

function drawCampaign() {
  const { campaign } = state;
  byId("campaign").hidden = !campaign;
  if (!campaign) return;
  byId("campaign-title").textContent = nameOf(campaign);
  show(byId("summary"), summary(campaign));
  drawActions();
  show(byId("progress"), progress(campaign, state.stage));
  drawCharts();
  show(byId("rounds"), roundTable(state.rounds));
}

/** Anew only where something else can be done now: a number that is being typed stays. */
function drawActions() {
  const key = `${state.id} ${state.campaign.status}`;
  if (byId("actions").dataset.key === key) return;
  byId("actions").dataset.key = key;
  byId("actions").replaceChildren(...actions(state.campaign, { run, stop, forget }).flat());
}

function drawCharts() {
  const rows = answered();
  show(byId("curve"), discoveryCurve(rows, roundEnds(), state.campaign.tolerance));
  show(byId("funnel"), funnel(state.campaign.counts, rejects()));
  show(byId("parity"), parity(rows, state.campaign.tolerance));
}

// --- one campaign ---

const run = (rounds) => attempt(async () => took(await post(campaignPath(state.id, "/run"), { rounds })));

const stop = () => attempt(async () => took(await post(campaignPath(state.id, "/stop"), {})));

/** Delete the campaign that is shown, after a confirmation, and show the newest of those that are left. */
const forget = () => attempt(async () => {
  const { id, campaign } = state;
  if (!(await confirmDeletion(nameOf(campaign)))) return;
  state.stream.abort(); // it would end with an error
  try {
    await remove(campaignPath(id));
  } catch (error) {
    await open(id, false);
    throw error;
  }
  announce(`${nameOf(campaign)} is deleted`);
  state.id = null;
  history.replaceState(null, "", location.pathname);
  await refreshList();
  await open(shownId(), false);
  byId("campaigns-title").focus();
});

function took(campaign) {
  if (campaign.id !== state.id) return;
  state.campaign = { ...state.campaign, ...campaign };
  state.campaigns = state.campaigns.map((other) => (other.id === campaign.id ? campaign : other));
  if (!isActive(campaign)) state.stage = null;
  drawList();
  drawCampaign();
}

/** Everything of the campaign that does not come by the stream. */
async function reload() {
  const { id } = state;
  const [campaign, { rounds }, rows] = await Promise.all([get(campaignPath(id)), get(campaignPath(id, "/rounds")), askedFor(id)]);
  if (id !== state.id) return;
  Object.assign(state, { rounds, rows, live: [] });
  took(campaign);
  await candidates.open(id);
}

async function open(id, byPerson = true) {
  state.stream?.abort();
  Object.assign(state, { id, campaign: null, rows: [], live: [], rounds: [], stage: null, stream: new AbortController() });
  byId("viewer").hidden = true;
  drawList();
  drawCampaign();
  if (!id) return;
  const { signal } = state.stream;
  const { last, stage } = await past(id); // before the state is read, so that nothing falls between the two
  await reload();
  if (signal.aborted) return; // another campaign was opened meanwhile
  state.stage = isActive(state.campaign) ? stage : null;
  drawCampaign();
  hand.open(id);
  if (byPerson) byId("campaign-title").focus({ preventScroll: true });
  follow(id, last, (event) => heard(id, event), signal, fail);
}

function heard(id, { event, data }) {
  if (id !== state.id || !state.campaign) return;
  if (event === "status") statusChanged(data);
  else if (event === "round") roundFinished(data);
  else if (event === "stage") {
    if (isActive(state.campaign)) state.stage = data;
    show(byId("progress"), progress(state.campaign, state.stage));
  } else if (event === "answer") {
    state.live.push({ predicted_energy_above_hull: null, predicted_std: null, ...data });
    drawCharts();
  }
}

function statusChanged(campaign) {
  if (campaign.status !== state.campaign.status) {
    announce(`${nameOf(campaign)} is ${campaign.status}`);
    later(reload);
  }
  took(campaign);
}

function roundFinished(record) {
  if (state.rounds.some((known) => known.round === record.round)) return;
  announce(`Round ${record.round} is finished: ${record.stable} of ${record.validated} validated compounds are stable`);
  state.rounds.push(record);
  later(reload);
}

/** Once, shortly: several events often come together. */
function later(action) {
  clearTimeout(later.timer);
  later.timer = setTimeout(() => action().catch(fail), 200);
}

// --- the list, the form, the structure ---

async function refreshList() {
  state.campaigns = (await get("v1/campaigns")).campaigns;
  drawList();
}

function toggleForm(shown) {
  byId("new").hidden = !shown;
  byId("new-button").setAttribute("aria-expanded", String(shown));
  (shown ? byId("new").querySelector("input") : byId("new-button")).focus();
}

async function started(campaign) {
  clearAlert();
  toggleForm(false);
  await refreshList();
  announce(`${nameOf(campaign)} has begun`);
  location.hash = encodeURIComponent(campaign.id);
}

function closeViewer() {
  byId("viewer").hidden = true;
  document.querySelector(`button[data-formula="${state.viewer.formula}"]`)?.focus();
}

async function view(row) {
  const cif = await (await request(campaignPath(state.id, `/${row.structure}`))).text();
  byId("viewer").hidden = false;
  byId("viewer-title").replaceChildren("Structure of ", ...formulaNodes(row.formula));
  state.viewer = new Viewer(byId("structure"), row.formula, cif);
  byId("viewer-title").focus();
}

const candidates = new CandidateTable(byId("candidates"), (row) => attempt(() => view(row)));
const hand = new HandPanel(byId("hand"), { told: () => later(reload), failed: fail, announce });

function shownId() {
  const id = decodeURIComponent(location.hash.slice(1));
  return id && id !== "main" ? id : state.id ?? state.campaigns[0]?.id ?? null; // #main is the skip link's
}

async function begin() {
  onTokenNeeded(askForToken);
  startTheme(byId("theme-button"), () => state.viewer?.draw());
  const offer = campaignForm(byId("new"), started, fail);
  byId("new-button").addEventListener("click", () => {
    toggleForm(byId("new").hidden);
    if (!byId("new").hidden) attempt(async () => offer(await get("v1/models")));
  });
  byId("viewer-close").addEventListener("click", closeViewer);
  byId("new-close").addEventListener("click", () => toggleForm(false));
  byId("token-button").addEventListener("click", () => attempt(async () => {
    if (await askForToken("Where the service asks for a token, enter the one that its operator gave you.")) await refreshList();
  }));
  addEventListener("hashchange", () => { if (shownId() !== state.id) attempt(() => open(shownId())); });
  await refreshList();
  await open(shownId(), false);
  setInterval(() => { if (!document.hidden) refreshList().catch(fail); }, LIST_EVERY_MS);
}

// a download that was refused, say: nothing fails without a word
addEventListener("unhandledrejection", (event) => { event.preventDefault(); fail(event.reason); });

attempt(begin);
