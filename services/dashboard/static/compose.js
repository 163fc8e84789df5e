// The message box: "@name text" is sent to name, and to "*" for all agents. Other text goes to the agent
// who got the last message of this tab, or to the manager. What is typed survives a reload.

import { post } from "./api.js";
import { byName } from "./agent_order.js";
import { ask } from "./confirm.js";
import { el, keyed, setSentence, setText, showError } from "./dom.js";
import { keepDraft, recallDraft } from "./drafts.js";
import { sends } from "./enter.js";
import { fit } from "./fitted.js";
import { delay } from "./recipients.js";
import { plural } from "./text.js";

const form = document.getElementById("compose");
const text = document.getElementById("compose-text");
const list = document.getElementById("names");
const recipient = document.getElementById("recipient");
const forget = form.querySelector(".forget");
const reply = form.querySelector(".reply");
const warning = form.querySelector(".warning");
const start = form.querySelector(".start");
const error = form.querySelector(".error");
const send = form.querySelector("[type=submit]");

const MANAGER = "manager";
const EVERYBODY = "*";
const DRAFT = "compose";

/** Return the recipient and the body of a text; `other` is the recipient of a text without a name. */
export function parse(value, other = MANAGER) {
  const match = /^@([^\s:,]+)[:,]?(?:\s+([\s\S]*))?$/u.exec(value.trim());
  return match ? { to: match[1], body: match[2] ?? "" } : { to: other, body: value.trim() };
}

export class Compose {
  #mirror;
  #chosen = 0; // the selected name in the list
  #closed = false; // Escape was pressed: the list stays closed for this word
  #last = MANAGER; // the recipient of a text without a name
  #inReplyTo = null; // the id, and the sender, of the message to which this is a reply

  constructor(mirror) {
    this.#mirror = mirror;
    this.#recall();
    text.addEventListener("input", () => {
      this.#chosen = 0;
      this.#closed = false;
      showError(error);
      this.render();
      this.#keep();
    });
    text.addEventListener("keydown", (event) => this.#key(event));
    text.addEventListener("blur", () => this.#close());
    text.addEventListener("focus", () => this.render());
    list.addEventListener("mousedown", (event) => {
      event.preventDefault(); // the box keeps the focus
      const option = event.target.closest("[role=option]");
      if (option) this.#pick(option.dataset.key);
    });
    forget.addEventListener("click", () => {
      text.value = parse(text.value).body;
      this.#last = MANAGER;
      this.#replyTo(null);
      text.focus();
    });
    reply.querySelector("button").addEventListener("click", () => this.#replyTo(null));
    start.addEventListener("click", () => this.#start());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    addEventListener("resize", () => fit(text));
    this.#replyTo(this.#inReplyTo);
  }

  /** Address the message to `name`; keep its body. */
  writeTo(name) {
    const { body } = parse(text.value);
    text.value = `@${name} ${body}`;
    this.#replyTo(null);
    text.focus();
  }

  /** Begin a reply. */
  answer(message) {
    this.writeTo(message.from);
    this.#replyTo({ id: message.id, from: message.from });
  }

  /** Show the recipient, a warning about it, and the names that complete the typed one. */
  render() {
    const { to } = parse(text.value, this.#last);
    setText(recipient, to === EVERYBODY ? "all agents" : to);
    forget.hidden = to === MANAGER;
    this.#warn(to);
    fit(text);
    const names = this.#matching();
    const open = names.length > 0;
    list.hidden = !open;
    text.setAttribute("aria-expanded", String(open));
    this.#chosen = Math.min(this.#chosen, Math.max(0, names.length - 1));
    keyed(list, names, (name) => name, makeOption, (node, name) => {
      node.setAttribute("aria-selected", String(name === names[this.#chosen]));
    });
    if (open) text.setAttribute("aria-activedescendant", `name-${names[this.#chosen]}`);
    else text.removeAttribute("aria-activedescendant");
    if (open) document.getElementById(`name-${names[this.#chosen]}`).scrollIntoView({ block: "nearest" });
  }

  #warn(to) {
    const agents = this.#mirror.tables.agents ?? {};
    const agent = agents[to];
    const isKnown = agent || to === EVERYBODY || this.#matching().length > 0 || Object.keys(agents).length === 0;
    let sentence = "";
    if (!isKnown) sentence = to === MANAGER ? "There is no manager yet: name an agent, with @name." : `There is no agent ${to}.`;
    else if (agent) {
      const { is, then, isHeld } = delay(agent) ?? {};
      if (isHeld) sentence = `${to} ${is}: it ${then}.`;
    }
    warning.hidden = sentence === "" || !text.value.trim();
    setSentence(warning.firstElementChild, sentence);
    start.hidden = !["stopped", "failed"].includes(agent?.state);
    start.dataset.agent = to;
    setText(start, `Start ${to}`);
  }

  async #start() {
    showError(error);
    start.disabled = true;
    try {
      await post(`/api/agents/${encodeURIComponent(start.dataset.agent)}/start`);
    } catch (failure) {
      showError(error, failure.message);
    }
    start.disabled = false;
  }

  #matching() {
    const typed = /^@(\S*)$/u.exec(text.value);
    if (!typed || this.#closed || document.activeElement !== text) return [];
    const agents = this.#mirror.rows("agents").sort(byName);
    const names = [...agents.map((agent) => agent.name), EVERYBODY];
    return names.filter((name) => name.startsWith(typed[1]));
  }

  #close() {
    list.hidden = true;
    text.setAttribute("aria-expanded", "false");
    text.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    if (event.isComposing) return;
    const names = this.#matching();
    if (names.length > 0 && this.#keyInList(event, names)) event.preventDefault();
    else if (sends(event)) {
      event.preventDefault();
      form.requestSubmit();
    } else if (event.key === "Escape") this.#replyTo(null);
  }

  #keyInList(event, names) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.#chosen = (this.#chosen + step + names.length) % names.length;
    else if (event.key === "Escape") this.#closed = true;
    else if (event.key === "Enter" || event.key === "Tab") this.#pick(names[this.#chosen]);
    else return false;
    this.render();
    return true;
  }

  #pick(name) {
    text.value = `@${name} `;
    this.render();
    this.#keep();
  }

  #replyTo(message) {
    this.#inReplyTo = message;
    reply.hidden = message === null;
    if (message) setText(reply.firstElementChild, `Reply to #${message.id} from ${message.from}`);
    this.render();
    this.#keep();
  }

  async #send() {
    const { to, body } = parse(text.value, this.#last);
    showError(error);
    if (!body) {
      showError(error, `Write a message to ${to} first.`);
      return;
    }
    if (to === EVERYBODY && !(await this.#mayAll(body))) {
      text.focus();
      return;
    }
    send.disabled = true;
    text.readOnly = true;
    const isReply = this.#inReplyTo?.from === to;
    try {
      await post("/api/messages", { to, body, in_reply_to: isReply ? this.#inReplyTo.id : null });
      text.value = "";
      if (to !== EVERYBODY) this.#last = to;
      this.#replyTo(null);
    } catch (failure) {
      showError(error, failure.message);
    }
    text.readOnly = false;
    send.disabled = false;
    text.focus();
    this.render();
  }

  #mayAll(body) {
    const count = plural(this.#mirror.rows("agents").length, "agent");
    const beginning = body.length > 200 ? `${body.slice(0, 200)}…` : body;
    return ask("Send to all agents?", `${count} will get this message and begin a turn: ${beginning}`, {
      verb: "Send to all",
    });
  }

  #keep() {
    keepDraft(DRAFT, { text: text.value, last: this.#last, reply: this.#inReplyTo });
  }

  #recall() {
    const kept = recallDraft(DRAFT) ?? {};
    text.value = kept.text ?? "";
    this.#last = kept.last ?? MANAGER;
    this.#inReplyTo = kept.reply ?? null;
  }
}

function makeOption(name) {
  const option = el("li", { id: `name-${name}` }, name === EVERYBODY ? "@* (all agents)" : `@${name}`);
  option.setAttribute("role", "option");
  return option;
}
