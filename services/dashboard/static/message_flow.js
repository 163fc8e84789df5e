// The message flow: oldest first, scrolled to its end unless the reader has scrolled away.

import { byName } from "./agent_order.js";
import { keyed, setText } from "./dom.js";
import { isDead, isUnread, MessageItems } from "./message.js";
import { day } from "./text.js";

const section = document.getElementById("messages");
const flow = section.querySelector(".flow");
const scroller = section.querySelector(".scroller");
const newer = section.querySelector(".newer");
const empty = section.querySelector(".empty");
const tabs = [...section.querySelectorAll("[data-view]")];
const withSelect = document.getElementById("with");

const VIEWS = {
  all: () => true,
  inbox: (message) => message.to === "operator",
  dead: isDead,
};

export class Messages {
  #mirror;
  #items;
  #view = "all";
  #atEnd = true;

  /** @param reply called with a message to reply to */
  constructor(mirror, reply) {
    this.#mirror = mirror;
    this.#items = new MessageItems(section.querySelector("#compose .error"), reply);
    for (const tab of tabs) tab.addEventListener("click", () => this.show(tab.dataset.view));
    withSelect.addEventListener("change", () => this.#filterChanged());
    newer.addEventListener("click", () => this.#toEnd());
    scroller.addEventListener("scroll", () => {
      this.#atEnd = isAtEnd();
      if (this.#atEnd) newer.hidden = true;
    });
    // Keep the end in view when the height changes (a rotated phone, a keyboard).
    new ResizeObserver(() => this.#atEnd && toEnd()).observe(scroller);
  }

  /** Show "all" messages, the operator's "inbox", or the "dead" letters. */
  show(view) {
    this.#view = view;
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.dataset.view === view));
    this.#filterChanged();
  }

  #filterChanged() {
    this.#atEnd = true;
    this.render();
  }

  /** Render the mirror's messages; return the numbers of unread messages and of dead letters. */
  render() {
    const all = this.#mirror.rows("messages").sort((a, b) => a.id - b.id);
    const unread = all.filter(isUnread).length;
    const dead = all.filter(isDead).length;
    setText(tabs[1], unread ? `Inbox (${unread})` : "Inbox");
    setText(tabs[2], dead ? `Dead letters (${dead})` : "Dead letters");
    this.#offerNames();
    const shown = all.filter((message) => this.#fits(message));
    const last = flow.lastElementChild?.dataset.key;
    const items = shown.map((message, index) => ({
      message,
      heading: index === 0 || day(shown[index - 1].at) !== day(message.at),
    }));
    keyed(
      flow,
      items,
      (item) => item.message.id,
      () => this.#items.make(),
      (node, { message, heading }) => this.#items.update(node, message, heading),
      (item) => item.message.at,
    );
    this.#sayEmpty(shown.length === 0);
    if (this.#atEnd) this.#toEnd();
    else if (flow.lastElementChild?.dataset.key !== last) newer.hidden = false;
    return { unread, dead };
  }

  #fits(message) {
    const name = withSelect.value;
    if (name && message.from !== name && message.to !== name) return false;
    return VIEWS[this.#view](message);
  }

  #offerNames() {
    const names = this.#mirror.rows("agents").sort(byName).map((agent) => agent.name);
    const offered = [...withSelect.options].slice(1).map((option) => option.value);
    if (names.join() === offered.join()) return;
    const chosen = withSelect.value;
    withSelect.replaceChildren(withSelect.options[0], ...names.map((name) => new Option(name)));
    withSelect.value = names.includes(chosen) ? chosen : "";
  }

  #sayEmpty(isEmpty) {
    empty.hidden = !isEmpty || this.#mirror.tables.services.broker?.available !== true;
    if (withSelect.value) setText(empty, `No messages with ${withSelect.value} yet.`);
    else if (this.#view === "dead")
      setText(empty, "No dead letters: every delivered message was handled.");
    else if (this.#view === "inbox")
      setText(empty, "Your inbox is empty. Agents write to you as “operator”.");
    else setText(empty, "No messages yet. Write to the manager below.");
  }

  #toEnd() {
    this.#atEnd = true;
    newer.hidden = true;
    toEnd();
  }
}

// On a phone the page scrolls instead of the flow, and its end is not kept in view.
const isAtEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;

function toEnd() {
  scroller.scrollTop = scroller.scrollHeight;
}
