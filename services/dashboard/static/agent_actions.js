// What the operator can do to an agent, for menus and buttons: which actions apply now, those that ask
// first, and those that need values.

import { decide, post } from "./api.js";
import { budgetsOf } from "./budgets.js";
import { ask, askFor } from "./confirm.js";
import { bytes } from "./text.js";

/** The states of a container that runs, or begins to. */
const UP = new Set(["running", "starting", "paused"]);
/** The turn states in which work would be lost. */
const WORKING = new Set(["thinking", "compacting", "waiting"]);
/** A turn may also wait in `rate-limited` and `error` for its next try; without one, the harness refuses. */
const CANCELLABLE = new Set([...WORKING, "rate-limited", "error"]);

const isUp = ({ state }) => UP.has(state);
const isStill = ({ state }) => !UP.has(state);
/** Return whether an agent works on something. */
export const isWorking = (agent) => WORKING.has(agent.turn_state);

/** Lifecycle's changes, with the names of their buttons. */
export const VERBS = [
  { verb: "start", label: "Start", fits: isStill },
  { verb: "stop", label: "Stop", fits: (agent) => isUp(agent) || agent.state === "sleeping" },
  { verb: "kill", label: "Kill…", fits: (agent) => isUp(agent) || agent.state === "stopping" },
  { verb: "restart", label: "Restart", fits: isUp },
  { verb: "rebuild", label: "Rebuild", fits: () => true },
  { verb: "update", label: "Update", fits: () => true },
  { verb: "pause", label: "Pause", fits: ({ state }) => state === "running" },
  { verb: "resume", label: "Resume", fits: ({ state }) => state === "paused" },
];

/** Return whether a change may be ordered beside a job: a kill hurries a stop. */
export const mayFollow = ({ verb }, job) => !job || (verb === "kill" && job.verb === "stop" && job.state === "running");

const LOSSES = {
  stop: ["Stop", "Its turn ends here, and it stays stopped until you start it."],
  kill: ["Kill", "All its processes end at once, and what they have not written yet is lost. It stays stopped until you start it."],
  restart: ["Restart", "Its turn is cut off."],
  rebuild: ["Rebuild", "If something needs a repair, its turn may be cut off."],
};

const path = (name) => `/api/agents/${encodeURIComponent(name)}`;

/**
 * Change an agent. A change that ends a turn, the end of the manager, and each kill ask first; to kill a working
 * agent, its name is typed. Return whether it was done.
 */
export async function change(agent, verb) {
  const [word, sentence] = LOSSES[verb] ?? [];
  const reasons = [];
  const isAtWork = isWorking(agent);
  if (isAtWork) reasons.push(`${agent.name} is working (${agent.turn_state}).`);
  if (isAtWork || verb === "kill") reasons.push(sentence);
  if (agent.name === "manager" && ["stop", "kill"].includes(verb))
    reasons.push("Without the manager, nobody leads the other agents.");
  if (word && reasons.length > 0) {
    const typed = isAtWork && verb === "kill" ? agent.name : "";
    const options = { verb: `${word} ${agent.name}`, typed };
    if (!(await ask(`${word} ${agent.name}?`, reasons.join(" "), options))) return false;
  }
  await post(`${path(agent.name)}/${verb}`);
  return true;
}

/** Undo a job; its agent becomes what it was. */
export const cancelJob = ({ id }) => decide(`/api/jobs/${id}/cancel`);

/** Let an agent's messages be delivered again. */
export const unhold = ({ name }) => post(`${path(name)}/unhold`);

/** Interrupt an agent's turn. */
export const cancelTurn = ({ name }) => post(`${path(name)}/cancel`);

/** End an agent, and its data if `purge`, once its name was typed. */
export async function destroy({ name }, purge) {
  const title = purge ? `Delete ${name} and its data?` : `Destroy ${name}?`;
  const sentence = purge
    ? "Its container, its files and the history of its configuration on this host are deleted. This cannot be undone."
    : "Its container ends, and nobody can write to it. Only /state, /work, its login and its configuration are kept: spawning the same name revives it.";
  const verb = purge ? "Delete for good" : "Destroy";
  if (await ask(title, sentence, { verb, typed: name })) await post(`${path(name)}/destroy`, { name, purge });
}

const AMOUNTS = [
  ["memory_max", "Memory, at most", bytes, "512M or 4G"],
  ["memory_high", "Memory, slowed down above", bytes, "512M or 4G"],
  ["cpu_quota", "Processor", (value) => `${value}%`, "200% is two processors"],
  ["cpu_weight", "Processor, share", String, "1 to 10000"],
  ["io_weight", "Disk access, share", String, "1 to 10000"],
  ["tasks_max", "Processes", String, "a number"],
  ["disk_max", "Disk space", bytes, "16G"],
];

/** Ask for an agent's limits on the host, and set those that were typed. */
export const setLimits = ({ name, resources = {} }) =>
  askFor(
    `Limits of ${name}`,
    "An empty line changes nothing. `max` means no limit; `default` is the limit of the configuration.",
    {
      verb: "Set limits",
      fields: AMOUNTS.map(([key, label, show, hint]) => ({
        name: key,
        label,
        placeholder: resources[key] === undefined ? "no limit" : `now ${show(resources[key])}`,
        hint,
      })),
      submit: (values) => {
        const typed = Object.entries(values).filter(([, value]) => value !== "");
        if (typed.length === 0) throw new Error("Type at least one limit.");
        return post(`${path(name)}/limits`, Object.fromEntries(typed));
      },
    },
  );

const PERIODS = [
  ["day", "a day"],
  ["week", "a week"],
  ["total", "in total"],
];
const MILLION = 1_000_000;
const UNITS = { k: 1e3, M: 1e6, G: 1e9 };

/** Ask for the limits of an agent's cost, and set those that were changed. */
export function setBudget(mirror, { name }) {
  const known = new Map(budgetsOf(mirror, "agent", name).map((budget) => [budget.period, budget]));
  const before = {};
  const fields = PERIODS.flatMap(([period, words]) => {
    const { limit = 0, raised = 0, limit_tokens: tokens = 0, raised_tokens: more = 0 } = known.get(period) ?? {};
    before[period] = limit ? String((limit - raised) / MILLION) : "";
    before[`${period}_tokens`] = tokens ? String(tokens - more) : "";
    return [
      { name: period, label: `Dollars ${words}`, value: before[period], placeholder: "no limit" },
      { name: `${period}_tokens`, label: `Tokens ${words}`, value: before[`${period}_tokens`], placeholder: "no limit, or such as 500k" },
    ];
  });
  return askFor(
    `Budget of ${name}`,
    "At 80 % you are warned; at the limit the agent is held, and you are asked. An empty line means no limit.",
    {
      verb: "Set budget",
      fields,
      submit: (values) => {
        const limits = {};
        for (const [key, typed] of Object.entries(values))
          if (typed !== before[key]) limits[key] = key.endsWith("_tokens") ? tokensOf(typed) : dollarsOf(typed);
        if (Object.keys(limits).length === 0) throw new Error("Nothing was changed.");
        return post(`${path(name)}/budget`, limits);
      },
    },
  );
}

function dollarsOf(typed) {
  if (typed === "") return 0;
  const match = /^\$?(\d{1,8})(?:\.(\d{1,6}))?$/u.exec(typed);
  const amount = match ? Number(match[1]) * MILLION + Number((match[2] ?? "").padEnd(6, "0")) : 0;
  if (!amount) throw new Error(`“${typed}” is not a limit: give dollars such as 5 or 2.50, or nothing.`);
  return amount;
}

function tokensOf(typed) {
  if (typed === "") return 0;
  const match = /^(\d{1,15})([kMG]?)$/u.exec(typed);
  const amount = match ? Number(match[1]) * (UNITS[match[2]] ?? 1) : 0;
  if (!amount || amount > 1e15) throw new Error(`“${typed}” is not a limit: give tokens such as 500k or 2M, or nothing.`);
  return amount;
}

/**
 * Return the groups of a menu with all that applies to an agent now.
 * @param run called with an action, which it carries out and whose error it shows
 * @param options `writeTo`: called with a name to write to, without it there is no such item; `watch`: whether
 *   there is a link to the agent's page; `without`: verbs that have buttons beside the menu
 */
export function actionsOf(mirror, agent, job, run, { writeTo, watch = true, without = new Set() } = {}) {
  const { name } = agent;
  const act = (label, action, more = {}) => ({ label, run: () => run(action), ...more });
  const first = [];
  const exists = name in mirror.tables.agents; // it may be about to be created
  if (writeTo && exists) first.push({ label: `Write to ${name}`, verb: "write", run: () => writeTo(name) });
  if (watch && exists) first.push({ label: "Watch", verb: "watch", href: `/agents/${name}` });
  if (CANCELLABLE.has(agent.turn_state)) first.push(act("Cancel turn", () => cancelTurn(agent), { verb: "cancel" }));
  if (agent.turn_state === "held") first.push(act("Unhold", () => unhold(agent), { verb: "unhold" }));
  if (job?.may_cancel && !without.has("cancel-job"))
    first.push(act(`Cancel the ${job.verb}`, () => cancelJob(job), { verb: "cancel-job" }));
  const verbs = VERBS.filter((one) => one.fits(agent) && mayFollow(one, job) && !without.has(one.verb));
  return [
    first,
    verbs.map(({ verb, label }) => act(label, () => change(agent, verb), { verb, bad: verb === "kill" })),
    [
      act("Limits…", () => setLimits(agent), { verb: "limits" }),
      act("Budget…", () => setBudget(mirror, agent), { verb: "budget" }),
    ].filter(() => exists),
    job
      ? []
      : [
          act("Destroy…", () => destroy(agent, false), { verb: "destroy", bad: true }),
          act("Purge…", () => destroy(agent, true), { verb: "purge", bad: true }),
        ],
  ];
}
