// Server-sent events over fetch: EventSource cannot carry a token.

import { campaignPath, request } from "./api.js";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15_000;

/** Split a stream's text into events; call with each chunk, in order. */
export function eventParser(onEvent) {
  let rest = "";
  return (chunk) => {
    const blocks = (rest + chunk).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = { id: "", event: "message", data: [] };
      for (const line of block.split("\n")) {
        const [, field, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (field === "data") event.data.push(value);
        else if (field === "id" || field === "event") event[field] = value;
      }
      if (event.data.length) onEvent({ ...event, data: JSON.parse(event.data.join("\n")) });
    }
  };
}

async function readAll(response, feed) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    feed(value);
  }
}

const pause = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
});

/** What happened so far: {last: id of the last event, stage: the last one that was told of}. */
export async function past(id) {
  const found = { last: "", stage: null };
  eventParser(({ id: number, event, data }) => {
    found.last = number || found.last;
    if (event === "stage") found.stage = data;
  })(await (await request(campaignPath(id, "/events?follow=false"))).text());
  return found;
}

/** Follow a campaign, from behind the event with the id `last`, until `signal` aborts; a broken connection is taken up again after the last event seen. */
export async function follow(id, last, onEvent, signal, onLost = () => {}) {
  let wait = FIRST_WAIT_MS;
  const feed = () => eventParser((event) => {
    last = event.id || last;
    wait = FIRST_WAIT_MS;
    onEvent(event);
  });
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
      await readAll(await request(campaignPath(id, "/events"), { headers, signal }), feed());
    } catch (error) {
      if (signal.aborted) return;
      if ([401, 403, 404].includes(error.status)) return onLost(error); // waiting mends none of these
    }
    await pause(wait, signal);
    wait = Math.min(2 * wait, LONGEST_WAIT_MS);
  }
}
