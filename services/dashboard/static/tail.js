// The live tail of an agent. The list holds a window of the events, whatever their number: at its end, new
// events push out the oldest; a reader who scrolls back moves the window, and new events are counted.

import { get } from "./api.js";
import { el, setText, showError } from "./dom.js";
import { exactly } from "./figures.js";
import { EventItems } from "./event_items.js";
import { putMarkdown } from "./markdown.js";

/** The events in the list while its end is shown. */
export const MAX_ROWS = 400;
/** The events that are fetched when the reader scrolls to an end of the list. */
export const PAGE = 100;
/** The most events in the list, while the reader has scrolled back. */
const MOST_ROWS = MAX_ROWS + 2 * PAGE;
const NEAR = 40; // pixels from the end that count as the end
const AHEAD = 300; // pixels before an end at which more events are fetched

export class Tail {
  /** The number of the last event that has arrived; null before the first ones. */
  after = null;

  #path;
  #scroller;
  #list;
  #partial;
  #newer;
  #older;
  #items;
  #seqs = []; // the numbers of the events in the list
  #first = 0; // the number of the oldest event that the agent has
  #isLive = true; // whether the list ends with the newest event
  #loading = null; // the direction in which events are being fetched
  #arrived = []; // events that are not in the list yet
  #unseen = 0; // new events below the part that is shown
  #frame = 0;
  #isAtEnd = true;
  #onCount;

  /**
   * @param agent the agent's name
   * @param section the element with the list and its buttons
   * @param onCount called with the number of events in the list
   */
  constructor(agent, section, onCount = () => {}) {
    this.#path = `/api/agents/${encodeURIComponent(agent)}/events`;
    this.#items = new EventItems(agent, async (seq) => (await get(`${this.#path}/${seq}`)).event);
    this.#scroller = section.querySelector(".scroller");
    this.#list = section.querySelector(".events");
    this.#partial = section.querySelector(".partial");
    this.#newer = section.querySelector(".newer");
    this.#older = section.querySelector(".older");
    this.#onCount = onCount;
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // An event that is unfolded at the end makes the list longer: the reader is not at its end any more.
    for (const name of ["toggle", "click"])
      this.#list.addEventListener(name, () => requestAnimationFrame(() => this.#scrolled()), true);
    new ResizeObserver(() => this.#isAtEnd && this.#toEnd()).observe(this.#scroller);
    this.#newer.addEventListener("click", () => this.showNewest());
    this.#older.querySelector("button").addEventListener("click", () => this.#loadOlder());
  }

  /** Begin again with the newest events of the agent. */
  begin({ events, first }) {
    this.#list.replaceChildren();
    this.#seqs = [];
    this.#arrived = [];
    this.#unseen = 0;
    this.#first = first;
    this.#isLive = true;
    this.#isAtEnd = true;
    this.after = events.at(-1)?.seq ?? this.after ?? 0;
    this.#append(events);
    this.#toEnd();
    this.#show();
  }

  /** Take an event from the stream. */
  add(row) {
    this.after = row.seq;
    this.#first ||= row.seq;
    this.#partial.hidden = true;
    if (!this.#isLive) this.#count(1);
    else {
      this.#arrived.push(row);
      // A tab that is not drawn has no frames: the list could not show more than these anyway.
      if (this.#arrived.length > MAX_ROWS) this.#arrived.shift();
      this.#frame ||= requestAnimationFrame(() => this.#flush());
    }
  }

  /** Show the end of the text that the model is writing. */
  write({ kind, text, cut }) {
    this.#partial.dataset.kind = kind;
    putMarkdown(this.#partial.querySelector(".markdown"), [cut ? "… " : "", text].flat());
    this.#partial.hidden = !this.#isLive;
    if (this.#isAtEnd) this.#toEnd();
  }

  /** End the text that the model was writing. */
  stopWriting() {
    this.#partial.hidden = true;
  }

  /** Empty the list; the events stay where they are stored. */
  clear() {
    this.#list.replaceChildren();
    this.#seqs = [];
    this.#arrived = [];
    this.#unseen = 0;
    this.#isLive = true;
    this.#isAtEnd = true;
    this.#show();
  }

  /** Scroll to the newest event; fetch the newest ones first if the reader has scrolled far back. */
  async showNewest() {
    if (!this.#isLive) {
      this.#isLive = true; // from now on, new events are kept
      const found = await this.#fetch("newest", `limit=${MAX_ROWS / 2}`);
      if (!found) {
        this.#isLive = false;
        return;
      }
      const arrived = this.#arrived;
      const after = this.after;
      this.begin(found);
      this.after = Math.max(after, this.after);
      this.#arrived = arrived.filter((row) => row.seq > (this.#seqs.at(-1) ?? 0));
    }
    this.#flush();
    this.#toEnd();
    this.#unseen = 0;
    this.#show();
  }

  #flush() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (this.#loading === "newest") return; // the answer has these events, or comes before them
    const rows = this.#arrived;
    this.#arrived = [];
    if (!this.#isAtEnd && this.#seqs.length + rows.length > MOST_ROWS) {
      this.#isLive = false;
      this.#count(rows.length);
      return;
    }
    this.#append(rows);
    if (this.#isAtEnd) {
      this.#trimStart(MAX_ROWS);
      this.#toEnd();
      this.#show();
    } else this.#count(rows.length);
  }

  #append(rows) {
    const fresh = rows.filter((row) => row.seq > (this.#seqs.at(-1) ?? 0));
    this.#list.append(...fresh.map((row) => this.#items.make(row)));
    this.#seqs.push(...fresh.map((row) => row.seq));
  }

  #trimStart(most) {
    const excess = this.#seqs.length - most;
    for (let count = 0; count < excess; count += 1) this.#list.firstElementChild.remove();
    if (excess > 0) this.#seqs.splice(0, excess);
  }

  #trimEnd(most) {
    const excess = this.#seqs.length - most;
    for (let count = 0; count < excess; count += 1) this.#list.lastElementChild.remove();
    if (excess > 0) {
      this.#seqs.splice(most);
      this.#isLive = false;
      this.#partial.hidden = true;
    }
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const below = scrollHeight - scrollTop - clientHeight;
    this.#isAtEnd = this.#isLive && below < NEAR;
    if (this.#isAtEnd && this.#unseen) {
      this.#unseen = 0;
      this.#show();
    }
    if (scrollTop < AHEAD && this.#hasOlder() && scrollHeight > clientHeight) this.#loadOlder();
    else if (below < AHEAD && !this.#isLive) this.#loadNewer();
  }

  #hasOlder() {
    return this.#first > 0 && (this.#seqs[0] ?? this.after + 1) > this.#first;
  }

  async #loadOlder() {
    if (this.#loading) return;
    const before = this.#seqs[0] ?? (this.after ?? 0) + 1;
    const found = await this.#fetch("older", `before=${before}&limit=${PAGE}`);
    if (!found || (this.#seqs[0] ?? before) !== before) return; // the list has begun again meanwhile
    if (found.events.length === 0) this.#first = before;
    this.#keepPlace(() => {
      this.#list.prepend(...found.events.map((row) => this.#items.make(row)));
      this.#seqs.unshift(...found.events.map((row) => row.seq));
      this.#trimEnd(MOST_ROWS);
    });
    this.#show();
  }

  async #loadNewer() {
    if (this.#loading) return;
    const after = this.#seqs.at(-1);
    const found = await this.#fetch("newer", `after=${after}&limit=${PAGE}`);
    if (!found || this.#seqs.at(-1) !== after) return;
    this.#keepPlace(() => {
      this.#append(found.events);
      this.#trimStart(MOST_ROWS);
    });
    // Later events are on their way through the stream, and go to the list from now on.
    if ((this.#seqs.at(-1) ?? 0) >= this.after || found.events.length === 0) this.#isLive = true;
    this.#unseen = Math.max(0, this.#unseen - found.events.length);
    if (this.#isLive) this.#unseen = 0;
    this.#show();
    this.#scrolled();
  }

  async #fetch(direction, query) {
    this.#loading = direction;
    const error = this.#older.querySelector(".error");
    try {
      const found = await get(`${this.#path}?${query}`);
      showError(error);
      return found;
    } catch (failure) {
      showError(error, failure.message);
      return null;
    } finally {
      this.#loading = null;
    }
  }

  // Change the list without moving what the reader looks at.
  #keepPlace(change) {
    const top = this.#scroller.getBoundingClientRect().top;
    const isShown = (node) => node.getBoundingClientRect().bottom > top;
    const anchor = [...this.#list.children].find(isShown);
    const before = anchor?.getBoundingClientRect().top;
    change();
    if (anchor?.isConnected) this.#scroller.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#isAtEnd = this.#isLive;
  }

  #count(number) {
    this.#unseen += number;
    this.#show();
  }

  #show() {
    const more = !this.#isLive || this.#unseen > 0;
    this.#newer.hidden = !more;
    setText(this.#newer, this.#unseen ? `${exactly(this.#unseen)} new ↓` : "Newest ↓");
    this.#older.querySelector("button").hidden = !this.#hasOlder();
    this.#onCount(this.#seqs.length);
  }
}
