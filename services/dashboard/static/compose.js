// The compose box: "@name text" is sent to name, any other text to the manager.

import { post } from "./api.js";
import { byName } from "./agent_order.js";
import { el, keyed, setText, showError } from "./dom.js";

const form = document.getElementById("compose");
const text = document.getElementById("compose-text");
const list = document.getElementById("names");
const recipient = document.getElementById("recipient");
const reply = form.querySelector(".reply");
const error = form.querySelector(".error");
const send = form.querySelector("[type=submit]");

/** Return the recipient and the body of a text. */
export function parse(value) {
  const match = /^@([^\s:,]+)[:,]?(?:\s+([\s\S]*))?$/u.exec(value.trim());
  return match ? { to: match[1], body: match[2] ?? "" } : { to: "manager", body: value.trim() };
}

export class Compose {
  #mirror;
  #chosen = 0; // the selected name in the list
  #closed = false; // Escape was pressed: the list stays closed for this word
  #inReplyTo = null;

  constructor(mirror) {
    this.#mirror = mirror;
    text.addEventListener("input", () => {
      this.#chosen = 0;
      this.#closed = false;
      this.render();
    });
    text.addEventListener("keydown", (event) => this.#key(event));
    text.addEventListener("blur", () => this.#close());
    text.addEventListener("focus", () => this.render());
    list.addEventListener("mousedown", (event) => {
      event.preventDefault(); // the box keeps the focus
      const option = event.target.closest("[role=option]");
      if (option) this.#pick(option.dataset.key);
    });
    reply.querySelector("button").addEventListener("click", () => this.#replyTo(null));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
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
    this.#replyTo(message);
  }

  /** Show the recipient, and the names that complete the typed one. */
  render() {
    setText(recipient, parse(text.value).to);
    fit();
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
  }

  #matching() {
    const typed = /^@(\S*)$/u.exec(text.value);
    if (!typed || this.#closed || document.activeElement !== text) return [];
    const agents = this.#mirror.rows("agents").sort(byName);
    return agents.map((agent) => agent.name).filter((name) => name.startsWith(typed[1]));
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
    else if (event.key === "Enter" && !event.shiftKey) {
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
  }

  #replyTo(message) {
    this.#inReplyTo = message?.id ?? null;
    reply.hidden = message === null;
    if (message) setText(reply.firstElementChild, `Reply to #${message.id} from ${message.from}`);
    this.render();
  }

  async #send() {
    const { to, body } = parse(text.value);
    showError(error);
    if (!body) {
      showError(error, `Write a message to ${to} first.`);
      return;
    }
    send.disabled = true;
    text.readOnly = true;
    try {
      await post("/api/messages", { to, body, in_reply_to: this.#inReplyTo });
      text.value = "";
      this.#replyTo(null);
    } catch (failure) {
      showError(error, failure.message);
    }
    text.readOnly = false;
    send.disabled = false;
    text.focus();
    this.render();
  }
}

function makeOption(name) {
  const option = el("li", { id: `name-${name}` }, `@${name}`);
  option.setAttribute("role", "option");
  return option;
}

// Make the box as high as its text, up to 10 lines.
function fit() {
  const rows = Math.min(10, text.value.split("\n").length);
  if (text.rows !== rows) text.rows = rows;
}
