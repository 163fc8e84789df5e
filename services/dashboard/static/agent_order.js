// The states of agents: in words, in which order agents are shown, and which of them need the operator.

/**
 * Return the turn state to show. Until the harness of a running container reports for the first time,
 * lifecycle's own word for it is that of a container that does not run.
 */
export const turnOf = ({ state, turn_state: turn = "offline" }) =>
  turn === "offline" && (state === "running" || state === "paused") ? "no-report" : turn;

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

/** The crashes after which an agent is said to crash again and again. */
const LOOP = 3;

/** Return the notice about the crashes of an agent, if it has crashed again and again. */
export function crashLoop(mirror, name) {
  const notice = mirror.tables.notices?.[`crash ${name}`];
  return notice && notice.times >= LOOP ? notice : null;
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
export function groupOf(mirror, agent, job) {
  const turn = turnOf(agent);
  if (agent.state === "failed" || ["error", "needs-login"].includes(turn) || crashLoop(mirror, agent.name))
    return "in trouble";
  if (job || BUSY.has(turn) || agent.state === "starting" || agent.state === "stopping") return "busy";
  if (agent.state === "paused" || turn === "held" || turn === "harness-away") return "held back";
  return STILL[agent.state] ?? "idle";
}
