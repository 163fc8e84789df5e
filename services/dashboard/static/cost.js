// The page of costs: sums by day, agent, model and credential; budgets and limits of providers, live.

import { get } from "./api.js";
import { budgetsOf, makeBudget, updateBudget } from "./budgets.js";
import { openMirror } from "./common.js";
import { el, keyed, showError } from "./dom.js";
import { exactly, money, span, tokens } from "./figures.js";
import { daysUntil, plot } from "./plots.js";
import { putTime } from "./text.js";

const section = (id) => document.getElementById(id);
const filters = section("sums").querySelector("form");
const error = section("sums").querySelector(":scope > .error");
const KEYS = { agent: "agents", model: "models", credential: "credentials" };
const PAGE = 50; // requests that the server sends at once

let sums = null;
let load = 0; // the number of the current load; the answer to an older one is not used
let requests = [];

const mirror = openMirror(changed);

function changed(tables, isWhole) {
  const any = (...names) => names.some((name) => tables.has(name));
  if (any("budgets")) renderBudgets();
  if (any("limits")) renderLimits();
  if (any("agents")) renderNames();
  if (any("costs")) renderTotals();
  if (isWhole) refresh();
}

/** Return the chosen filters as a query. */
function query(more = {}) {
  const wanted = { agent: filters.agent.value, credential: filters.credential.value, ...more };
  return new URLSearchParams(Object.entries(wanted).filter(([, value]) => value !== "")).toString();
}

async function refresh() {
  const number = ++load;
  showError(error);
  try {
    const found = await get(`/api/costs?${query({ days: filters.days.value })}`);
    if (number !== load) return;
    sums = found;
    renderNames();
    renderSums();
  } catch (failure) {
    if (number === load) showError(error, failure.message);
  }
  if (number === load) await more(true);
}

// Ask for a page of requests: the newest, or those before the last one that is shown.
async function more(fromStart) {
  const here = section("requests");
  const number = load;
  showError(here.querySelector(".error"));
  try {
    const before = fromStart || requests.length === 0 ? "" : requests.at(-1).id;
    const found = (await get(`/api/requests?${query({ before })}`)).requests;
    if (number !== load) return;
    requests = fromStart ? found : [...requests, ...found];
    here.querySelector(".older").hidden = found.length < PAGE;
    renderRequests();
  } catch (failure) {
    if (number === load) showError(here.querySelector(".error"), failure.message);
  }
}

const today = () => new Intl.DateTimeFormat("sv").format(new Date()); // such as 2026-11-29

/** Return the cost of today, which is live; with a filter by credential, it is not known. */
function costToday() {
  if (filters.credential.value) return null;
  const rows = Object.entries(mirror.tables.costs).filter(([name]) => ["", name].includes(filters.agent.value));
  return rows.reduce((total, [, { cost, ends }]) => total + (ends > Date.now() * 1000 ? cost : 0), 0);
}

function renderTotals() {
  const list = section("sums").querySelector(".totals");
  const now = costToday();
  const all = sums?.days ?? [];
  const total = (key) => all.reduce((count, day) => count + day[key], 0);
  const figures = [
    ...(now === null ? [] : [["Today", money(now)]]),
    [`Last ${filters.days.value} days`, money(total("cost")) + (all.some((day) => day.unknown_price) ? "?" : "")],
    ["Requests", exactly(total("requests"))],
    ["Failed", exactly(total("failed"))],
    ["Input", tokens(total("input_tokens"))],
    ["From cache", tokens(total("cache_read_tokens"))],
    ["Output", tokens(total("output_tokens"))],
  ];
  list.replaceChildren(...figures.map(([word, text]) => el("div", {}, el("dt", {}, word), el("dd", {}, text))));
}

function renderSums() {
  renderTotals();
  const isEmpty = sums.days.length === 0;
  section("sums").querySelector(".empty").hidden = !isEmpty;
  section("sums").querySelector(".charts").hidden = isEmpty;
  renderCharts();
  for (const [key, rows] of Object.entries(KEYS)) renderTable(section(`by-${key}`), key, sums[rows]);
}

function renderCharts() {
  const last = [today(), ...sums.days.map(({ key }) => key)].sort().at(-1);
  const days = daysUntil(last, Number(filters.days.value));
  const valuesOf = (rows, value) => {
    const known = new Map(rows.map((row) => [row.key, row[value]]));
    return days.map((day) => known.get(day) ?? 0);
  };
  const all = valuesOf(sums.days, "cost");
  const stacked = sums.days_by_agent
    .filter(({ days: some }) => some.some(({ cost }) => cost > 0))
    .map(({ agent, days: some }) => ({ name: agent, values: valuesOf(some, "cost") }));
  const others = all.map((value, index) => value - stacked.reduce((total, { values }) => total + values[index], 0));
  // Sums of fractions differ in their last digits.
  if (others.some((value) => value > 1e-6))
    stacked.push({ name: stacked.length ? "others" : "cost", values: others.map((value) => Math.max(0, value)) });
  const kinds = { input: "input_tokens", output: "output_tokens" };
  const used = Object.entries(kinds).map(([name, key]) => ({ name, values: valuesOf(sums.days, key) }));
  section("sums")
    .querySelector(".charts")
    .replaceChildren(
      plot("Cost", days, stacked.length ? stacked : [{ name: "cost", values: all }], money),
      plot("Tokens", days, used, tokens),
      plot("Requests", days, [{ name: "requests", values: valuesOf(sums.days, "requests") }], exactly),
    );
}

function renderTable(here, key, rows) {
  here.hidden = rows.length === 0;
  const sorted = [...rows].sort((a, b) => b.cost - a.cost);
  const most = Math.max(...sorted.map(({ cost }) => cost), 0);
  const number = (text, title) => el("td", { className: "number", data: { title } }, text);
  const lines = sorted.map((row) => {
    const name = row.key || "not named";
    const head = el("th", { scope: "row" });
    head.append(key === "agent" ? el("a", { href: `/agents/${encodeURIComponent(name)}` }, name) : name);
    const meter = el("meter", { min: 0, max: most || 1, value: row.cost });
    meter.setAttribute("aria-label", `${name}: ${money(row.cost)}`);
    return el(
      "tr",
      {},
      head,
      number(money(row.cost) + (row.unknown_price ? "?" : ""), ""),
      el("td", { className: "meter" }, meter),
      number(exactly(row.requests), "requests"),
      number(exactly(row.failed), "failed"),
      number(tokens(row.input_tokens), "input"),
      number(tokens(row.cache_read_tokens), "from cache"),
      number(tokens(row.output_tokens), "output"),
    );
  });
  const titles = [key, "cost", "", "requests", "failed", "input", "from cache", "output"].map((text, index) =>
    text ? el("th", { scope: "col", className: index ? "number" : "" }, text) : el("td"),
  );
  const table = el("table", {}, el("thead", {}, el("tr", {}, ...titles)), el("tbody", {}, ...lines));
  const scroller = el("div", { className: "wide-table folding", tabIndex: 0 }, table);
  scroller.setAttribute("role", "region");
  scroller.setAttribute("aria-label", `Costs by ${key}`);
  here.replaceChildren(here.querySelector("h2"), scroller);
}

function renderBudgets() {
  const all = ["hive", "credential", "agent"].flatMap((kind) => budgetsOf(mirror, kind));
  const title = { hive: () => "The hive", credential: (name) => `Credential ${name}`, agent: (name) => name };
  const owners = Map.groupBy(all, ({ kind, name }) => title[kind](name));
  section("budgets").querySelector(".empty").hidden = all.length > 0;
  keyed(
    section("budgets").querySelector("ul"),
    [...owners],
    ([owner]) => owner,
    ([owner]) => el("li", {}, el("span", { className: "of" }, owner), el("div", { className: "bars" })),
    (item, [, budgets]) => keyed(item.lastElementChild, budgets, ({ period }) => period, makeBudget, updateBudget),
  );
}

function renderLimits() {
  const rows = mirror.rows("limits").sort((a, b) => (a.credential < b.credential ? -1 : 1));
  const here = section("limits");
  here.querySelector(".wide-table").hidden = rows.length === 0;
  here.querySelector(".empty").hidden = rows.length > 0;
  keyed(here.querySelector("tbody"), rows, ({ credential }) => credential, (row) => {
    const isLimited = row.until > Date.now() * 1000;
    const at = (value, title) => {
      const node = el("time");
      putTime(node, value);
      return el("td", { data: { title } }, node);
    };
    const state = el("td", { className: isLimited ? "bad" : "" }, isLimited ? "limited until " : "not limited");
    if (isLimited) state.append(...at(row.until, "").childNodes);
    const left = (count, show, title) => el("td", { className: "number", data: { title } }, count === null ? "–" : show(count));
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, row.credential),
      state,
      left(row.remaining_requests, exactly, "requests left"),
      left(row.remaining_tokens, tokens, "tokens left"),
      at(row.remaining_until, "filled up at"),
      at(row.updated, "as of"),
      el("td", { data: { title: "agents" } }, row.agents.join(", ")),
    );
  });
}

function renderNames() {
  const offer = (select, names) => {
    const wanted = [...new Set([...names, select.value])].filter((name) => name !== "").sort();
    keyed(select, ["", ...wanted], String, (name) => el("option", { value: name }, name || "all"));
  };
  offer(filters.agent, [...Object.keys(mirror.tables.agents), ...(sums?.agents ?? []).map(({ key }) => key)]);
  offer(filters.credential, (sums?.credentials ?? []).map(({ key }) => key));
}

function renderRequests() {
  const here = section("requests");
  here.querySelector(".wide-table").hidden = requests.length === 0;
  here.querySelector(".empty").hidden = requests.length > 0;
  const number = (text, title) => el("td", { className: "number", data: { title } }, text);
  keyed(here.querySelector("tbody"), requests, ({ id }) => id, (row) => {
    const ended = el("time");
    putTime(ended, row.ended);
    const outcome = row.outcome === "done" ? "done" : `${row.outcome}${row.status ? ` (${row.status})` : ""}`;
    return el(
      "tr",
      {},
      el("td", {}, ended),
      el("td", {}, row.agent),
      el("td", {}, row.model),
      el("td", {}, row.credential),
      el("td", { className: row.outcome === "done" ? "" : "bad" }, outcome),
      number(span((row.ended - row.started) / 1e6), "length"),
      number(tokens(row.input_tokens), "input"),
      number(tokens(row.cache_read_tokens), "from cache"),
      number(tokens(row.output_tokens), "output"),
      number(money(row.cost) + (row.unknown_price ? "?" : ""), "cost"),
    );
  });
}

filters.addEventListener("submit", (event) => {
  event.preventDefault();
  refresh();
});
filters.addEventListener("change", refresh);
section("requests").querySelector(".older").addEventListener("click", () => more(false));

document.title = "Cost · Hyperhive";
mirror.connect();
