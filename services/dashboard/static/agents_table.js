// The agents: a row each, with what an operator must know about them at a glance, and a menu of actions.
// The rows can be filtered, sorted and grouped; this browser keeps how.

import { doing, makeMenuButton } from "./agent_controls.js";
import { byName, crashLoop, groupOf, GROUPS, turnOf, turnWords } from "./agent_order.js";
import { makeBudget, renderHiveBudgets, tightest, updateShortBudget } from "./budgets.js";
import { el, keyed, setText } from "./dom.js";
import { age, exactly, money, tokens } from "./figures.js";
import { isMenuOpen } from "./menu.js";
import { recall, remember } from "./remembered.js";
import { makeLine, putLine } from "./sparkline.js";
import { bytes, joined, moment, plural, putText, textOf, time } from "./text.js";

const KEY = "agents";
/** The milliseconds between two changes of the order; rows do not move while they are pointed at. */
const ORDER_MS = 3000;
const TICK_MS = 10_000;

const section = document.getElementById("agents");
const table = section.querySelector("table");
const budgets = section.querySelector(".budgets");
const empty = section.querySelector(":scope > .empty");
const summary = section.querySelector(".summary");
const filter = document.getElementById("agents-filter");
const sort = document.getElementById("agents-sort");
const group = document.getElementById("agents-group");

const error = section.querySelector(":scope > .error");

const last = (list) => list?.at(-1) ?? 0;
const byNumber = (number) => (a, b) => number(b) - number(a) || byName(a.agent, b.agent);

const SORTS = {
  attention: (a, b) => GROUPS.indexOf(a.group) - GROUPS.indexOf(b.group) || byName(a.agent, b.agent),
  name: (a, b) => byName(a.agent, b.agent),
  state: byNumber(({ agent }) => sinceOf(agent)),
  cost: byNumber(({ cost }) => cost ?? 0),
  context: byNumber(({ agent }) => (agent.context_limit ? agent.context_tokens / agent.context_limit : agent.context_tokens ?? 0)),
  queue: byNumber(({ queue }) => queue),
  cpu: byNumber(({ sample }) => last(sample?.load)),
  memory: byNumber(({ sample }) => last(sample?.memory)),
};

const GROUPINGS = {
  none: null,
  state: ({ group }) => group,
  model: ({ agent }) => agent.model || agent.model_setting || "no model yet",
  commit: ({ agent }) => agent.deployed_commit?.slice(0, 10) || "never deployed",
};

let order = []; // the names, as they are shown
let ordered = 0; // when the order was made
let ordering = 0; // the timer that makes the next one
let pointed = false;
let render = () => {};

const ages = new Map(); // the times since when agents are in their states, by the elements that show them

/**
 * Render the rows.
 * @param writeTo called with the name of an agent to write to
 */
export function renderAgents(mirror, writeTo) {
  render = () => renderAgents(mirror, writeTo);
  const jobs = new Map(mirror.rows("jobs").map((job) => [job.agent, job]));
  const agents = [...mirror.rows("agents")];
  const known = new Set(agents.map((agent) => agent.name));
  for (const [name, job] of jobs)
    if (!known.has(name) && job.verb === "spawn") agents.push({ name, state: "stopped" });
  const { costs, queues, samples, services } = mirror.tables;
  const facts = agents.map((agent) => ({
    agent,
    job: jobs.get(agent.name),
    group: groupOf(agent, jobs.get(agent.name)),
    cost: costOf(costs[agent.name], services),
    budget: tightest(mirror, agent.name),
    queue: Object.values(queues?.[agent.name] ?? {}).reduce((sum, count) => sum + count, 0),
    sample: samples?.[agent.name],
    loop: crashLoop(agent),
  }));
  const shown = facts.filter(fits);
  table.hidden = agents.length === 0;
  section.querySelector(".tools").hidden = agents.length === 0;
  empty.hidden = agents.length > 0 || services.lifecycle?.available !== true;
  sum(facts, shown);
  for (const node of ages.keys()) if (!node.isConnected) ages.delete(node);
  const current = (name) => () => {
    const job = mirror.rows("jobs").find((one) => one.agent === name);
    return { agent: mirror.tables.agents[name] ?? (job && { name, state: "stopped" }), job };
  };
  keyed(
    table.tBodies[0],
    grouped(inOrder(shown)),
    (item) => (item.heading === undefined ? item.agent.name : `group ${item.heading}`),
    (item) => (item.heading === undefined ? makeRow(item.agent.name, mirror, current(item.agent.name), writeTo) : makeHeading()),
    (row, item) => (item.heading === undefined ? updateRow(row, item) : setText(row.querySelector("th"), `${item.heading} (${item.count})`)),
    (item) => item.heading !== undefined,
  );
  renderHiveBudgets(mirror, budgets);
  tick();
}

const costOf = (known, services) => {
  if (known) return known.ends > Date.now() * 1000 ? known.cost : 0;
  return services.ledger?.available ? 0 : null;
};

const sinceOf = (agent) => (agent.state === "running" || agent.state === "paused" ? agent.turn_since : 0) || agent.since || 0;

/** Return whether the filter's words are all in what the row shows. */
function fits({ agent, group, loop }) {
  if (filter.value === "") return true;
  const text = [
    agent.name,
    agent.state,
    turnOf(agent),
    group,
    agent.model,
    textOf(agent.activity ?? ""),
    agent.deployed_commit,
    ...chipsOf(agent, loop).map(([word]) => word),
  ];
  const all = text.join(" ").toLowerCase();
  return filter.value.toLowerCase().split(/\s+/u).every((word) => all.includes(word));
}

/** Say how many agents there are in the groups that matter. */
function sum(facts, shown) {
  const words = [];
  for (const name of ["in trouble", "busy", "held back"]) {
    const count = facts.filter(({ group }) => group === name).length;
    if (count) words.push(`${count} ${name}`);
  }
  const all = shown.length < facts.length ? `${shown.length} of ${facts.length}` : String(facts.length);
  setText(summary, facts.length ? [all, ...words].join(" · ") : "");
}

// The order stays while somebody points at the rows or is in them, and changes at a pace: rows that moved
// all the time could be neither read nor pressed.
function inOrder(shown) {
  const wanted = shown.toSorted(SORTS[sort.value] ?? SORTS.attention).map(({ agent }) => agent.name);
  const names = new Set(wanted);
  const kept = order.filter((name) => names.has(name));
  const isSame = wanted.every((name, index) => name === kept[index]);
  const mayMove = !pointed && !isMenuOpen() && !table.querySelector(":focus-visible");
  const wait = ORDER_MS - (performance.now() - ordered);
  if (kept.length === 0 || (mayMove && wait <= 0)) {
    if (!isSame) ordered = performance.now();
    order = wanted;
  } else {
    // New agents come to their places, and the others stay where they are.
    const had = new Set(kept);
    order = kept;
    for (const [index, name] of wanted.entries()) {
      if (had.has(name)) continue;
      const before = index ? order.indexOf(wanted[index - 1]) : -1;
      order.splice(before + 1, 0, name);
    }
    if (!isSame && mayMove && !ordering)
      ordering = setTimeout(() => {
        ordering = 0;
        render();
      }, wait);
  }
  const place = new Map(order.map((name, index) => [name, index]));
  return shown.toSorted((a, b) => place.get(a.agent.name) - place.get(b.agent.name));
}

function grouped(items) {
  const keyOf = GROUPINGS[group.value];
  if (!keyOf) return items;
  const groups = Map.groupBy ? Map.groupBy(items, keyOf) : groupBy(items, keyOf);
  const names = [...groups.keys()];
  if (group.value === "state") names.sort((a, b) => GROUPS.indexOf(a) - GROUPS.indexOf(b));
  else names.sort();
  return names.flatMap((name) => [{ heading: name, count: groups.get(name).length }, ...groups.get(name)]);
}

function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

function makeHeading() {
  const head = el("th", { scope: "rowgroup", colSpan: 11 });
  head.setAttribute("role", "rowheader");
  return el("tr", { className: "group", role: "row" }, head);
}

function makeRow(name, mirror, current, writeTo) {
  const cell = (className, ...children) => el("td", { className, role: "cell" }, ...children);
  return el(
    "tr",
    { role: "row" },
    el("th", { scope: "row", role: "rowheader" }, el("a", { className: "name", href: `/agents/${name}` }, name)),
    cell("state", el("span", { className: "unseen" }), el("span", { className: "badge" }), " ", el("span", { className: "age" })),
    cell("doing", el("span", { className: "chips" }), el("span", { className: "activity", dir: "auto" })),
    cell("model"),
    cell("context number"),
    cell("cost number", el("span", { className: "money" }), makeBudget()),
    cell("cpu", makeLine("load")),
    cell("mem", makeLine("memory")),
    cell("queue number"),
    cell("commit"),
    cell("actions", makeMenuButton(name, error, mirror, current, { writeTo })),
  );
}

const shownFacts = new WeakMap(); // the facts that each row shows

function updateRow(row, facts) {
  const before = shownFacts.get(row);
  // The mirror replaces rows and never changes them.
  if (before && Object.entries(facts).every(([key, value]) => before[key] === value)) return;
  shownFacts.set(row, facts);
  const { agent, job, cost, budget, queue, sample, loop, group } = facts;
  row.dataset.group = group;
  row.setAttribute("aria-busy", String(Boolean(job)));
  putNow(row.querySelector(".state"), agent, job);
  putDoing(row, agent, loop);
  const model = row.querySelector(".model");
  // The maker and the date are in the tooltip.
  setText(model, (agent.model ?? "").replace(/^claude-/u, "").replace(/-20\d{6}$/u, ""));
  model.title = agent.model ?? "";
  putContext(row.querySelector(".context"), agent);
  setText(row.querySelector(".money"), cost ? money(cost) : "");
  row.querySelector(".cost").title = cost === null ? "The ledger does not answer." : "Cost today";
  const bar = row.querySelector(".budget");
  if (budget) updateShortBudget(bar, budget);
  bar.hidden = !budget;
  putSample(row, agent, sample);
  const waiting = row.querySelector(".queue");
  setText(waiting, queue ? String(queue) : "");
  waiting.title = queue ? `${plural(queue, "message")} in its inbox` : "";
  const commit = row.querySelector(".commit");
  setText(commit, agent.deployed_commit ? agent.deployed_commit.slice(0, 7) : "");
  commit.title = agent.deployed_commit ? `Deployed: ${agent.deployed_commit}` : "";
  row.querySelector(".name").title = commit.title;
}

/** Show the one state that matters: of the job, else of the container, else of the turn. */
function putNow(node, agent, job) {
  const runs = agent.state === "running";
  const turn = turnOf(agent);
  node.dataset.state = job ? "busy" : runs ? turn : agent.state;
  setText(node.querySelector(".unseen"), runs && !job ? `${agent.state}, ` : "");
  setText(node.querySelector(".badge"), job ? doing(job) : runs ? turnWords(turn) : agent.state);
  const since = sinceOf(agent);
  const shown = node.querySelector(".age");
  if (since) ages.set(shown, since);
  else ages.delete(shown);
  const boot = agent.enabled === false ? "It does not start when the host boots." : "";
  node.title = [`Container: ${agent.state}, since ${moment(agent.since) || "ever"}.`, boot].join(" ").trim();
}

/** Return the chips of an agent: a word, a sentence, and whether it is bad. */
function chipsOf(agent, loop) {
  const chips = [];
  if (agent.state === "running" && turnOf(agent) === "needs-login") chips.push(["login", "It needs a login.", true]);
  if (loop) chips.push(["crash loop", `${agent.crashes} crashes, the last at ${moment(agent.last_crash)}.`, true]);
  if (agent.network?.mode === "host" && !agent.network.filtered && agent.network.deny?.length)
    chips.push(["unfiltered", "This host cannot filter its network: it reaches everything.", true]);
  if (agent.port_shared_with?.length)
    chips.push(["port conflict", `Port ${agent.port} is also that of ${agent.port_shared_with.join(", ")}. Rebuild it for another one.`, true]);
  if (agent.turn_state === "held") chips.push(["held", "Its messages stay queued.", false]);
  if (agent.stale) chips.push(["stale", "Another version of Hyperhive made its container: update it.", false]);
  return chips;
}

function putDoing(row, agent, loop) {
  const chips = chipsOf(agent, loop);
  keyed(
    row.querySelector(".chips"),
    chips,
    ([word]) => word,
    ([word]) => el("span", { className: "chip", data: { word } }, word),
    (node, [, sentence, bad]) => {
      node.title = sentence;
      node.classList.toggle("bad", bad);
    },
  );
  const line = row.querySelector(".activity");
  const parts = [];
  const reason = textOf(agent.turn_reason ?? "");
  const activity = textOf(agent.activity ?? "");
  if (activity && !reason.includes(activity)) parts.push(agent.activity);
  if (reason) parts.push(agent.turn_reason);
  if (agent.turn_until) parts.push(`until ${moment(agent.turn_until)}`);
  const text = joined(parts, " · ");
  const whole = textOf(text);
  if (line.dataset.text === whole) return;
  line.dataset.text = whole;
  putText(line, text);
  line.title = typeof text === "string" || text.every((part) => typeof part === "string") ? whole : "";
}

function putContext(node, agent) {
  const { context_tokens: used = 0, context_limit: limit = 0 } = agent;
  const part = limit ? used / limit : 0;
  node.dataset.level = part >= 0.85 ? "high" : part >= 0.7 ? "warm" : "";
  setText(node, used ? (limit ? `${Math.round(100 * part)}%` : tokens(used)) : "");
  node.title = used ? `Context: ${exactly(used)}${limit ? ` of ${exactly(limit)}` : ""} tokens` : "";
}

function putSample(row, agent, sample) {
  const [cpu, memory] = [row.querySelector(".load"), row.querySelector(".memory")];
  cpu.toggleAttribute("hidden", !sample);
  memory.toggleAttribute("hidden", !sample?.memory.length); // some hosts do not count it
  if (!sample) return;
  const at = `as of ${time(sample.at)}`;
  putLine(cpu, sample.load, Math.max(100, ...sample.load), `Processor ${last(sample.load)} %, ${at}`);
  const limit = agent.resources?.memory_max;
  const now = last(sample.memory);
  cpu.toggleAttribute("data-hot", last(sample.load) >= 90);
  memory.toggleAttribute("data-hot", Boolean(limit) && now >= 0.9 * limit);
  const of = limit ? ` of ${bytes(limit)}` : "";
  putLine(memory, sample.memory, limit ?? Math.max(...sample.memory), `Memory ${bytes(now)}${of}, ${at}`);
}

function tick() {
  for (const [node, since] of ages) setText(node, age(since));
}

/** Show the next ages; a crash loop ends when there was no crash for a while. */
function pass() {
  if (document.hidden) return;
  if (table.querySelector(".chip[data-word='crash loop']")) render();
  else tick();
}

// Nothing is asked of anybody: the ages that are shown grow by themselves.
setInterval(pass, TICK_MS);
document.addEventListener("visibilitychange", pass);

const known = recall(KEY) ?? {};
filter.value = known.filter ?? "";
for (const [control, value] of [[sort, known.sort], [group, known.group]])
  if ([...control.options].some((option) => option.value === value)) control.value = value;

function chosen() {
  remember(KEY, { filter: filter.value, sort: sort.value, group: group.value });
  order = [];
  render();
}

filter.addEventListener("input", chosen);
sort.addEventListener("change", chosen);
group.addEventListener("change", chosen);
filter.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || filter.value === "") return;
  filter.value = "";
  chosen();
});
table.addEventListener("pointerenter", ({ pointerType }) => (pointed = pointerType === "mouse"));
table.addEventListener("pointerleave", () => {
  pointed = false;
  render();
});
table.addEventListener("focusout", () => setTimeout(() => render()));
