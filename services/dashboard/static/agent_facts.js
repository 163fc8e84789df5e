// What is known of one agent, as pairs of a word and a text.

import { el } from "./dom.js";
import { bytes } from "./text.js";

const AMOUNTS = {
  memory_high: ["memory, slowed beyond", bytes],
  memory_max: ["memory, killed beyond", bytes],
  cpu_quota: ["processor", (value) => `${value} %`],
  cpu_weight: ["share of the processor", String],
  io_weight: ["share of the disk", String],
  tasks_max: ["processes", String],
};

const shown = new WeakMap(); // what each list shows

/** Show the facts of an agent's row, or what it uses: whichever `row` has. */
export function putFacts(list, row) {
  const pairs = row.usage ? usage(row.usage) : facts(row);
  const now = JSON.stringify(pairs);
  if (shown.get(list) === now) return; // what somebody has selected in it stays
  shown.set(list, now);
  const nodes = pairs.flatMap(([word, text, bad]) => {
    const value = el("dd", { className: bad ? "bad" : "", dir: "auto" }, text);
    return [el("dt", {}, word), value];
  });
  list.replaceChildren(...nodes);
}

function facts(agent) {
  return [
    ["at boot", agent.enabled ? "starts" : "stays off"],
    ["model", agent.model || "–"],
    ["context", `${agent.context_tokens ?? 0} tokens`],
    ["login", agent.logged_in ? "yes" : `none (hivectl login ${agent.name})`],
    ["version", agent.stale ? "needs an update" : "current", agent.stale],
    ["deployed", agent.deployed_commit ? agent.deployed_commit.slice(0, 10) : "never"],
    ["image", !agent.image || agent.image === "/" ? "the host's /usr" : agent.image],
    network(agent.network),
    ["limits", limits(agent.resources)],
    ["container", agent.machine ?? "–"],
    ["port", agent.port ? String(agent.port) : "none was left"],
  ];
}

function network(rules) {
  if (!rules?.deny?.length) return ["network", "may talk to all addresses"];
  const denied = `not ${rules.deny.join(", ")}`;
  const allowed = rules.allow.length ? `; all the same ${rules.allow.join(", ")}` : "";
  if (rules.filtered) return ["network", denied + allowed];
  return ["network", `NOT FILTERED, the host cannot; to be: ${denied}${allowed}`, true];
}

function limits(resources) {
  const known = Object.entries(resources ?? {}).map(([key, value]) => {
    const [word, show] = AMOUNTS[key] ?? [key, String];
    return `${word} ${show(value)}`;
  });
  return known.join("; ") || "none";
}

function usage(used) {
  const peak = (value, show) => (value === undefined ? "" : ` (at most ${show(value)})`);
  const pairs = [
    ["memory", used.memory, (value) => bytes(value) + peak(used.memory_peak, bytes)],
    ["processor time", used.cpu, (value) => `${(value / 1e6).toFixed(1)} s`],
    ["processes", used.tasks, (value) => value + peak(used.tasks_peak, String)],
  ];
  return pairs.filter(([, value]) => value !== undefined).map(([word, value, show]) => [word, show(value)]);
}
