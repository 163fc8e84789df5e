// What can be done to an agent, and how it stands: on the main page and on its own.

import { post } from "./api.js";
import { el, setText, showError } from "./dom.js";
import { putTime } from "./text.js";

const UP = new Set(["running", "starting", "paused"]);
const VERBS = [
  { verb: "start", label: "Start", useful: (agent) => !UP.has(agent.state) },
  { verb: "kill", label: "Kill", useful: (agent) => UP.has(agent.state) || agent.state === "sleeping" },
  { verb: "restart", label: "Restart", useful: (agent) => UP.has(agent.state) },
];
const DOING = {
  spawn: "being created",
  destroy: "being destroyed",
  purge: "being removed",
  start: "starting",
  stop: "stopping",
  restart: "restarting",
  rebuild: "being put right",
  update: "being updated",
  deploy: "being deployed",
  sleep: "falling asleep",
};

/** A button for each verb; `error` is the line that shows what failed. */
export function makeButtons(name, error) {
  return VERBS.map(({ verb, label }) => {
    const button = el("button", { type: "button", data: { verb } }, label);
    button.setAttribute("aria-label", `${label} ${name}`);
    button.addEventListener("click", () => act(name, verb, button, error));
    return button;
  });
}

/** Let the buttons rest that are of no use now; `job`: what is being done to the agent. */
export function updateButtons(buttons, agent, job) {
  for (const [index, button] of buttons.entries())
    button.disabled = Boolean(job) || !VERBS[index].useful(agent);
}

/** Show what the agent's container does, or what is being done to it. */
export function putState(node, agent, job) {
  if (job) put(node, "busy", DOING[job.verb] ?? job.verb, agent.since);
  else put(node, agent.state, agent.state, agent.since);
  node.title = agent.enabled === false ? "It stays off when the host starts again." : "";
}

/** Show what the agent's harness does. */
export function putTurn(node, agent) {
  const turn = agent.turn_state ?? "offline";
  put(node, turn, turn.replace("-", " "), agent.turn_since);
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
