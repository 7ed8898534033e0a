// Requests to the service. Errors are problem details (RFC 9457); a token is sent where one was entered.

const TOKEN = "discovery-token";
const TRIES = 3; // of a GET that is told to come back later
const LONGEST_WAIT_S = 20;

/** An answer that is no success; `message` says what to do next. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The service answered ${status}: try again, or look into its log.`);
    this.status = status;
    this.errors = body.errors ?? [];
  }
}

let askForToken = async () => false;

/** Register what asks the person for a token; it resolves to true where one was given. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

export const token = () => sessionStorage.getItem(TOKEN) ?? "";

export function keepToken(text) {
  if (text) sessionStorage.setItem(TOKEN, text);
  else sessionStorage.removeItem(TOKEN);
}

/** The address of a path of the service, also behind a proxy that adds a prefix. */
export const address = (path) => new URL(path, document.baseURI).href;

export const campaignPath = (id, rest = "") => `v1/campaigns/${encodeURIComponent(id)}${rest}`;

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function problem(response) {
  const text = await response.text();
  try {
    return new Problem(response.status, JSON.parse(text));
  } catch {
    return new Problem(response.status, {});
  }
}

/** A successful response; asks for a token on 401, waits as told on 429 and 503 where nothing can happen twice. */
export async function request(path, { method = "GET", body, headers = {}, signal } = {}) {
  for (let attempt = 1; ; attempt++) {
    const authorization = token() ? { Authorization: `Bearer ${token()}` } : {};
    const content = body === undefined ? {} : { "Content-Type": "application/json" };
    const response = await fetch(address(path), {
      method, signal, cache: "no-store",
      headers: { ...content, ...authorization, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (response.ok) return response;
    const found = await problem(response);
    if (response.status === 401 && (await askForToken(found.message))) continue;
    const waits = [429, 503].includes(response.status) && method === "GET" && attempt < TRIES;
    if (!waits) throw found;
    await pause(Math.min(Number(response.headers.get("Retry-After")) || attempt, LONGEST_WAIT_S));
  }
}

export const get = async (path) => (await request(path)).json();

export const post = async (path, body) => (await request(path, { method: "POST", body })).json();

export const remove = (path) => request(path, { method: "DELETE" });

/** A link to a file of the service; with a token, which a plain link cannot carry, a click fetches the file. */
export async function followLink(event, name) {
  if (!token()) return;
  event.preventDefault();
  const url = URL.createObjectURL(await (await request(event.currentTarget.getAttribute("href"))).blob());
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
