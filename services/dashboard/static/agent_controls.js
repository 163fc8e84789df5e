// The states and the buttons of an agent, on the main page and on its own page.

import { actionsOf, cancelJob, change, mayFollow, VERBS } from "./agent_actions.js";
import { turnOf, turnWords } from "./agent_order.js";
import { attempt } from "./card_errors.js";
import { el, setText } from "./dom.js";
import { openMenu } from "./menu.js";
import { putTime, spelled } from "./text.js";

/** The verbs that have a button on the agent's own page; the menu has all of them. */
const BUTTONS = new Set(["start", "stop", "restart", "resume"]);
/** Those that are shown only where they apply. */
const RARE = new Set(["resume"]);
const DOING = {
  spawn: "being created",
  destroy: "being destroyed",
  purge: "being deleted",
  start: "starting",
  stop: "stopping",
  kill: "being killed",
  restart: "restarting",
  rebuild: "being rebuilt",
  update: "being updated",
  deploy: "being deployed",
  sleep: "falling asleep",
};

/** Return the words for the job that changes an agent. */
export const doing = (job) => (job.state === "cancelling" ? `${job.verb} is being cancelled` : (DOING[job.verb] ?? job.verb));

/** Carry out an action on an agent, and show its error in a line until the agent changes, or has a job. */
export const runOn = (line, { name }, action) =>
  attempt(
    line,
    ({ tables }) => {
      const { state, since, turn_state: turn, turn_since: changed } = tables.agents[name] ?? {};
      const jobs = Object.entries(tables.jobs).filter(([, job]) => job.agent === name);
      return JSON.stringify([state, since, turn, changed, jobs, tables.services.lifecycle?.available]);
    },
    action,
  );

/**
 * Make the buttons of the agent's own page.
 * @param error the line that shows errors
 * @param current returns the agent's row, and its job if it has one
 */
export function makeButtons(name, error, mirror, current) {
  const buttons = VERBS.filter(({ verb }) => BUTTONS.has(verb)).map(({ verb, label }) => {
    const button = el("button", { type: "button", data: { verb, needs: "operator" } }, label);
    button.setAttribute("aria-label", `${label} ${name}`);
    button.addEventListener("click", async () => {
      const { agent } = current();
      if (!agent) return;
      button.disabled = true;
      let begun = false;
      await runOn(error, agent, async () => (begun = await change(agent, verb)));
      if (!begun) updateButtons(buttons, current().agent ?? agent, current().job);
    });
    return button;
  });
  const cancel = el("button", { type: "button", hidden: true, data: { verb: "cancel-job", needs: "operator" } });
  cancel.addEventListener("click", () => {
    const { agent = { name }, job } = current();
    if (job) runOn(error, agent, () => cancelJob(job));
  });
  const without = new Set([...BUTTONS, "cancel-job"]);
  const more = makeMenuButton(name, error, mirror, current, { watch: false, without });
  setText(more, "More…");
  return [cancel, ...buttons, more];
}

/** Make a button that opens the menu of all actions on an agent; `options` are those of `actionsOf`. */
export function makeMenuButton(name, error, mirror, current, options) {
  const button = el("button", { type: "button", className: "menu-of", data: { needs: "operator" } }, "⋯");
  button.setAttribute("aria-label", `More… actions on ${name}`);
  button.setAttribute("aria-haspopup", "menu");
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => {
    const { agent, job } = current();
    if (!agent) return;
    const run = (action) => runOn(error, agent, action);
    openMenu(button, name, actionsOf(mirror, agent, job, run, options));
  });
  return button;
}

/** Disable the buttons that do not apply now; `job` is the agent's running job, if any. */
export function updateButtons(buttons, agent, job) {
  for (const button of buttons) {
    if (button.dataset.verb === "cancel-job") {
      button.hidden = !job?.may_cancel;
      setText(button, job ? `Cancel the ${job.verb}` : "");
    }
    const found = VERBS.find(({ verb }) => verb === button.dataset.verb);
    if (!found) continue;
    button.disabled = !mayFollow(found, job) || !found.fits(agent);
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
  node.title = turn === "no-report" ? "Its harness has not reported since the container started." : spelled(agent.turn_reason ?? "");
}

function put(node, state, text, since) {
  node.dataset.state = state;
  setText(node.querySelector(".badge"), text);
  putTime(node.querySelector("time"), since);
}
