// The messages that a search finds: those of the mirror that fit, and older ones, which the dashboard
// reads from the broker's history page by page.

import { get } from "./api.js";

/** The messages that the mirror holds without a gap: the newest ones (MAX_MESSAGES in page_state.py). */
const WINDOW = 500;
const PAGE = 100;

/** The fields of a search that are in its address, too. */
export const FIELDS = ["text", "agent", "to", "kind", "state", "since", "until", "thread"];

export class History {
  #mirror;
  #wanted = {};
  #known = new Map(); // rows by id, as they were read
  #before = null; // the id before which the next page begins; null: the newest one
  #number = 0; // of the search; an answer to an older one is not used
  more = true;
  /** The newest message at the time of the search: what came later may not be among the found ones. */
  newest = 0;

  constructor(mirror) {
    this.#mirror = mirror;
  }

  /** Search for messages: an object with some of FIELDS; `since` and `until` are microseconds. */
  async search(wanted) {
    this.#wanted = wanted;
    this.#known.clear();
    this.#number += 1;
    this.more = true;
    const live = this.#live();
    this.newest = live.at(-1)?.id ?? 0;
    // The mirror has all that is newer than the beginning of its window.
    const start = live.length > 0 ? live[Math.max(0, live.length - WINDOW)].id : null;
    this.#before = this.#asksBroker ? null : start;
    if (this.#asksBroker || this.rows().length < PAGE) await this.older();
    // A long thread is read back to the message that it is about.
    const isMissing = () => this.more && !this.#known.has(Number(wanted.thread));
    while (wanted.thread && wanted === this.#wanted && isMissing()) await this.older();
  }

  /** Read an older page. */
  async older() {
    const number = this.#number;
    const { thread, ...fields } = this.#wanted;
    const query = new URLSearchParams({ limit: PAGE });
    for (const [key, value] of Object.entries(fields)) if (value) query.set(key, value);
    if (this.#before !== null) query.set("before", this.#before);
    const found = await get(thread ? `/api/messages/${thread}/thread?${query}` : `/api/history?${query}`);
    if (number !== this.#number) return;
    this.#add(found.messages);
    this.more = found.more;
    if (found.messages.length > 0) this.#before = found.messages[0].id;
  }

  /** When more than `many` rows are known, forget all but the newest `some`; they can be read again. */
  trim(many, some) {
    if (this.#known.size <= many || this.#asksBroker) return;
    const ids = [...this.#known.keys()].sort((a, b) => a - b);
    for (const id of ids.slice(0, -some)) this.#known.delete(id);
    this.#before = ids.at(-some);
    this.more = true;
  }

  /** Return the rows that are known and fit, oldest first. */
  rows() {
    const live = this.#mirror.tables.messages ?? {};
    // A row that leaves the mirror must not leave the page.
    if (!this.#asksBroker) for (const row of this.#live()) if (this.#fits(row)) this.#known.set(row.id, row);
    if (this.#wanted.thread) this.#followThread();
    const rows = [...this.#known.values()].map((row) => live[row.id] ?? row);
    return rows.filter((row) => this.#asksBroker || this.#fits(row)).sort((a, b) => a.id - b.id);
  }

  /** Return how many messages have come since the search, which may not be among its rows. */
  get later() {
    if (!this.#asksBroker || this.#wanted.thread) return 0;
    return this.#live().filter((row) => row.id > this.newest).length;
  }

  /** Whether only the broker knows what fits. */
  get #asksBroker() {
    return Boolean(this.#wanted.text || this.#wanted.thread);
  }

  #live() {
    return this.#mirror.rows("messages").sort((a, b) => a.id - b.id);
  }

  #add(rows) {
    for (const row of rows) this.#known.set(row.id, row);
  }

  // Answers to messages of the thread belong to it.
  #followThread() {
    for (const row of this.#live())
      if (this.#known.has(row.in_reply_to)) this.#known.set(row.id, row);
  }

  #fits(row) {
    const { agent, to, kind, state, since, until } = this.#wanted;
    return (
      (!agent || row.from === agent || row.to === agent) &&
      (!to || row.to === to) &&
      (!kind || row.kind === kind) &&
      (!state || row.state === state) &&
      (!since || row.at >= since) &&
      (!until || row.at < until)
    );
  }
}
