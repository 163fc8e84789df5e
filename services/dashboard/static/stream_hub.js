// The one event stream of a browser, for all tabs of the dashboard: a browser opens six connections to a
// host, so a stream for each tab would leave none for the buttons of the sixth.
//
// A tab tells the hub on its port:
//   join {session, agent, after}: it is open, and wants the tail of an agent after its last event
//   again: the connection may be dead          shown: the reader looks at this tab
//   leave: it closes
// The hub tells each tab: opened, event {name, id, data}, tail {item}, lost, refused {sentence}, and
// unauthorized {session} when the session is not valid any more.

import { EventStream } from "./event_stream.js";
import { sentenceOf } from "./sentence.js";

/** The tails of one stream; the dashboard takes no more. Those of the tabs that were shown last are open. */
export const MAX_TAILS = 32;
const LINGER = 1_000; // milliseconds without a tab until the stream is closed: a tab may load another page
const SOON = 20; // milliseconds in which several tabs that open share one new request

export class Hub {
  #tabs = new Map(); // of each port: the agent, the last event of its tail, when it was shown, and whether it is asked for
  #session = "";
  #stream = null;
  #isOpen = false;
  #shown = 0; // grows with each tab that is shown
  #renewing = 0;
  #closing = 0;

  /** Serve the tab at the other end of a port. */
  add(port) {
    port.onmessage = ({ data }) => {
      if (data.tell === "join") this.#join(port, data);
      else if (data.tell === "leave") this.#leave(port);
      else if (data.tell === "again") this.#stream?.again();
      else if (data.tell === "shown" && this.#tabs.has(port)) {
        this.#tabs.get(port).shown = ++this.#shown;
        this.#renewSoon();
      }
    };
  }

  #join(port, { session, agent, after }) {
    clearTimeout(this.#closing);
    this.#tabs.set(port, { agent, after, shown: ++this.#shown, isAsked: false });
    const isNew = session !== this.#session;
    this.#session = session;
    if (!this.#stream) this.#open();
    else {
      // The tab loads the state, which is not older than this event. All later ones go to its port.
      if (this.#stream.lastId) port.postMessage({ tell: "event", name: "reset", id: this.#stream.lastId, data: "{}" });
      if (this.#isOpen) port.postMessage({ tell: "opened" });
      if (isNew) this.#renew();
      else this.#renewSoon();
    }
  }

  #leave(port) {
    this.#tabs.delete(port);
    clearTimeout(this.#closing);
    if (this.#tabs.size === 0) this.#closing = setTimeout(() => this.#close(), LINGER);
  }

  #open() {
    this.#isOpen = false;
    this.#stream = new EventStream((lastId, signal) => this.#send(lastId, signal), {
      opened: () => {
        this.#isOpen = true;
        this.#tell({ tell: "opened" });
      },
      received: (name, id, data) => {
        if (name === "tail") this.#route(JSON.parse(data));
        else this.#tell({ tell: "event", name, id, data });
      },
      lost: () => {
        this.#isOpen = false;
        this.#tell({ tell: "lost" });
      },
      refused: (response) => this.#refused(response, this.#session),
    });
  }

  #close() {
    this.#stream?.close();
    this.#stream = null;
    this.#isOpen = false;
    clearTimeout(this.#renewing);
    this.#renewing = 0;
  }

  async #refused(response, session) {
    this.#close();
    if (response.status === 401) this.#tell({ tell: "unauthorized", session });
    else this.#tell({ tell: "refused", sentence: await sentenceOf(response) });
  }

  #send(lastId, signal) {
    for (const tab of this.#tabs.values()) tab.isAsked = false;
    const tails = this.#wanted().map(([agent, tabs]) => {
      for (const tab of tabs) tab.isAsked = true;
      // It begins with the newest events if one of the tabs has none yet.
      const isNew = tabs.some(({ after }) => after === null);
      return `tail=${encodeURIComponent(agent)}${isNew ? "" : `:${Math.min(...tabs.map(({ after }) => after))}`}`;
    });
    const headers = { "Hyperhive-Session": this.#session };
    if (lastId) headers["Last-Event-ID"] = lastId;
    return fetch(tails.length ? `/api/events?${tails.join("&")}` : "/api/events", { headers, signal });
  }

  /** Return the agents whose tails are wanted, each with its tabs: one tail serves all tabs of an agent. */
  #wanted() {
    const agents = new Map();
    const tabs = [...this.#tabs.values()].filter(({ agent }) => agent);
    for (const tab of tabs.sort((a, b) => b.shown - a.shown))
      if (agents.has(tab.agent)) agents.get(tab.agent).push(tab);
      else if (agents.size < MAX_TAILS) agents.set(tab.agent, [tab]);
    return [...agents];
  }

  // A tail that nobody needs any more does no harm until the next request.
  #renewSoon() {
    this.#renewing ||= setTimeout(() => {
      this.#renewing = 0;
      if (this.#wanted().some(([, tabs]) => tabs.some(({ isAsked }) => !isAsked))) this.#renew();
    }, SOON);
  }

  #renew() {
    clearTimeout(this.#renewing);
    this.#renewing = 0;
    this.#stream?.renew();
  }

  #tell(message) {
    for (const port of this.#tabs.keys()) port.postMessage(message);
  }

  #route(item) {
    for (const [port, tab] of this.#tabs) {
      if (tab.agent !== item.of) continue;
      const pass = (one) => port.postMessage({ tell: "tail", item: one });
      if (item.tail === "begin") begin(tab, item, pass);
      else if (item.tail === "away") pass(item);
      else if (tab.after === null) continue; // its beginning is on its way
      else if (item.tail !== "event") pass(item);
      else if (item.seq > tab.after) {
        tab.after = item.seq;
        pass(item);
      }
    }
  }
}

// A tail that begins again for another tab goes on for this one, if nothing is missing in between.
function begin(tab, item, pass) {
  const { events, state } = item;
  const last = events.at(-1)?.seq ?? 0;
  const goesOn = tab.after !== null && events.length > 0 && events[0].seq <= tab.after + 1 && tab.after <= last;
  if (!goesOn) pass(item);
  else {
    pass({ ...state, tail: "state" });
    for (const event of events) if (event.seq > tab.after) pass({ ...event, tail: "event" });
  }
  tab.after = last;
}
