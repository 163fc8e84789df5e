// The facts about one agent, as pairs of a term and a text.

import { el } from "./dom.js";
import { bytes } from "./text.js";

const AMOUNTS = {
  memory_high: ["memory throttled above", bytes],
  memory_max: ["memory limit", bytes],
  cpu_quota: ["CPU limit", (value) => `${value} %`],
  cpu_weight: ["CPU weight", String],
  io_weight: ["I/O weight", String],
  tasks_max: ["task limit", String],
  disk_max: ["disk limit", bytes],
};

const shown = new WeakMap(); // the pairs that each list shows

/** Show the facts in an agent's row, or its usage, if `row` has that. */
export function putFacts(list, row) {
  const pairs = row.usage ? usage(row.usage) : facts(row);
  const now = JSON.stringify(pairs);
  if (shown.get(list) === now) return; // a selection in the list stays
  shown.set(list, now);
  const nodes = pairs.flatMap(([word, text, bad]) => {
    const value = el("dd", { className: bad ? "bad" : "", dir: "auto" }, text);
    return [el("dt", {}, word), value];
  });
  list.replaceChildren(...nodes);
}

function facts(agent) {
  return [
    ["at boot", agent.enabled ? "starts" : "does not start"],
    ["login", loginOf(agent)],
    ["version", agent.stale ? "needs an update" : "current", agent.stale],
    ["deployed", agent.deployed_commit ? agent.deployed_commit.slice(0, 10) : "the initial configuration"],
    ["image", !agent.image || agent.image === "/" ? "the host's /usr" : agent.image],
    network(agent.network),
    ["limits", limits(agent.resources)],
    ["container", agent.machine ?? "–"],
    ["its page", pageOf(agent)],
  ];
}

function pageOf({ name, port, network: rules }) {
  if (!port) return "none: all ports are taken";
  if (rules?.mode === "host") return `http://${name}.localhost:${port}, on the host`;
  return `port ${port} of its localhost`;
}

function loginOf(agent) {
  if (agent.logged_in) return agent.credential === "key" ? "the API key" : "yes";
  return agent.credential === "key" ? "no: the API key is refused" : "no";
}

function network(rules) {
  const [label, text, bad] = reached(rules);
  if (rules?.until_deploy) return [label, `${text} (until the next deployment)`, bad];
  if (rules?.next_mode) return [label, `${text} (${rules.next_mode} at the next start)`, bad];
  return [label, text, bad];
}

function reached(rules) {
  if (rules?.mode === "none") return ["network", "none: the model only"];
  if (rules?.mode === "gateway") return ["network", `gateway: the model, ${rules.egress?.join(", ") || "and nothing else"}`];
  if (!rules?.deny?.length) return ["network", "all addresses allowed"];
  const denied = `denied: ${rules.deny.join(", ")}`;
  const allowed = rules.allow.length ? `; allowed: ${rules.allow.join(", ")}` : "";
  const dns = rules.name_servers.length ? `; on port 53 only: ${rules.name_servers.join(", ")}` : "";
  const text = denied + allowed + dns;
  if (rules.filtered) return ["network", text];
  return ["network", `NOT FILTERED: this host cannot filter addresses. To be ${text}`, true];
}

function limits(resources) {
  const known = Object.entries(resources ?? {}).map(([key, value]) => {
    const [word, show] = AMOUNTS[key] ?? [key, String];
    return `${word} ${show(value)}`;
  });
  return known.join("; ") || "none";
}

function usage(used) {
  const peak = (value, show) => (value === undefined ? "" : ` (peak ${show(value)})`);
  const pairs = [
    ["memory", used.memory, (value) => bytes(value) + peak(used.memory_peak, bytes)],
    ["CPU time", used.cpu, (value) => `${(value / 1e6).toFixed(1)} s`],
    ["disk", used.disk, bytes],
    ["tasks", used.tasks, (value) => value + peak(used.tasks_peak, String)],
  ];
  return pairs.filter(([, value]) => value !== undefined).map(([word, value, show]) => [word, show(value)]);
}
