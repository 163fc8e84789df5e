// The states and the buttons of an agent, on the main page and on its own page.

import { actionsOf, change, VERBS } from "./agent_actions.js";
import { turnOf, turnWords } from "./agent_order.js";
import { el, setText, showError } from "./dom.js";
import { openMenu } from "./menu.js";
import { putTime, textOf } from "./text.js";

/** The verbs that have a button on the agent's own page; the menu has all of them. */
const BUTTONS = new Set(["start", "kill", "restart", "resume"]);
/** Those that are shown only where they apply. */
const RARE = new Set(["resume"]);
const DOING = {
  spawn: "being created",
  destroy: "being destroyed",
  purge: "being deleted",
  start: "starting",
  stop: "stopping",
  restart: "restarting",
  rebuild: "being rebuilt",
  update: "being updated",
  deploy: "being deployed",
  sleep: "falling asleep",
};

/** Return the words for the job that changes an agent. */
export const doing = (job) => DOING[job.verb] ?? job.verb;

/**
 * The errors of actions on agents. Each is about the agent as it was: when the agent changes, its error goes.
 */
export class ActionErrors {
  #line;
  #of = new Map(); // the agents whose actions failed, with their states at that time

  /** @param line the line that shows the last error */
  constructor(line) {
    this.#line = line;
  }

  /** Carry out an action, and show its error. */
  async run(agent, action) {
    this.#clear();
    try {
      await action();
    } catch (failure) {
      this.#of = new Map([[agent.name, stateOf(agent)]]);
      showError(this.#line, failure.message);
    }
  }

  /** Note the present state of an agent; undefined: there is none any more. */
  update(name, agent, job) {
    const before = this.#of.get(name);
    if (before !== undefined && (job || before !== stateOf(agent))) this.#clear();
  }

  #clear() {
    this.#of.clear();
    showError(this.#line);
  }
}

const stateOf = (agent) => (agent ? `${agent.state} ${agent.since} ${agent.turn_state} ${agent.turn_since}` : "");

/**
 * Make the buttons of the agent's own page.
 * @param errors an ActionErrors
 * @param current returns the agent's row, and its job if it has one
 */
export function makeButtons(name, errors, mirror, current) {
  const buttons = VERBS.filter(({ verb }) => BUTTONS.has(verb)).map(({ verb, label }) => {
    const button = el("button", { type: "button", data: { verb, needs: "operator" } }, label);
    button.setAttribute("aria-label", `${label} ${name}`);
    button.addEventListener("click", async () => {
      const { agent } = current();
      if (!agent) return;
      button.disabled = true;
      let begun = false;
      await errors.run(agent, async () => (begun = await change(agent, verb)));
      if (!begun) updateButtons(buttons, current().agent ?? agent, current().job);
    });
    return button;
  });
  const more = makeMenuButton(name, errors, mirror, current, { watch: false });
  setText(more, "More…");
  return [...buttons, more];
}

/** Make a button that opens the menu of all actions on an agent; `options` are those of `actionsOf`. */
export function makeMenuButton(name, errors, mirror, current, options) {
  const button = el("button", { type: "button", className: "menu-of", data: { needs: "operator" } }, "⋯");
  button.setAttribute("aria-label", `More… actions on ${name}`);
  button.setAttribute("aria-haspopup", "menu");
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => {
    const { agent, job } = current();
    if (!agent) return;
    const run = (action) => errors.run(agent, action);
    openMenu(button, name, actionsOf(mirror, agent, job, run, options));
  });
  return button;
}

/** Disable the buttons that do not apply now; `job` is the agent's running job, if any. */
export function updateButtons(buttons, agent, job) {
  for (const button of buttons) {
    const found = VERBS.find(({ verb }) => verb === button.dataset.verb);
    if (!found) continue;
    button.disabled = Boolean(job) || !found.fits(agent);
    if (RARE.has(found.verb)) button.hidden = button.disabled;
  }
}

/** Show the state of the agent's container, or the job that is changing it. */
export function putState(node, agent, job) {
  if (job) put(node, "busy", doing(job), agent.since);
  else put(node, agent.state, agent.state, agent.since);
  node.title = agent.enabled === false ? "This agent does not start when the host boots." : "";
}

/** Show the state of the agent's harness. */
export function putTurn(node, agent) {
  const turn = turnOf(agent);
  put(node, turn, turnWords(turn), agent.turn_since || agent.since);
  node.title = turn === "no-report" ? "Its harness has not reported since the container started." : textOf(agent.turn_reason ?? "");
}

function put(node, state, text, since) {
  node.dataset.state = state;
  setText(node.querySelector(".badge"), text);
  putTime(node.querySelector("time"), since);
}
