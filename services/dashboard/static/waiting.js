// The band at the top of the main page: everything that waits for the operator, each with its action.

import { cancelTurn, change, setBudget, unhold } from "./agent_actions.js";
import { runOn } from "./agent_controls.js";
import { needOf, turnWords } from "./agent_order.js";
import { decide } from "./api.js";
import { renderApprovals } from "./approvals.js";
import { exhausted } from "./budgets.js";
import { attempt } from "./card_errors.js";
import { renderWaitingChanges } from "./changes.js";
import { el, keyed, setText } from "./dom.js";
import { renderRefused } from "./egress.js";
import { LoginFlow } from "./login_flow.js";
import { putExcerpt } from "./markdown.js";
import { stateOfMessage } from "./message.js";
import { Pace } from "./pace.js";
import { renderQuestions } from "./questions.js";
import { moment, plural, putText, putTime, spelled, textOf } from "./text.js";
import { tell } from "./told.js";
import { waitingRows } from "./waiting_counts.js";

/** The messages of a kind that are shown; the message flow has all of them. */
const MAX_SHOWN = 5;
/** The tables whose changes move the cards, and those of which common.js keeps the pace already. */
const MOVING = ["agents", "jobs", "output", "budgets", "messages"];
const PACED = ["approvals", "changes", "questions", "egress", "services"];
const SERVICES = ["approvals", "broker", "ledger", "lifecycle", "projects"];

const section = document.getElementById("waiting");
const quiet = section.querySelector(":scope > .quiet");
const part = (id) => document.getElementById(id);

const KINDS = [
  ["approvals", "approval"],
  ["changes", "change"],
  ["questions", "question"],
  ["refused", "refused host"],
  ["agents", "agent", "trouble"],
  ["dead", "dead letter"],
  ["messages", "unread message", "unread"],
];

const agentError = part("trouble").querySelector(".error");

/** Shows what waits. */
export class Waiting {
  #mirror;
  #show;
  #reply;
  #changed = new Set(); // the tables that have changed since the last rendering
  #pace = new Pace(() => this.#render());
  #logins = new Map(); // the logins of agents, by name

  /**
   * @param show called with "inbox" or "dead" to show these messages in the flow
   * @param reply called with a message to reply to
   */
  constructor(mirror, { show, reply }) {
    this.#mirror = mirror;
    this.#show = show;
    this.#reply = reply;
    for (const [id, view] of [["unread", "inbox"], ["dead", "dead"]])
      part(id).querySelector(".all").addEventListener("click", () => show(view));
    part("waiting-messages").addEventListener("click", () => show("inbox"));
    part("waiting-dead").addEventListener("click", () => show("dead"));
  }

  /** Show the changes of tables: soon, because agents can change these tables all the time; at once if all are new. */
  changed(tables, isWhole) {
    for (const table of tables) this.#changed.add(table);
    if (isWhole || PACED.some((table) => tables.has(table))) this.#render();
    else if (MOVING.some((table) => tables.has(table))) this.#pace.want();
  }

  #render() {
    const mirror = this.#mirror;
    const tables = new Set(this.#changed);
    this.#changed.clear();
    const changed = (...names) => names.some((name) => tables.has(name));
    if (changed("questions", "services")) renderQuestions(mirror);
    // The message flow says why.
    for (const id of ["questions", "dead", "unread"])
      part(id).classList.toggle("stale", mirror.tables.services.broker?.available !== true);
    if (changed("egress", "services")) renderRefused(mirror, part("refused"));
    if (changed("changes")) renderWaitingChanges(mirror, part("changes").querySelector(".cards"));
    if (changed("approvals", "agents", "jobs", "output", "services")) {
      renderApprovals(mirror);
      const count = part("approvals").querySelectorAll(".settled > li").length;
      const decided = part("approvals").querySelector(".decided");
      decided.hidden = count === 0;
      setText(decided.querySelector("summary"), `Decided (${count})`);
    }
    const rows = waitingRows(mirror);
    if (changed("agents", "jobs", "budgets", "services")) this.#renderAgents(rows.agents);
    if (changed("messages", "services")) {
      this.#renderMessages("dead", rows.dead);
      this.#renderMessages("unread", rows.messages);
    }
    let total = 0;
    for (const [kind, noun, id = kind] of KINDS) {
      const count = rows[kind].length;
      total += count;
      const isAway = part(id).querySelector(".away:not([hidden])") !== null;
      part(id).hidden = count === 0 && !isAway && part(id).querySelector("li") === null;
      const link = part(`waiting-${kind}`);
      link.hidden = count === 0;
      putCount(link, count, noun);
    }
    // Requests that are carried out do not wait: without open ones, they come last.
    const groups = section.querySelector(".groups");
    const wanted = rows.approvals.length > 0 ? groups.firstElementChild : groups.lastElementChild;
    if (wanted !== part("approvals")) {
      if (rows.approvals.length > 0) groups.prepend(part("approvals"));
      else groups.append(part("approvals"));
    }
    section.classList.toggle("some", total > 0);
    section.classList.toggle("in-progress", part("approvals").querySelector(".working > li") !== null);
    quiet.hidden = total > 0;
    const away = SERVICES.filter((name) => mirror.tables.services[name]?.available !== true);
    setText(
      quiet,
      away.length === 0
        ? "Nothing waits for you."
        : `Nothing is known to wait for you: ${away.join(", ")} ${away.length > 1 ? "do" : "does"} not answer.`,
    );
  }

  #renderAgents(agents) {
    const mirror = this.#mirror;
    const jobs = new Map(mirror.rows("jobs").map((job) => [job.agent, job]));
    for (const [name, login] of this.#logins) {
      if (mirror.tables.agents[name]) login.update(mirror.tables.agents[name]);
      else this.#logins.delete(name);
    }
    // Its harness may try the model again during the login, and need no login for a moment.
    const names = new Set(agents.map(({ name }) => name));
    const open = [...this.#logins].filter(([name, login]) => login.isOpen && !names.has(name));
    keyed(
      part("trouble").querySelector("ul"),
      [...agents, ...open.map(([name]) => mirror.tables.agents[name])],
      ({ name }) => name,
      (agent) => this.#makeAgent(agent),
      (item, agent) => {
        for (const button of item.querySelectorAll("[data-verb]")) button.disabled = jobs.has(agent.name);
        const need = needIn(agent);
        putTime(item.querySelector(".what time"), need === "failed" ? agent.since : agent.turn_since);
        const line = item.querySelector(".reason");
        putText(line, reasonOf(agent));
        line.hidden = line.textContent === "";
      },
      (agent) => {
        const need = needIn(agent);
        // A card with a login stays as it is: a code may be in it.
        const since = need === "needs-login" ? agent.credential : `${agent.since} ${agent.turn_since}`;
        return `${need} ${since} ${exhausted(mirror, agent.name).length > 0}`;
      },
    );
  }

  #makeAgent(agent) {
    const { name } = agent;
    const need = needIn(agent);
    const since = el("time");
    const act = (label, action, className = "") => {
      const button = el("button", { type: "button", className, data: { verb: verbOf(label), needs: "operator" } }, label);
      button.setAttribute("aria-label", `${label.replace("…", "")}: ${name}`);
      button.addEventListener("click", () => {
        const now = this.#mirror.tables.agents[name] ?? agent;
        runOn(agentError, now, () => action(now));
      });
      return button;
    };
    const link = (label, hash = "") => {
      const node = el("a", { className: "button", href: `/agents/${name}${hash}` }, label);
      node.setAttribute("aria-label", `${label.replace("…", "")}: ${name}`);
      return node;
    };
    const login = need === "needs-login" ? this.#login(agent) : null;
    const acts = {
      failed: () => [act("Start", (now) => change(now, "start"), "primary"), link("Open agent")],
      "needs-login": () => [
        ...(login ? [login.button] : []),
        link("Open agent"),
        act("Stop", (now) => change(now, "stop")),
      ],
      error: () => [link("Open agent"), act("Cancel turn", cancelTurn), act("Rebuild", (now) => change(now, "rebuild"))],
      held: () =>
        exhausted(this.#mirror, name).length > 0
          ? [act("Budget…", (now) => setBudget(this.#mirror, now), "primary"), link("Open agent")]
          : [act("Unhold", unhold, "primary"), link("Open agent")],
    };
    return el(
      "li",
      { className: "agent", data: { state: need } },
      el(
        "p",
        { className: "what", data: { state: need } },
        el("a", { className: "name", href: `/agents/${name}` }, name),
        " ",
        el("span", { className: "badge" }, turnWords(need)),
        el("span", { className: "by" }, " since ", since),
      ),
      el("p", { className: "reason", dir: "auto", hidden: true }),
      el("div", { className: "buttons" }, ...acts[need]()),
      ...(login ? [login.box] : []),
    );
  }

  /** Return the login of an agent; null for one whose key an account does not replace. */
  #login(agent) {
    const { name, credential } = agent;
    if (credential === "key" || credential === "scripted") return null;
    if (!this.#logins.has(name)) {
      const button = el("button", { type: "button", data: { needs: "operator" } }, "Log in…");
      button.setAttribute("aria-label", `Log in: ${name}`);
      // The card goes with its cause: the outcome is said at the bottom of the page.
      this.#logins.set(name, new LoginFlow(name, button, (said) => tell(spelled(said))));
    }
    const login = this.#logins.get(name);
    login.update(agent);
    return login;
  }

  #renderMessages(id, messages) {
    const here = part(id);
    const error = here.querySelector(".error");
    keyed(
      here.querySelector("ul"),
      messages.slice(0, MAX_SHOWN),
      (message) => message.id,
      (message) => this.#makeMessage(message, id === "dead", error),
      () => {},
      (message) => `${message.state} ${message.at}`,
    );
    const more = here.querySelector(".all");
    more.hidden = messages.length <= MAX_SHOWN;
    setText(more, `Show all ${messages.length}`);
  }

  #makeMessage(message, isDead, error) {
    const at = el("time");
    putTime(at, message.at, moment(message.at));
    const act = (verb, label, className = "") => {
      const button = el("button", { type: "button", className, data: { verb, needs: "operator" } }, label);
      button.setAttribute("aria-label", `${label}: ${message.from}, ${message.id}`);
      button.addEventListener("click", () => settle(message, verb, button, error));
      return button;
    };
    const buttons = isDead ? [act("requeue", "Requeue"), act("drop", "Drop")] : [act("read", "Mark as read")];
    if (!isDead && message.from !== "system") {
      const reply = el("button", { type: "button", className: "answer", data: { needs: "operator" } }, "Reply");
      reply.setAttribute("aria-label", `Reply to ${message.from}, ${message.id}`);
      reply.addEventListener("click", () => this.#reply(message));
      buttons.unshift(reply);
    }
    const excerpt = el("p", { className: "excerpt", dir: "auto" });
    putExcerpt(excerpt, message.body);
    const why = el("p", { className: "by why", dir: "auto", hidden: !isDead || !textOf(message.reason ?? "") });
    putText(why, message.reason ?? "");
    const open = el("button", { type: "button", className: "quiet" }, "Open");
    open.setAttribute("aria-label", `Open the message ${message.id} of ${message.from}`);
    open.addEventListener("click", () => {
      this.#show(isDead ? "dead" : "inbox");
      const shown = part(`message-${message.id}`);
      shown?.scrollIntoView({ block: "center" });
      shown?.querySelector("button")?.focus({ preventScroll: true });
    });
    const to = isDead ? ` → ${message.to}` : "";
    return el(
      "li",
      { className: "letter" },
      el("p", { className: "what" }, el("strong", {}, message.from), to, el("span", { className: "by" }, " ", at)),
      excerpt,
      why,
      el("div", { className: "buttons" }, ...buttons, open),
    );
  }
}

/** Return why an agent has a card; one without a reason has a login that is under way. */
const needIn = (agent) => needOf(agent) ?? "needs-login";

/** Put a count into its link; on a phone, the last word of two is left out. */
function putCount(link, count, noun) {
  const words = count ? plural(count, noun) : "";
  if (link.textContent === words) return;
  const [short, rest] = /^\d+ (?:refused|unread)/u.exec(words) ? words.split(/(?= \S+$)/u) : [words, ""];
  // In an element of its own: a line of text, not items of a row.
  link.replaceChildren(el("span", {}, short, el("span", { className: "rest" }, rest)));
}

const verbOf = (label) => label.toLowerCase().replace("…", "").replaceAll(" ", "-");

function reasonOf(agent) {
  const parts = [agent.turn_reason ?? ""].flat();
  if (agent.turn_until) parts.push(` · until ${moment(agent.turn_until)}`);
  return parts;
}

async function settle(message, verb, button, error) {
  button.disabled = true;
  const done = await attempt(error, stateOfMessage(message), () => decide(`/api/messages/${message.id}/${verb}`));
  if (done === null) button.disabled = false;
}

/** Move the focus to the first control of what waits; return whether there is one. */
export function focusWaiting() {
  const first = section.querySelector("li :is(button, a, input, textarea, summary):not(:disabled)");
  first?.focus();
  first?.scrollIntoView({ block: "nearest" });
  return Boolean(first);
}
