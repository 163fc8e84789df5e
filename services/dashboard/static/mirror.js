// A copy of the dashboard's tables. It listens first, then loads the state, then applies only newer
// changes, so no change is missed or applied twice.

import { sentenceOf } from "./api.js";
import { fetchAs } from "./session.js";
import { TabStream } from "./tab_stream.js";

export class Mirror {
  tables = {};
  #seq = 0;
  #held = null; // the changes that arrive while the state is being loaded
  #load = 0; // the number of the current load; the answer to an older one is not used
  #stream = null;
  #onChange;
  #onLink;
  #onVersion;
  #tail;

  /**
   * @param onChange called with the names of the tables that changed, and whether the whole state is new: the page
   *   has just opened, or the connection was lost
   * @param onLink called with "live", "connecting" or "lost", and with a sentence for "lost"
   * @param tail has `agent`, whose tail the page wants, `after()`, the last event that it has, and `received(item)`
   * @param onVersion called with the version of the files that the dashboard serves, with each state
   */
  constructor(onChange, onLink, { tail = null, onVersion = () => {} } = {}) {
    this.#onChange = onChange;
    this.#onLink = onLink;
    this.#tail = tail;
    this.#onVersion = onVersion;
  }

  connect() {
    this.#stream?.close();
    this.#onLink("connecting");
    this.#held = [];
    const listener = {
      opened: () => this.#held === null && this.#onLink("live"),
      received: (type, id, data) => (type === "reset" ? this.#reset(id) : this.#receive(JSON.parse(data))),
      tailed: (item) => this.#tail.received(item),
      lost: () => this.#onLink("connecting"),
      refused: (sentence) => this.#onLink("lost", sentence),
    };
    this.#stream = new TabStream(listener, this.#tail);
  }

  rows(table) {
    return Object.values(this.tables[table] ?? {});
  }

  async #reset(id) {
    this.#held = [];
    const load = ++this.#load;
    let state;
    try {
      const response = await fetchAs("/api/state");
      if (!response.ok) throw new Error(await sentenceOf(response));
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
    this.#onVersion(state.version);
    this.tables = state.tables;
    this.#seq = state.seq;
    const held = this.#held;
    this.#held = null;
    for (const change of held) this.#apply(change);
    this.#onLink("live");
    this.#onChange(new Set(Object.keys(this.tables)), true);
  }

  #receive(change) {
    if (this.#held) this.#held.push(change);
    else if (this.#apply(change)) this.#onChange(new Set([change.table]), false);
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
    this.#stream.close();
    this.#onLink("lost", sentence);
  }
}
