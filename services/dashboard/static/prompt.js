// The prompt box of an agent's page: a message to the agent, or a command to its harness.

import { post } from "./api.js";
import { el, keyed, setText, showError } from "./dom.js";
import { keepDraft, recallDraft } from "./drafts.js";
import { sends } from "./enter.js";
import { delay } from "./recipients.js";
import { putText } from "./text.js";

// The words of wire/steering.py; a test compares them.
const DEFAULT = "default";
const LEVELS = ["low", "medium", "high", "xhigh", "max"];
const ALIASES = ["haiku", "opus", "sonnet"];
const MOST_HISTORY = 50;

const COMMANDS = [
  { name: "help", hint: "lists the commands" },
  { name: "clear", hint: "empties the view; the events stay stored" },
  { name: "cancel", argument: "requeue", hint: "interrupts the turn; with `requeue`, its messages are queued again" },
  { name: "compact", hint: "compacts the context" },
  { name: "model", argument: "NAME", hint: "shows the model, or changes it; `default` is the configured one" },
  { name: "effort", argument: "LEVEL", hint: "shows the effort, or changes it; `default` ends the choice" },
  { name: "new-session", hint: "begins a new session, without what was said before" },
];

/** Return the command in a text, or null when the text is a message. */
export function commandIn(text) {
  const match = /^\/([a-z-]+)(?:\s+([\s\S]*))?$/u.exec(text.trim());
  return match ? { name: match[1], argument: (match[2] ?? "").trim() } : null;
}

/** Return whether a text is the beginning of the name of a command. */
const isName = (text) => /^\/[a-z-]*$/u.test(text);

export class Prompt {
  /** The models that can be completed, besides the aliases of Claude Code. */
  models = new Set();
  /** The present model and effort, in words. */
  settings = { model: "not known yet", effort: DEFAULT };

  #agent;
  #clear;
  #form = document.getElementById("write");
  #text = document.getElementById("write-text");
  #list = document.getElementById("commands");
  #said = document.getElementById("said");
  #error;
  #send;
  #chosen = 0;
  #isClosed = false; // Escape was pressed: the list stays closed for this word
  #history;
  #place; // the place in the history; its length: the text that is being written
  #draft = "";
  #sent = null; // the message that the notice is about
  #row = null; // the agent's row

  /**
   * @param agent the agent's name
   * @param clear empties the view
   */
  constructor(agent, clear) {
    this.#agent = agent;
    this.#clear = clear;
    this.#error = this.#form.querySelector(".error");
    this.#send = this.#form.querySelector("[type=submit]");
    this.#history = stored(agent);
    this.#place = this.#history.length;
    setText(this.#form.querySelector("output"), agent);
    this.#text.placeholder = "Message, or /help";
    this.#text.value = recallDraft(`prompt-${agent}`) ?? "";
    this.#text.addEventListener("input", () => {
      this.#chosen = 0;
      this.#isClosed = false;
      this.#render();
    });
    this.#text.addEventListener("keydown", (event) => this.#key(event));
    this.#text.addEventListener("blur", () => this.#hideList());
    this.#list.addEventListener("mousedown", (event) => {
      event.preventDefault(); // the box keeps the focus
      const option = event.target.closest("[role=option]");
      if (option) this.#pick(option.dataset.key);
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#said.querySelector("button").addEventListener("click", () => (this.#said.hidden = true));
    this.#render();
  }

  /** Run a command, and show what the harness says; return whether it was carried out. */
  async run(name, argument = "") {
    const agent = `/api/agents/${encodeURIComponent(this.#agent)}`;
    showError(this.#error);
    this.#said.hidden = true; // beside an error, the answer to the last command looks like this one's
    try {
      if (name === "help") this.#say(makeHelp());
      else if (name === "clear") this.#clear();
      else if (!COMMANDS.some((one) => one.name === name))
        throw new Error(`There is no command /${name}: see \`/help\`. To send this text, begin it with two slashes.`);
      else if (name === "cancel" && !["", "requeue"].includes(argument))
        throw new Error(`/cancel takes \`requeue\` or nothing, not ${argument.slice(0, 40)}.`);
      else if (argument && ["compact", "new-session"].includes(name)) throw new Error(`/${name} takes no argument.`);
      else if (name in this.settings && !argument) this.#say(el("p", { dir: "auto" }, this.settings[name]));
      else {
        const bodies = { cancel: { requeue: argument === "requeue" }, model: { value: argument }, effort: { value: argument } };
        const { said } = await post(`${agent}/${name}`, bodies[name]);
        const sentence = el("p", { dir: "auto" });
        putText(sentence, said || "Done.");
        this.#say(sentence);
      }
    } catch (failure) {
      showError(this.#error, failure.message);
      return false;
    }
    return true;
  }

  /** Remove the notice about a message that has reached a turn. */
  arrived(messages) {
    if (messages.includes(this.#sent)) this.#said.hidden = true;
  }

  /** Follow the agent's row: its state decides when it reads a message. */
  update(agent) {
    this.#row = agent;
    if (this.#sent !== null && !this.#said.hidden) this.#tell();
  }

  #tell() {
    const { is, then } = (this.#row && delay(this.#row)) ?? {};
    const way = is ? `is queued. ${this.#agent} ${is}: it ${then}.` : `is on its way to ${this.#agent}.`;
    setText(this.#said.firstElementChild.firstElementChild, `Message #${this.#sent} ${way}`);
  }

  #say(node, sent = null) {
    this.#sent = sent;
    this.#said.firstElementChild.replaceChildren(node);
    this.#said.hidden = false;
  }

  async #submit() {
    const written = this.#text.value.trim();
    if (!written) return;
    this.#send.disabled = true;
    this.#text.readOnly = true;
    const command = commandIn(written);
    const done = command ? await this.run(command.name, command.argument) : await this.#message(written);
    this.#send.disabled = false;
    this.#text.readOnly = false;
    if (done) {
      this.#remember(written);
      this.#text.value = "";
    }
    this.#text.focus();
    this.#render();
  }

  async #message(written) {
    showError(this.#error);
    const body = written.startsWith("//") ? written.slice(1) : written;
    try {
      const { id } = await post("/api/messages", { to: this.#agent, body });
      this.#say(el("p"), id);
      this.#tell();
    } catch (failure) {
      showError(this.#error, failure.message);
      return false;
    }
    return true;
  }

  #key(event) {
    if (event.isComposing) return;
    const options = this.#options();
    const isOpen = options.length > 0;
    if (isOpen && this.#keyInList(event, options)) event.preventDefault();
    else if (sends(event)) {
      event.preventDefault();
      this.#form.requestSubmit();
    } else if (event.key === "ArrowUp" && this.#isOnLine("first")) this.#recall(-1, event);
    else if (event.key === "ArrowDown" && this.#isOnLine("last")) this.#recall(1, event);
  }

  #keyInList(event, options) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const chosen = options[Math.min(this.#chosen, options.length - 1)];
    if (step) this.#chosen = (this.#chosen + step + options.length) % options.length;
    else if (event.key === "Escape") this.#isClosed = true;
    else if (event.key === "Tab" && !event.shiftKey) this.#pick(chosen.value);
    // Enter completes the name of a command, and sends a complete one. Only Tab completes an argument.
    else if (event.key === "Enter" && isName(this.#text.value) && this.#text.value !== chosen.value.trim())
      this.#pick(chosen.value);
    else return false;
    this.#render();
    return true;
  }

  #pick(value) {
    this.#text.value = value;
    this.#isClosed = !value.endsWith(" ");
    this.#chosen = 0;
    this.#render();
  }

  /** Return the texts that complete the one in the box. */
  #options() {
    if (this.#isClosed || document.activeElement !== this.#text) return [];
    const text = this.#text.value;
    if (isName(text)) {
      const fits = COMMANDS.filter(({ name }) => `/${name}`.startsWith(text));
      return fits.map(({ name, argument, hint }) => ({ value: `/${name}${argument ? " " : ""}`, hint }));
    }
    const match = /^\/(cancel|effort|model) (\S*)$/u.exec(text);
    if (!match) return [];
    const [, command, typed] = match;
    const words = { cancel: ["requeue"], effort: [...LEVELS, DEFAULT], model: [...new Set([...this.models, ...ALIASES, DEFAULT])].sort() };
    const fits = words[command].filter((word) => word.startsWith(typed) && word !== typed);
    return fits.map((word) => ({ value: `/${command} ${word}`, hint: "" }));
  }

  #render() {
    keepDraft(`prompt-${this.#agent}`, this.#text.value || null);
    const rows = Math.min(10, this.#text.value.split("\n").length);
    if (this.#text.rows !== rows) this.#text.rows = rows;
    const options = this.#options();
    this.#list.hidden = options.length === 0;
    this.#text.setAttribute("aria-expanded", String(options.length > 0));
    this.#chosen = Math.min(this.#chosen, Math.max(0, options.length - 1));
    keyed(this.#list, options, ({ value }) => value, makeOption, (node, { value }) => {
      node.setAttribute("aria-selected", String(value === options[this.#chosen].value));
    });
    if (options.length) this.#text.setAttribute("aria-activedescendant", idOf(options[this.#chosen].value));
    else this.#text.removeAttribute("aria-activedescendant");
  }

  #hideList() {
    this.#list.hidden = true;
    this.#text.setAttribute("aria-expanded", "false");
    this.#text.removeAttribute("aria-activedescendant");
  }

  #isOnLine(which) {
    const { value, selectionStart, selectionEnd } = this.#text;
    if (selectionStart !== selectionEnd) return false;
    return which === "first" ? !value.slice(0, selectionStart).includes("\n") : !value.slice(selectionEnd).includes("\n");
  }

  #recall(step, event) {
    const place = this.#place + step;
    if (place < 0 || place > this.#history.length) return;
    event.preventDefault();
    if (this.#place === this.#history.length) this.#draft = this.#text.value;
    this.#place = place;
    this.#text.value = this.#history[place] ?? this.#draft;
    this.#isClosed = true; // the arrows go on through the history
    this.#render();
    this.#text.setSelectionRange(this.#text.value.length, this.#text.value.length);
  }

  #remember(written) {
    if (this.#history.at(-1) !== written) this.#history.push(written);
    this.#history.splice(0, this.#history.length - MOST_HISTORY);
    this.#place = this.#history.length;
    this.#draft = "";
    store(this.#agent, this.#history);
  }
}

// The history is this tab's: `leave` in session.js forgets it.
const keyOf = (agent) => `hyperhive-prompts-${agent}`;

function stored(agent) {
  try {
    const found = JSON.parse(sessionStorage.getItem(keyOf(agent)) ?? "[]");
    return Array.isArray(found) ? found.filter((text) => typeof text === "string") : [];
  } catch {
    return [];
  }
}

function store(agent, history) {
  try {
    sessionStorage.setItem(keyOf(agent), JSON.stringify(history));
  } catch {
    // This browser keeps nothing for this address, or the history is too long for it.
  }
}

const idOf = (value) => `command-${value.trim().replaceAll(/[^a-z0-9]+/giu, "-")}`;

function makeOption({ value, hint }) {
  const option = el("li", { id: idOf(value) }, el("span", { className: "value" }, value));
  if (hint) option.append(" ", el("span", { className: "hint" }, hint.replaceAll("`", "")));
  option.setAttribute("role", "option");
  return option;
}

function makeHelp() {
  const list = el("dl", { className: "facts" });
  for (const { name, argument, hint } of COMMANDS)
    list.append(
      el("dt", {}, el("code", {}, `/${name}${argument ? ` [${argument}]` : ""}`)),
      el("dd", {}, hint.replaceAll("`", "")),
    );
  return list;
}
