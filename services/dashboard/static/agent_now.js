// The present of one agent: the state of its turn with its age and reason, its model, context and cost, and
// the buttons that steer its harness.

import { turnOf } from "./agent_order.js";
import { el, setText } from "./dom.js";
import { age, exactly, money, span, tokens } from "./figures.js";
import { shown } from "./event_items.js";
import { moment, putTime, textOf } from "./text.js";

const TICK_MS = 5000;
// A turn may also wait in `rate-limited` and `error` for its next try; without one, the harness refuses.
const CANCELLABLE = new Set(["thinking", "compacting", "waiting", "rate-limited", "error"]);
const NO_HARNESS = new Set(["offline", "harness-away", "no-report"]);
const REMEDIES = {
  // With a reason, the last turn has failed, and its messages do not come again.
  idle: (name, agent) =>
    textOf(agent.turn_reason ?? "")
      ? ["Messages that were given up are under ", el("b", {}, "Dead letters"), " on the main page."]
      : [],
  waiting: () => [el("a", { href: "#questions" }, "Answer it"), "."],
  "needs-login": (name, agent) => login(name, agent.credential),
  "harness-away": (name) => ["If this lasts, run ", el("code", {}, `hivectl status ${name}`), " on the hive's host."],
  "no-report": (name) => [
    "Its harness has not reported since the container started. If this lasts, run ",
    el("code", {}, `hivectl status ${name}`),
    " on the hive's host.",
  ],
  "rate-limited": () => [
    "It tries again by itself; between two tries of a turn, ",
    el("code", {}, "hivectl lift-limits"),
    " on the hive's host has it try at once.",
  ],
  error: (name) => ["Run ", el("code", {}, `hivectl status ${name}`), " on the hive's host: it shows the log and a remedy."],
  held: (name, _, budget) => budget ? raise(budget) : [
    "Its messages stay queued. ",
    el("code", {}, `hivectl unhold ${name}`),
    " on the hive's host lets it go on, and so may an answer to an open question to you.",
  ],
};

function raise({ kind, name, period, spent, limit }) {
  const of = { agent: name, hive: "--hive", credential: `--credential ${name}` }[kind];
  const option = limit && spent >= limit ? `--${period} DOLLARS` : `--${period}-tokens NUMBER`;
  const here = kind === "agent" ? ["press ", el("b", {}, "More…"), " and ", el("b", {}, "Budget…"), ", or run "] : [];
  return [
    "Answer the question about the budget, or raise it: ",
    ...here,
    el("code", {}, `hivectl budget ${of} ${option}`),
    " on the hive's host.",
  ];
}

function login(name, credential) {
  if (credential === "key")
    return [
      "The API key is refused: give a valid one with ",
      el("code", {}, "hivectl credentials set"),
      " for all agents, or with ",
      el("code", {}, `hivectl credentials set ${name}`),
      ", on the hive's host.",
    ];
  if (credential === "scripted") return ["The scripted model refuses the requests: see its log."];
  return ["Press ", el("b", {}, "Log in…"), ", or run ", el("code", {}, `hivectl login ${name}`), " on the hive's host."];
}

export class Now {
  #name;
  #section;
  #ages = new Map(); // the times of changes, by the elements that show their ages
  #buttons;

  /**
   * @param name the agent's name
   * @param section the section of the page
   * @param run carries out a command, and returns a promise of whether it was
   */
  constructor(name, section, run) {
    this.#name = name;
    this.#section = section;
    this.#buttons = {
      cancel: section.querySelector("[data-command=cancel]"),
      compact: section.querySelector("[data-command=compact]"),
      "new-session": section.querySelector("[data-command=new-session]"),
    };
    const confirm = section.querySelector(".confirm");
    for (const command of ["cancel", "compact"])
      this.#buttons[command].addEventListener("click", (event) => press(event.currentTarget, () => run(command)));
    this.#buttons["new-session"].addEventListener("click", () => {
      confirm.hidden = !confirm.hidden;
      if (!confirm.hidden) confirm.querySelector("button").focus();
    });
    const [yes, no] = confirm.querySelectorAll("button");
    yes.addEventListener("click", async () => {
      await press(yes, () => run("new-session"));
      confirm.hidden = true;
    });
    no.addEventListener("click", () => {
      confirm.hidden = true;
      this.#buttons["new-session"].focus();
    });
    // Nothing is asked of anybody: the ages that are shown grow by themselves.
    setInterval(() => document.hidden || this.#tick(), TICK_MS);
    document.addEventListener("visibilitychange", () => document.hidden || this.#tick());
  }

  /**
   * Show the state of the turn, and the figures.
   * @param agent the agent's row; lifecycle knows its state even when the harness is away
   * @param live what the harness says about itself, or null
   * @param turn the last turn that has ended, or null
   * @param cost the cost of today in US dollars, or null
   * @param budget the budget that is used up and holds the agent, if any
   */
  update(agent, live, turn, cost, budget) {
    this.#age(this.#section.querySelector(".state time"), agent.since);
    this.#age(this.#section.querySelector(".turn time"), agent.turn_since);
    this.#reason(agent, budget);
    const isUp = !NO_HARNESS.has(turnOf(agent));
    this.#buttons.cancel.disabled = !CANCELLABLE.has(agent.turn_state);
    this.#buttons.compact.disabled = !isUp;
    this.#buttons["new-session"].disabled = !isUp;
    this.#figures(agent, isUp ? live : null, turn, cost);
  }

  #age(node, since) {
    putTime(node, since);
    if (since) this.#ages.set(node, since);
    else this.#ages.delete(node);
    this.#tick();
  }

  #tick() {
    for (const [node, since] of this.#ages) setText(node, `for ${age(since)}`);
  }

  #reason(agent, budget) {
    const line = this.#section.querySelector(".why");
    const parts = [];
    const reason = textOf(agent.turn_reason ?? "");
    const activity = textOf(agent.activity ?? "");
    if (reason) parts.push(shown(agent.turn_reason));
    if (agent.turn_until) parts.push(`until ${moment(agent.turn_until)}`);
    if (activity && !reason.includes(activity)) parts.push(shown(agent.activity)); // a call that waits
    const nodes = parts.flatMap((part, index) => (index ? [" · ", part] : [part]));
    const remedy = REMEDIES[turnOf(agent)]?.(this.#name, agent, budget) ?? [];
    line.replaceChildren(...nodes);
    if (nodes.length && remedy.length) line.append(/[.!?]$/u.test(line.textContent) ? " " : " · ");
    line.append(...remedy);
    line.hidden = line.childNodes.length === 0;
    line.classList.toggle("bad", ["error", "needs-login", "harness-away"].includes(turnOf(agent)));
  }

  #figures(agent, live, turn, cost) {
    const put = (name, value) => {
      const node = this.#section.querySelector(`[data-figure=${name}]`);
      node.parentElement.hidden = value === null;
      if (typeof value === "string") setText(node, value);
      else if (value) node.replaceChildren(...[value].flat());
    };
    put("model", agent.model || reported(live?.model));
    put("effort", agent.effort || reported(live?.effort));
    put("context", context(agent, live));
    put("cost", cost === null ? null : money(cost));
    put("last-turn", turn ? `${span(turn.seconds)}${turn.outcome === "done" ? "" : `, ${turn.outcome}`}` : null);
  }
}

const reported = (text) => (textOf(text ?? "") ? [shown(text)] : null);

function context(agent, live) {
  const used = agent.context_tokens || live?.context_tokens || 0;
  const limit = agent.context_limit || live?.context_limit || 0;
  if (!used) return null;
  if (!limit) return `${tokens(used)} tokens`;
  const percent = Math.round((100 * used) / limit);
  const meter = el("meter", { min: 0, max: limit, low: 0.7 * limit, high: 0.85 * limit, optimum: 0, value: used });
  meter.setAttribute("aria-label", "Context used");
  meter.title = `${exactly(used)} of ${exactly(limit)} tokens`;
  return [meter, ` ${percent} % `, el("span", { className: "muted" }, `${tokens(used)} of ${tokens(limit)}`)];
}

async function press(button, act) {
  button.disabled = true;
  await act();
  button.disabled = false;
}
