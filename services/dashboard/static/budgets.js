// Budgets, as bars: what is spent of each limit, and what happens at its end.

import { el, keyed } from "./dom.js";
import { exactly, money, tokens } from "./figures.js";
import { moment } from "./text.js";

const PERIODS = { day: "today", week: "this week", total: "in total" };
const ORDER = { day: 0, week: 1, total: 2 };
const MILLION = 1e6;

/** Return the limits of a budget: in dollars, in tokens, or both. */
function limitsOf(budget) {
  const unknown = budget.unknown_price ? "?" : "";
  const both = [
    { spent: budget.spent, limit: budget.limit, show: (value) => money(value / MILLION), unknown },
    { spent: budget.spent_tokens, limit: budget.limit_tokens, show: tokens, unit: " tokens" },
  ];
  return both.filter(({ limit }) => limit > 0);
}

const partOf = ({ spent, limit }) => spent / limit;

/** Return the budgets that are about one agent, or about the hive and its credentials. */
export function budgetsOf(mirror, kind, name) {
  const fits = (budget) => budget.kind === kind && (name === undefined || budget.name === name);
  return mirror
    .rows("budgets")
    .filter(fits)
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : ORDER[a.period] - ORDER[b.period]));
}

/** Return the budget of an agent of which the greatest part is spent, or undefined. */
export function tightest(mirror, agent) {
  const part = (budget) => Math.max(...limitsOf(budget).map(partOf));
  return budgetsOf(mirror, "agent", agent).sort((a, b) => part(b) - part(a))[0];
}

/** Make an element for `updateBudget`. */
export const makeBudget = () => el("span", { className: "budget" });

/** Show the limit of a budget of which the greatest part is spent, in a few words. */
export function updateShortBudget(node, budget) {
  const [limit] = limitsOf(budget).sort((a, b) => partOf(b) - partOf(a));
  const whole = bar(budget, limit);
  const words = budget.state === "exhausted" ? "used up" : `${Math.floor(100 * partOf(limit))} %`;
  const short = el("span", { className: "amount" }, `${words} ${PERIODS[budget.period]}`);
  short.title = whole.textContent.trim();
  node.dataset.state = budget.state;
  node.replaceChildren(whole.firstElementChild, short);
}

/** Show one bar for each limit of a budget. */
export function updateBudget(node, budget) {
  node.dataset.state = budget.state;
  node.replaceChildren(...limitsOf(budget).map((limit) => bar(budget, limit)));
  const state = stateOf(budget);
  if (state) node.append(el("span", { className: "budget-state" }, state));
}

function putAll(node, budgets) {
  keyed(node, budgets, ({ period }) => period, makeBudget, updateBudget);
}

function bar(budget, { spent, limit, show, unit = "", unknown = "" }) {
  const meter = el("meter", { min: 0, max: limit, low: 0.8 * limit, high: 0.999 * limit, optimum: 0, value: spent });
  const words = `${show(spent)}${unknown} of ${show(limit)}${unit} ${PERIODS[budget.period]}`;
  meter.setAttribute("aria-label", `Budget of ${budget.name}: ${words}`);
  const text = el("span", { className: "amount" }, words);
  if (unknown) text.title = "The price of a model is not known: the dearest known price is counted.";
  else if (unit) text.title = `${exactly(spent)} of ${exactly(limit)} tokens`;
  return el("span", { className: "limit" }, meter, " ", text);
}

function stateOf(budget) {
  if (budget.lifted_until * 1 > Date.now() * 1000) return `may be exceeded until ${moment(budget.lifted_until)}`;
  if (budget.state !== "exhausted") return "";
  return budget.until ? `used up until ${moment(budget.until)}` : "used up";
}

/** Show the budgets of the hive and of credentials in a list, an item for each. */
export function renderHiveBudgets(mirror, list) {
  const owners = new Map();
  for (const budget of [...budgetsOf(mirror, "hive"), ...budgetsOf(mirror, "credential")]) {
    const title = budget.kind === "hive" ? "The hive" : `Credential ${budget.name}`;
    owners.set(title, [...(owners.get(title) ?? []), budget]);
  }
  list.hidden = owners.size === 0;
  keyed(
    list,
    [...owners],
    ([title]) => title,
    ([title]) => el("li", {}, el("span", { className: "of" }, title), el("div", { className: "bars" })),
    (item, [, budgets]) => putAll(item.lastElementChild, budgets),
  );
}

/** Return the budgets because of which an agent is held. */
export function exhausted(mirror, agent) {
  const credential = `agent:${agent}`;
  const concerns = ({ kind, name }) =>
    kind === "agent" ? name === agent : !name.startsWith("agent:") || name === credential;
  return mirror.rows("budgets").filter((budget) => budget.state === "exhausted" && concerns(budget));
}

/** Put the budgets of an agent into a node, if it has any; return whether it has. */
export function putBudgets(node, mirror, agent) {
  const shown = budgetsOf(mirror, "agent", agent);
  putAll(node, shown);
  return shown.length > 0;
}
