// The states of agents: in words, in which order agents are shown, and which of them need the operator.

/** Return the turn state of an agent; one that is being created has none yet. */
export const turnOf = ({ turn_state: turn = "offline" }) => turn;

// The words of hivectl, too.
const WORDS = { "no-report": "no report yet" };

/** Return a turn state in words. */
export const turnWords = (turn) => WORDS[turn] ?? turn.replace("-", " ");

/** Order agents: the manager first, then by name. */
export function byName(a, b) {
  if (a.name === b.name) return 0;
  if (a.name === "manager") return -1;
  if (b.name === "manager") return 1;
  return a.name < b.name ? -1 : 1;
}

// The numbers of wire/records/lifecycle.py; a test compares them.
const CRASH_LOOP = 3;
const IN_A_ROW_US = 600_000_000;

/** Return whether lifecycle has seen the container of an agent crash again and again. */
export function crashLoop({ state, crashes = 0, last_crash: last = 0 }) {
  return crashes >= CRASH_LOOP && (state === "failed" || Date.now() * 1000 - last < IN_A_ROW_US);
}

/** The reasons for which an agent waits for the operator, the worst first. */
const NEEDS = [
  ["failed", ({ state }) => state === "failed"],
  ["needs-login", (agent) => turnOf(agent) === "needs-login"],
  ["error", (agent) => turnOf(agent) === "error"],
  ["held", (agent) => turnOf(agent) === "held"],
];

/** Return why an agent waits for the operator, or null. */
export const needOf = (agent) => NEEDS.find(([, holds]) => holds(agent))?.[0] ?? null;

/** Return the agents that wait for the operator, the worst first. */
export function needy(agents) {
  const rank = (agent) => NEEDS.findIndex(([need]) => need === needOf(agent));
  return agents.filter(needOf).sort((a, b) => rank(a) - rank(b) || byName(a, b));
}

const BUSY = new Set(["thinking", "compacting", "waiting", "rate-limited"]);
const STILL = { sleeping: "asleep", stopped: "stopped" };

/** The groups of agents by how much they want to be looked at. */
export const GROUPS = ["in trouble", "busy", "held back", "idle", "asleep", "stopped"];

/** Return the group of an agent. */
export function groupOf(agent, job) {
  const turn = turnOf(agent);
  if (agent.state === "failed" || ["error", "needs-login"].includes(turn) || crashLoop(agent)) return "in trouble";
  if (job || BUSY.has(turn) || agent.state === "starting" || agent.state === "stopping") return "busy";
  if (agent.state === "paused" || turn === "held" || turn === "harness-away") return "held back";
  return STILL[agent.state] ?? "idle";
}
