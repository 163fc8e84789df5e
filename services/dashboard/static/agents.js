// The agents: one row each, and what can be done to them.

import { post } from "./api.js";
import { el, keyed, setText, showError } from "./dom.js";
import { putTime } from "./text.js";

const section = document.getElementById("agents");
const table = section.querySelector("table");
const empty = section.querySelector(".empty");
const error = section.querySelector(".error");

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
  sleep: "falling asleep",
};

/** The manager first, then by name: the order never changes under the pointer. */
export function byName(a, b) {
  if (a.name === b.name) return 0;
  if (a.name === "manager") return -1;
  if (b.name === "manager") return 1;
  return a.name < b.name ? -1 : 1;
}

export function renderAgents(mirror, writeTo) {
  const jobs = new Map(mirror.rows("jobs").map((job) => [job.agent, job]));
  const agents = mirror.rows("agents");
  const known = new Set(agents.map((agent) => agent.name));
  for (const [name, job] of jobs)
    if (!known.has(name) && job.verb === "spawn") agents.push({ name, state: "stopped" });
  agents.sort(byName);
  table.hidden = agents.length === 0;
  empty.hidden = agents.length > 0 || mirror.tables.services.lifecycle?.available !== true;
  keyed(
    table.tBodies[0],
    agents,
    (agent) => agent.name,
    (agent) => makeRow(agent.name, writeTo),
    (row, agent) => updateRow(row, agent, jobs.get(agent.name)),
  );
}

function makeRow(name, writeTo) {
  const cell = (className, ...children) =>
    el("td", { className, role: "cell" }, ...children);
  const writeButton = el(
    "button",
    { type: "button", className: "name quiet", title: `Write to ${name}` },
    name,
  );
  writeButton.addEventListener("click", () => writeTo(name));
  const buttons = VERBS.map(({ verb, label }) => {
    const button = el("button", { type: "button", data: { verb } }, label);
    button.setAttribute("aria-label", `${label} ${name}`);
    button.addEventListener("click", () => act(name, verb, button));
    return button;
  });
  return el(
    "tr",
    { role: "row" },
    el("th", { scope: "row", role: "rowheader" }, writeButton, el("span", { className: "model" })),
    cell("state", el("span", { className: "badge" }), el("time")),
    cell("turn", el("span", { className: "badge" }), el("time")),
    cell("actions", ...buttons),
  );
}

function updateRow(row, agent, job) {
  const state = row.querySelector(".state");
  putState(state, job ? "busy" : agent.state, job ? (DOING[job.verb] ?? job.verb) : agent.state, agent.since);
  state.title = agent.enabled === false ? "It stays off when the host starts again." : "";
  const turn = agent.turn_state ?? "offline";
  putState(row.querySelector(".turn"), turn, turn.replace("-", " "), agent.turn_since);
  setText(row.querySelector(".model"), agent.model || "");
  row.setAttribute("aria-busy", String(Boolean(job)));
  for (const [index, button] of row.querySelectorAll(".actions button").entries())
    button.disabled = Boolean(job) || !VERBS[index].useful(agent);
}

function putState(cell, state, text, since) {
  cell.dataset.state = state;
  setText(cell.querySelector(".badge"), text);
  putTime(cell.querySelector("time"), since);
}

async function act(name, verb, button) {
  showError(error);
  button.disabled = true;
  try {
    await post(`/api/agents/${encodeURIComponent(name)}/${verb}`);
  } catch (failure) {
    showError(error, failure.message);
    button.disabled = false;
  }
}
