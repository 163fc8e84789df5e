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

/**
 * Show one bar for each limit of a budget.
 * @param title the words before the bars, such as the name of the budget
 */
export function updateBudget(node, budget, title = "") {
  node.dataset.state = budget.state;
  node.replaceChildren(
    ...(title ? [el("span", { className: "of" }, title)] : []),
    ...limitsOf(budget).map((limit) => bar(budget, limit)),
  );
  const state = stateOf(budget);
  if (state) node.append(el("span", { className: "budget-state" }, state));
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

/** Show the budgets of the hive and of credentials in a list. */
export function renderHiveBudgets(mirror, list) {
  const shown = [...budgetsOf(mirror, "hive"), ...budgetsOf(mirror, "credential")];
  list.hidden = shown.length === 0;
  keyed(
    list,
    shown,
    ({ kind, name, period }) => `${kind} ${name} ${period}`,
    () => el("li", {}, makeBudget()),
    (item, budget) => {
      const title = budget.kind === "hive" ? "The hive" : `Credential ${budget.name}`;
      updateBudget(item.firstElementChild, budget, title);
    },
  );
}

/** Return the budget because of which an agent is held, or undefined. */
export function exhausted(mirror, agent) {
  const credential = `agent:${agent}`;
  const concerns = ({ kind, name }) =>
    kind === "agent" ? name === agent : !name.startsWith("agent:") || name === credential;
  return mirror.rows("budgets").find((budget) => budget.state === "exhausted" && concerns(budget));
}

/** Put the budgets of an agent into a node, if it has any; return whether it has. */
export function putBudgets(node, mirror, agent) {
  const shown = budgetsOf(mirror, "agent", agent);
  keyed(node, shown, ({ period }) => period, makeBudget, (one, budget) => updateBudget(one, budget));
  return shown.length > 0;
}
