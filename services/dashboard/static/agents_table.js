// The table of agents: one row each, with buttons.

import { makeButtons, putState, putTurn, updateButtons } from "./agent_controls.js";
import { makeBudget, renderHiveBudgets, tightest, updateShortBudget } from "./budgets.js";
import { el, keyed, setText } from "./dom.js";
import { putText, textOf } from "./text.js";

const section = document.getElementById("agents");
const table = section.querySelector("table");
const budgets = section.querySelector(".budgets");
const empty = section.querySelector(".empty");
const error = section.querySelector(".error");

/** Order agents: the manager first, then by name. The order never changes under the pointer. */
export function byName(a, b) {
  if (a.name === b.name) return 0;
  if (a.name === "manager") return -1;
  if (b.name === "manager") return 1;
  return a.name < b.name ? -1 : 1;
}

/**
 * Render the table.
 * @param writeTo called with the name of an agent to write to
 */
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
    (row, agent) => updateRow(row, agent, jobs.get(agent.name), tightest(mirror, agent.name)),
  );
  renderHiveBudgets(mirror, budgets);
}

function makeRow(name, writeTo) {
  const cell = (className, ...children) =>
    el("td", { className, role: "cell" }, ...children);
  const write = el("button", { type: "button", className: "write" }, "Write");
  write.setAttribute("aria-label", `Write to ${name}`);
  write.addEventListener("click", () => writeTo(name));
  return el(
    "tr",
    { role: "row" },
    el(
      "th",
      { scope: "row", role: "rowheader" },
      el("a", { className: "name", href: `/agents/${name}` }, name),
      el("span", { className: "model" }),
      makeBudget(),
    ),
    cell("state", el("span", { className: "badge" }), el("time")),
    cell("turn", el("span", { className: "badge" }), el("time"), el("span", { className: "held-why", dir: "auto" })),
    cell("actions", write, ...makeButtons(name, error)),
  );
}

function updateRow(row, agent, job, budget) {
  const bar = row.querySelector(".budget");
  if (budget) updateShortBudget(bar, budget);
  bar.hidden = !budget;
  putState(row.querySelector(".state"), agent, job);
  putTurn(row.querySelector(".turn"), agent);
  const why = row.querySelector(".held-why");
  why.hidden = agent.turn_state !== "held" || textOf(agent.turn_reason) === "";
  if (!why.hidden) putText(why, agent.turn_reason);
  setText(row.querySelector(".model"), agent.model || "");
  row.setAttribute("aria-busy", String(Boolean(job)));
  updateButtons(row.querySelectorAll("[data-verb]"), agent, job);
}
