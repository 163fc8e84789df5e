// A copy of the dashboard's tables. It listens first, then loads the state, then applies only newer
// changes, so no change is missed or applied twice.

import { leaveUnlessLoggedIn } from "./api.js";

export class Mirror {
  tables = {};
  #seq = 0;
  #held = null; // the changes that arrive while the state is being loaded
  #load = 0; // the number of the current load; the answer to an older one is not used
  #source = null;
  #onChange;
  #onLink;

  /**
   * @param onChange called with the names of the tables that changed
   * @param onLink called with "live", "connecting" or "lost", and with a sentence for "lost"
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

  // The browser connects again by itself, unless the dashboard refused it.
  async #lost(source) {
    if (source !== this.#source) return;
    this.#onLink("connecting");
    if (source.readyState !== EventSource.CLOSED) return;
    try {
      const response = await fetch("/api/session");
      leaveUnlessLoggedIn(response.status);
      this.#onLink("lost", "The dashboard refused this page: too many pages may be open.");
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
      // After a broken connection, connect again. Any other failure would repeat itself.
      if (error instanceof TypeError) this.connect();
      else this.#stop(error.message);
      return;
    }
    // A dashboard that was restarted meanwhile has another log: its stream says reset again.
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
