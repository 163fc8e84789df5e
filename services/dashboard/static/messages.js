// The message flow: oldest first, kept at its end unless the reader has scrolled away.

import { get, post } from "./api.js";
import { byName } from "./agents.js";
import { el, keyed, setText, showError } from "./dom.js";
import { day, putText, putTime, size, time } from "./text.js";

const section = document.getElementById("messages");
const flow = section.querySelector(".flow");
const scroller = section.querySelector(".scroller");
const newer = section.querySelector(".newer");
const empty = section.querySelector(".empty");
const tabs = [...section.querySelectorAll("[data-view]")];
const withSelect = document.getElementById("with");

const LONG_LINES = 14;
const LONG_TEXT = 1500;
const STATES = {
  queued: "queued",
  leased: "being read",
  acknowledged: "read",
  dead: "dead letter",
  dropped: "dropped",
};

/** Waits for the operator. */
const isUnread = (message) => message.to === "operator" && message.state === "queued";

export class Messages {
  #mirror;
  #reply;
  #view = "all";
  #rendered = new WeakMap(); // the row each item shows
  #atEnd = true;

  /** @param reply called with a message to answer */
  constructor(mirror, reply) {
    this.#mirror = mirror;
    this.#reply = reply;
    for (const tab of tabs) tab.addEventListener("click", () => this.show(tab.dataset.view));
    withSelect.addEventListener("change", () => this.#filterChanged());
    newer.addEventListener("click", () => this.#toEnd());
    scroller.addEventListener("scroll", () => {
      this.#atEnd = isAtEnd();
      if (this.#atEnd) newer.hidden = true;
    });
    // What changes the room for the flow (a phone that turns, a keyboard) keeps its end in view.
    new ResizeObserver(() => this.#atEnd && toEnd()).observe(scroller);
  }

  /** Show "all" messages or the operator's "inbox". */
  show(view) {
    this.#view = view;
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.dataset.view === view));
    this.#filterChanged();
  }

  #filterChanged() {
    this.#atEnd = true;
    this.render();
  }

  /** Render what the mirror holds; returns how many messages wait for the operator. */
  render() {
    const all = this.#mirror.rows("messages").sort((a, b) => a.id - b.id);
    const unread = all.filter(isUnread).length;
    setText(tabs[1], unread ? `Inbox (${unread})` : "Inbox");
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
      () => el("li", { className: "message" }),
      (node, item) => this.#update(node, item),
    );
    this.#sayEmpty(shown.length === 0);
    if (this.#atEnd) this.#toEnd();
    else if (flow.lastElementChild?.dataset.key !== last) newer.hidden = false;
    return unread;
  }

  #fits(message) {
    const name = withSelect.value;
    if (name && message.from !== name && message.to !== name) return false;
    return this.#view === "all" || message.to === "operator";
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
    else if (this.#view === "inbox")
      setText(empty, "Your inbox is empty. Agents write to you as “operator”.");
    else setText(empty, "No messages yet. Write to the manager below: it does the rest.");
  }

  #toEnd() {
    this.#atEnd = true;
    newer.hidden = true;
    toEnd();
  }

  #update(node, { message, heading }) {
    const known = this.#rendered.get(node);
    if (known?.message === message && known.heading === heading) return;
    this.#rendered.set(node, { message, heading });
    if (!known) this.#fill(node, message);
    node.id = `message-${message.id}`;
    node.classList.toggle("inbox", message.to === "operator");
    node.classList.toggle("unread", isUnread(message));
    node.classList.toggle("mine", message.from === "operator");
    node.dataset.state = message.state;
    if (heading) node.dataset.day = day(message.at);
    else delete node.dataset.day;
    setText(node.querySelector(".state"), STATES[message.state] ?? message.state);
    const again = node.querySelector(".again");
    again.hidden = message.redeliveries === 0;
    setText(again, `handed out before ×${message.redeliveries}`);
    node.querySelector(".mark-read").hidden = !isUnread(message);
  }

  #fill(node, message) {
    const at = el("time");
    putTime(at, message.at, time(message.at));
    const head = el(
      "header",
      {},
      el("span", { className: "from" }, message.from === "operator" ? "you" : message.from),
      el("span", { className: "arrow", ariaHidden: "true" }, "→"),
      el("span", { className: "unseen" }, " to "),
      el("span", { className: "to" }, message.to === "operator" ? "you" : message.to),
    );
    if (message.kind !== "message") head.append(el("span", { className: "tag" }, message.kind));
    if (message.urgent) head.append(el("span", { className: "tag urgent" }, "urgent"));
    if (message.in_reply_to) {
      const link = el("a", { href: `#message-${message.in_reply_to}`, className: "answers" });
      link.textContent = `answers #${message.in_reply_to}`;
      head.append(link);
    }
    head.append(
      el("span", { className: "again" }),
      el("span", { className: "fill" }),
      ...this.#buttons(message),
      el("span", { className: "state" }),
      at,
    );
    node.append(head, ...makeBody(message));
  }

  #buttons(message) {
    const read = el("button", { type: "button", className: "mark-read" }, "Mark read");
    const error = section.querySelector("#compose .error");
    read.addEventListener("click", async () => {
      showError(error);
      read.disabled = true;
      try {
        await post(`/api/messages/${message.id}/read`);
      } catch (failure) {
        showError(error, failure.message);
      }
      read.disabled = false;
    });
    if (message.from === "operator" || message.from === "system") return [read];
    const reply = el("button", { type: "button", className: "quiet answer" }, "Reply");
    reply.setAttribute("aria-label", `Reply to ${message.from}`);
    reply.addEventListener("click", () => this.#reply(message));
    return [reply, read];
  }
}

function makeBody(message) {
  const body = el("div", { className: "body", dir: "auto" });
  putText(body, message.body);
  const cut = message.length > [...message.body].length;
  const lines = message.body.split("\n").length;
  if (!cut && lines <= LONG_LINES && message.body.length <= LONG_TEXT) return [body];
  body.classList.add("folded");
  const label = `Show all (${size(message.length)})`;
  const more = el("button", { type: "button", className: "quiet more" }, label);
  more.setAttribute("aria-expanded", "false");
  more.addEventListener("click", async () => {
    const unfold = body.classList.contains("folded");
    if (unfold && cut) {
      try {
        putText(body, (await get(`/api/messages/${message.id}`)).body);
      } catch (failure) {
        setText(more, failure.message);
        return;
      }
    }
    body.classList.toggle("folded", !unfold);
    more.setAttribute("aria-expanded", String(unfold));
    setText(more, unfold ? "Show less" : label);
  });
  return [body, more];
}

// On a phone the page scrolls, not the flow: there its end is not chased.
const isAtEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;

function toEnd() {
  scroller.scrollTop = scroller.scrollHeight;
}
