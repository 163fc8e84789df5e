// The states and the buttons of an agent, on the main page and on its own page.

import { post } from "./api.js";
import { el, setText, showError } from "./dom.js";
import { putTime, textOf } from "./text.js";

const UP = new Set(["running", "starting", "paused"]);
const VERBS = [
  { verb: "start", label: "Start", useful: (agent) => !UP.has(agent.state) },
  { verb: "kill", label: "Kill", useful: (agent) => UP.has(agent.state) || agent.state === "sleeping" },
  { verb: "restart", label: "Restart", useful: (agent) => UP.has(agent.state) },
];
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

/** Make a button for each verb; `error` is the line that shows a failure. */
export function makeButtons(name, error) {
  return VERBS.map(({ verb, label }) => {
    const button = el("button", { type: "button", data: { verb } }, label);
    button.setAttribute("aria-label", `${label} ${name}`);
    button.addEventListener("click", () => act(name, verb, button, error));
    return button;
  });
}

/** Disable the buttons that do not apply now; `job` is the agent's running job, if any. */
export function updateButtons(buttons, agent, job) {
  for (const [index, button] of buttons.entries())
    button.disabled = Boolean(job) || !VERBS[index].useful(agent);
}

/** Show the state of the agent's container, or the job that is changing it. */
export function putState(node, agent, job) {
  if (job) put(node, "busy", DOING[job.verb], agent.since);
  else put(node, agent.state, agent.state, agent.since);
  node.title = agent.enabled === false ? "This agent does not start when the host boots." : "";
}

/** Show the state of the agent's harness. */
export function putTurn(node, agent) {
  const turn = agent.turn_state ?? "offline";
  put(node, turn, turn.replace("-", " "), agent.turn_since);
  node.title = textOf(agent.turn_reason ?? "");
}

function put(node, state, text, since) {
  node.dataset.state = state;
  setText(node.querySelector(".badge"), text);
  putTime(node.querySelector("time"), since);
}

async function act(name, verb, button, error) {
  showError(error);
  button.disabled = true;
  try {
    await post(`/api/agents/${encodeURIComponent(name)}/${verb}`);
  } catch (failure) {
    showError(error, failure.message);
    button.disabled = false;
  }
}
