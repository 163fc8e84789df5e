// The tables of the dashboard, mirrored: listen first, then load the state, then apply only what
// is newer than it. So nothing is missed and nothing is applied twice.

import { leaveUnlessLoggedIn } from "./api.js";

export class Mirror {
  tables = {};
  #seq = 0;
  #held = null; // changes that arrive while the state is being loaded
  #load = 0; // which load is the current one: an older one's answer is not used
  #source = null;
  #onChange;
  #onLink;

  /**
   * @param onChange called with the names of the tables that changed
   * @param onLink called with "live", "connecting" or "lost", and a sentence for the last
   */
  constructor(onChange, onLink) {
    this.#onChange = onChange;
    this.#onLink = onLink;
  }

  connect() {
    this.#source?.close();
    this.#onLink("connecting");
    const source = new EventSource("/api/events");
    this.#source = source;
    source.addEventListener("reset", (event) => this.#reset(event.lastEventId));
    source.addEventListener("message", (event) => this.#receive(JSON.parse(event.data)));
    source.addEventListener("open", () => this.#held === null && this.#onLink("live"));
    source.addEventListener("error", () => this.#lost(source));
    this.#held = [];
  }

  rows(table) {
    return Object.values(this.tables[table] ?? {});
  }

  // The browser comes back by itself, unless it was refused.
  async #lost(source) {
    if (source !== this.#source) return;
    this.#onLink("connecting");
    if (source.readyState !== EventSource.CLOSED) return;
    try {
      const response = await fetch("/api/session");
      leaveUnlessLoggedIn(response.status);
      this.#onLink("lost", "The dashboard refused this page: too many may be open.");
    } catch {
      this.#onLink("lost", "The dashboard does not answer.");
    }
  }

  async #reset(id) {
    this.#held = [];
    const load = ++this.#load;
    let state;
    try {
      const response = await fetch("/api/state");
      leaveUnlessLoggedIn(response.status);
      if (!response.ok) throw new Error((await response.json()).error);
      state = await response.json();
    } catch (error) {
      if (load !== this.#load) return;
      // The connection broke: begin anew. Any other answer would be the same again.
      if (error instanceof TypeError) this.connect();
      else this.#stop(error.message);
      return;
    }
    // A service that was started in between speaks of another log: its stream says reset again.
    if (load !== this.#load || !id.startsWith(`${state.epoch}-`)) return;
    this.tables = state.tables;
    this.#seq = state.seq;
    const held = this.#held;
    this.#held = null;
    for (const change of held) this.#apply(change);
    this.#onLink("live");
    this.#onChange(new Set(Object.keys(this.tables)));
  }

  #receive(change) {
    if (this.#held) this.#held.push(change);
    else if (this.#apply(change)) this.#onChange(new Set([change.table]));
  }

  #apply(change) {
    if (change.seq <= this.#seq) return false;
    this.#seq = change.seq;
    const rows = this.tables[change.table];
    for (const key of change.remove) delete rows[key];
    Object.assign(rows, change.put);
    return true;
  }

  #stop(sentence) {
    this.#source.close();
    this.#onLink("lost", sentence);
  }
}
