// One message as an item of a list, with its buttons.

import { decide, get } from "./api.js";
import { attempt, stateOfRow } from "./card_errors.js";
import { el, setSentence, setText } from "./dom.js";
import { putMarkdown } from "./markdown.js";
import { day, plural, putText, putTime, size, textOf, time } from "./text.js";

const LONG_LINES = 24;
const LONG_TEXT = 2400;
const LONG_REASON = 600;
/** The states of a message, in words. */
export const STATES = {
  queued: "queued",
  leased: "being read",
  acknowledged: "read",
  dead: "dead letter",
  dropped: "dropped",
  retracted: "taken back",
  cancelled: "cancelled",
};

/** Return whether a message waits for the operator to read it. */
export const isUnread = (message) => message.to === "operator" && message.state === "queued";

/** Return whether a message is a dead letter, which waits for the operator's decision. */
export const isDead = (message) => message.state === "dead";

/** Return the state of a message in a mirror, for `attempt`. */
export const stateOfMessage = ({ id }) => stateOfRow("broker", "messages", id);

const ACTIONS = [
  { verb: "read", label: "Mark as read", fits: isUnread },
  { verb: "requeue", label: "Requeue", fits: isDead },
  { verb: "drop", label: "Drop", fits: isDead },
];

/** Makes and updates the items of one list of messages. */
export class MessageItems {
  #error;
  #reply;
  #rendered = new WeakMap(); // the row that each item shows

  /**
   * @param error the line that shows a failure
   * @param reply called with a message to reply to; without it there are no reply buttons
   */
  constructor(error, reply = null) {
    this.#error = error;
    this.#reply = reply;
  }

  make() {
    return el("li", { className: "message" });
  }

  /** @param heading whether the message is the first of its day */
  update(node, message, heading) {
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
    setText(again, `redelivered ×${message.redeliveries}`);
    const why = node.querySelector(".why");
    why.hidden = !isDead(message) || !textOf(message.reason ?? "");
    if (!why.hidden) putText(why, [`${message.to} gave it up: `, message.reason].flat());
    for (const { verb, fits } of ACTIONS)
      node.querySelector(`[data-verb=${verb}]`).hidden = !fits(message);
  }

  #fill(node, message) {
    const at = el("time");
    putTime(at, message.at, time(message.at));
    const head = el(
      "header",
      {},
      at,
      el("span", { className: "from" }, message.from === "operator" ? "you" : message.from),
      el("span", { className: "arrow", ariaHidden: "true" }, "→"),
      el("span", { className: "unseen" }, " to "),
      el("span", { className: "to" }, message.to === "operator" ? "you" : message.to),
    );
    if (message.kind !== "message") head.append(el("span", { className: "tag" }, message.kind));
    if (message.urgent) head.append(el("span", { className: "tag urgent" }, "urgent"));
    if (message.in_reply_to) {
      head.append(this.#answered(message));
    }
    head.append(
      el("span", { className: "again" }),
      el("span", { className: "fill" }),
      ...this.#buttons(message),
      el("span", { className: "state" }),
    );
    const why = el("p", { className: "why", hidden: true, dir: "auto" });
    const whole = async () => (await get(`/api/messages/${message.id}`)).body;
    node.append(head, why, ...makeLongText(message.body, message.length, whole, putMarkdown));
  }

  // The link leads to the message in this list, or else to the page with its thread.
  #answered({ id, in_reply_to: number }) {
    const link = el("a", { href: `/messages?thread=${id}`, className: "answers" }, `re #${number}`);
    link.title = `This answers message ${number}: show it`;
    link.addEventListener("click", (event) => {
      const target = link.closest(".flow")?.querySelector(`#message-${number}`);
      if (!target || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      history.replaceState(null, "", `#message-${number}`);
      for (const other of target.parentElement.querySelectorAll(".sought")) other.classList.remove("sought");
      target.classList.add("sought");
      target.scrollIntoView({ block: "center" });
    });
    return link;
  }

  #buttons(message) {
    const buttons = ACTIONS.map(({ verb, label }) => {
      const button = el("button", { type: "button", data: { verb, needs: "operator" } }, label);
      button.addEventListener("click", () => this.#do(message, verb, button));
      return button;
    });
    if (!this.#reply || ["operator", "system"].includes(message.from)) return buttons;
    const reply = el("button", { type: "button", className: "quiet answer", data: { needs: "operator" } }, "Reply");
    reply.setAttribute("aria-label", `Reply to ${message.from}`);
    reply.addEventListener("click", () => this.#reply(message));
    return [reply, ...buttons];
  }

  async #do(message, verb, button) {
    button.disabled = true;
    await attempt(this.#error, stateOfMessage(message), () => decide(`/api/messages/${message.id}/${verb}`));
    button.disabled = false;
  }
}

/** Fold a text that fills a card, with a button that shows all of it; return them. */
export function foldLong(node) {
  const length = node.textContent.length;
  if (length <= LONG_REASON) return [node];
  node.classList.add("folded");
  const label = `Show all (${size(length)})`;
  const more = el("button", { type: "button", className: "quiet more" }, label);
  more.setAttribute("aria-expanded", "false");
  more.addEventListener("click", () => {
    const isFolded = node.classList.toggle("folded");
    more.setAttribute("aria-expanded", String(!isFolded));
    setText(more, isFolded ? label : "Show less");
  });
  return [node, more];
}

/**
 * Make elements for a text that somebody else wrote, folded when it is long.
 * @param shown the text, or its beginning, from the server
 * @param length the length of the whole text
 * @param whole returns a promise of the whole text
 * @param put puts the text into an element: putText, or putMarkdown
 */
export function makeLongText(shown, length, whole, put = putText) {
  const body = el("div", { className: put === putMarkdown ? "body markdown" : "body", dir: "auto" });
  put(body, shown);
  const text = textOf(shown);
  const cut = length > [...text].length;
  const lines = text.split("\n").length;
  if (!cut && lines <= LONG_LINES && text.length <= LONG_TEXT) return [body];
  body.classList.add("folded");
  const label = `Show all (${cut || lines <= LONG_LINES ? size(length) : plural(lines, "line")})`;
  const more = el("button", { type: "button", className: "quiet more" }, label);
  more.setAttribute("aria-expanded", "false");
  more.addEventListener("click", async () => {
    const unfold = body.classList.contains("folded");
    if (unfold && cut) {
      try {
        put(body, await whole());
      } catch (failure) {
        setSentence(more, failure.message);
        return;
      }
    }
    body.classList.toggle("folded", !unfold);
    more.setAttribute("aria-expanded", String(unfold));
    setText(more, unfold ? "Show less" : label);
  });
  return [body, more];
}
