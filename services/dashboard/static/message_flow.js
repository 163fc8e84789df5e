// The message flow: oldest first, with a heading for each day, at its end unless the reader has scrolled
// away. `Messages` is the flow of the main page; the page of messages (messages.js) searches in it, too.

import { post } from "./api.js";
import { byName } from "./agent_order.js";
import { keyed, setText, showError } from "./dom.js";
import { isDead, isUnread, MessageItems } from "./message.js";
import { SETTLE_MS } from "./press_guard.js";
import { StickyEnd } from "./sticky_end.js";
import { day } from "./text.js";

/** The tabs of a flow; each shows the messages that fit. */
export const VIEWS = {
  all: () => true,
  inbox: (message) => message.to === "operator",
  dead: isDead,
};

/** The sentences in place of an empty view. */
export const NOTHING = {
  all: "No messages yet. Write to the manager below.",
  inbox: "Your inbox is empty. Agents write to you as “operator”.",
  dead: "No dead letters: every delivered message was handled.",
};

/** The list of messages in a section. */
export class Flow {
  #list;
  #items;
  #end;

  /**
   * @param section contains `.flow`, `.scroller`, `.newer`, and a line for errors
   * @param reply called with a message to reply to
   */
  constructor(section, reply) {
    this.#list = section.querySelector(".flow");
    this.#items = new MessageItems(section.querySelector(".flow-error"), reply);
    this.#end = new StickyEnd(section.querySelector(".scroller"), this.#list, section.querySelector(".newer"));
    // Who unfolds a message reads it from its beginning.
    this.#list.addEventListener("click", (event) => event.target.closest(".more") && this.#end.leave(), true);
  }

  /** Show messages, oldest first. */
  show(messages) {
    this.#put(messages);
    this.#end.changed();
  }

  /** Show messages of which the first ones are new: those that were in view stay in their places. */
  showOlder(messages) {
    this.#end.prepend(() => this.#put(messages));
  }

  get isAtEnd() {
    return this.#end.isAtEnd;
  }

  toEnd() {
    this.#end.toEnd();
  }

  #put(messages) {
    keyed(
      this.#list,
      messages.map((message, index) => ({
        message,
        heading: index === 0 || day(messages[index - 1].at) !== day(message.at),
      })),
      (item) => item.message.id,
      () => this.#items.make(),
      (node, { message, heading }) => this.#items.update(node, message, heading),
      (item) => item.message.at,
    );
  }
}

/** The button that marks the messages as read that the reader has seen. */
export class MarkAllRead {
  #button;
  #error;
  #since = new Map(); // when each unread message was shown first

  constructor(section) {
    this.#button = section.querySelector(".read-all");
    this.#error = section.querySelector(".flow-error");
    this.#button.addEventListener("click", () => this.#mark());
  }

  /** Offer the button for the unread ones of the messages that are shown, in the inbox. */
  offer(messages, isInbox) {
    const unread = messages.filter(isUnread).map((message) => message.id);
    const now = performance.now();
    this.#since = new Map(unread.map((id) => [id, this.#since.get(id) ?? now]));
    this.#button.hidden = !isInbox || unread.length === 0;
    setText(this.#button, `Mark all as read (${unread.length})`);
  }

  async #mark() {
    // Not those that have come with the press on its way: nobody has seen them.
    const latest = performance.now() - SETTLE_MS;
    const ids = [...this.#since].filter(([, at]) => at <= latest).map(([id]) => id);
    if (ids.length === 0) return;
    showError(this.#error);
    this.#button.disabled = true;
    try {
      for (let at = 0; at < ids.length; at += 500)
        await post("/api/messages/read", { ids: ids.slice(at, at + 500) });
    } catch (failure) {
      showError(this.#error, failure.message);
    }
    this.#button.disabled = false;
  }
}

/** Offer the names of all agents in a select, after its first options. */
export function offerNames(select, mirror, first = 1) {
  const names = mirror.rows("agents").sort(byName).map((agent) => agent.name);
  const offered = [...select.options].slice(first).map((option) => option.value);
  if (names.join() === offered.join()) return;
  const chosen = select.value;
  const fixed = [...select.options].slice(0, first);
  // An agent that is gone may be chosen still.
  if (chosen && !fixed.some((option) => option.value === chosen) && !names.includes(chosen)) names.push(chosen);
  select.replaceChildren(...fixed, ...names.map((name) => new Option(name)));
  select.value = chosen;
}

/** The flow of the main page. */
export class Messages {
  #mirror;
  #flow;
  #read;
  #view = "all";
  #section = document.getElementById("messages");
  #with = document.getElementById("with");
  #empty = this.#section.querySelector(".empty");
  #tabs = [...this.#section.querySelectorAll("[data-view]")];

  /** @param reply called with a message to reply to */
  constructor(mirror, reply) {
    this.#mirror = mirror;
    this.#flow = new Flow(this.#section, reply);
    this.#read = new MarkAllRead(this.#section);
    for (const tab of this.#tabs) tab.addEventListener("click", () => this.show(tab.dataset.view));
    this.#with.value = recall("with", "");
    this.#with.addEventListener("change", () => {
      keep("with", this.#with.value);
      this.#chosen();
    });
    this.#setView(recall("view", "all"));
  }

  /** Show "all" messages, the operator's "inbox", or the "dead" letters. */
  show(view) {
    this.#setView(view);
    this.#chosen();
  }

  #setView(view) {
    this.#view = view in VIEWS ? view : "all";
    keep("view", this.#view);
    for (const tab of this.#tabs) tab.setAttribute("aria-pressed", String(tab.dataset.view === this.#view));
  }

  #chosen() {
    this.render();
    this.#flow.toEnd();
  }

  /** Render the mirror's messages; return the numbers of unread messages and of dead letters. */
  render() {
    const all = this.#mirror.rows("messages").sort((a, b) => a.id - b.id);
    const unread = all.filter(isUnread).length;
    const dead = all.filter(isDead).length;
    setText(this.#tabs[1], unread ? `Inbox (${unread})` : "Inbox");
    setText(this.#tabs[2], dead ? `Dead letters (${dead})` : "Dead letters");
    offerNames(this.#with, this.#mirror);
    if (this.#with.value === "" && recall("with", "")) this.#with.value = recall("with", "");
    const shown = all.filter((message) => this.#fits(message));
    this.#sayEmpty(shown.length === 0);
    this.#read.offer(shown, this.#view === "inbox");
    this.#flow.show(shown);
    return { unread, dead };
  }

  #fits(message) {
    const name = this.#with.value;
    if (name && message.from !== name && message.to !== name) return false;
    return VIEWS[this.#view](message);
  }

  #sayEmpty(isEmpty) {
    this.#empty.hidden = !isEmpty || this.#mirror.tables.services.broker?.available !== true;
    const name = this.#with.value;
    setText(this.#empty, name ? `No messages with ${name} yet.` : NOTHING[this.#view]);
  }
}

// The reader's choices in this tab survive a reload.
function recall(key, other) {
  try {
    return sessionStorage.getItem(`flow-${key}`) ?? other;
  } catch {
    return other;
  }
}

function keep(key, value) {
  try {
    sessionStorage.setItem(`flow-${key}`, value);
  } catch {
    // This browser keeps nothing for this address.
  }
}
