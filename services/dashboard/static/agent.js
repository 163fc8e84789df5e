// The page of one agent. The mirror has everything that signals keep current, and brings the live tail
// of the agent's events. The page asks for the rest (usage, log, turns, deployed configurations, older
// messages) when it opens and when the agent changes.

import { get, post } from "./api.js";
import { makeButtons, putState, putTurn, updateButtons } from "./agent_controls.js";
import { el, keyed, setText, showError } from "./dom.js";
import { putFacts } from "./agent_facts.js";
import { Now } from "./agent_now.js";
import { LoginFlow } from "./login_flow.js";
import { exhausted, putBudgets } from "./budgets.js";
import { putCharts } from "./charts.js";
import { openMirror } from "./common.js";
import { putHosts, renderRefused } from "./egress.js";
import { MessageItems, isUnread } from "./message.js";
import { guardPresses } from "./press_guard.js";
import { Prompt } from "./prompt.js";
import { makeQuestion, updateQuestion } from "./questions.js";
import { may } from "./session.js";
import { makeTabs } from "./tabs.js";
import { Tail } from "./tail.js";
import { day, joined, putText, putTime, textOf } from "./text.js";
import { putTurns } from "./turn_list.js";

const name = decodeURIComponent(location.pathname.split("/")[2]);
const path = `/api/agents/${encodeURIComponent(name)}`;
const section = (id) => document.getElementById(id);
const errorOf = (id) => section(id).querySelector(".error:not(.gone)");

/**
 * One part of the details. Only one request for it is outstanding; when `load` is called meanwhile,
 * the part is requested once more.
 */
class Part {
  value = null;
  failed = false;
  #part;
  #show;
  #source;
  #state = "idle";

  /** `source` returns the address and the key of the answer, if they change. */
  constructor(part, show, source = () => [`${path}/${part}`, part]) {
    this.#part = part;
    this.#show = show;
    this.#source = source;
  }

  async load() {
    if (this.#state !== "idle") {
      this.#state = "again";
      return;
    }
    this.#state = "loading";
    try {
      const [address, key] = this.#source();
      const value = (await get(address))[key];
      if (address === this.#source()[0]) {
        this.value = value;
        this.failed = false;
        showError(errorOf(this.#part));
        this.#show(this.value);
      }
    } catch (failure) {
      this.failed = true;
      showError(errorOf(this.#part), failure.message);
    }
    const again = this.#state === "again";
    this.#state = "idle";
    if (again) await this.load();
  }
}

const whoseLog = section("whose-log"); // the host's journal, or the container's own
const inside = `agent=${encodeURIComponent(name)}&inside=1`;

function logSource() {
  return whoseLog.value === "inside" ? [`/api/logs?${inside}`, "lines"] : [`${path}/logs`, "logs"];
}

const parts = {
  messages: new Part("messages", renderMessages),
  questions: new Part("questions", renderQuestions),
  deploys: new Part("deploys", renderDeploys),
  usage: new Part("usage", renderUsage),
  logs: new Part("logs", renderLogs, logSource),
  egress: new Part("egress", renderHosts),
  turns: new Part("turns", renderTurns),
  days: new Part("days", renderDays),
  todo: new Part("todo", renderTodo),
};
const tail = new Tail(name, section("live"), (count) => {
  section("live").querySelector(".empty").hidden = count > 0 || tail.after === null;
});
const mirror = openMirror(changed, {
  tail: { agent: name, after: () => tail.after, received: tailed },
});
const prompt = new Prompt(name, () => tail.clear());
const now = new Now(name, section("agent"), (command) => prompt.run(command));
const login = new LoginFlow(name, section("agent").querySelector("[data-command=login]"));
section("agent").querySelector(".why").after(login.box);
const buttons = makeButtons(name, errorOf("agent"), mirror, () => ({ agent: shown, job: jobOf(name) }));
const items = new MessageItems(errorOf("messages"));
const flow = section("messages").querySelector(".flow");
const scroller = section("messages").querySelector(".scroller");
let shown = null; // the row of the agent that the page shows
let live = null; // the state that the harness reports about itself
const lists = new Set(); // the running calls that change the agent's own list
const stale = new Set(); // the parts that have changed while their panels were not shown
// The link that led here is about the agent's login.
let wantsLogin = location.hash === "#login";
// Opening the page wakes a sleeping agent, once; the server marks a page that another site has led to.
let wakes = may("operator") && !("linked" in document.querySelector("main").dataset);

function changed(tables, isWhole) {
  const agent = mirror.tables.agents[name];
  const before = shown;
  const isNew = agent !== before; // rows are replaced, never changed
  shown = agent;
  if (isNew || tables.has("jobs")) renderAgent(agent);
  else if (tables.has("costs") || tables.has("budgets")) renderNow();
  if (tables.has("messages")) renderMessages();
  if (tables.has("questions") || tables.has("budgets")) renderQuestions();
  if (tables.has("egress")) renderWaiting();
  if (wakes) wake(agent);
  if (!agent) return;
  if (!before || isWhole) loadAll();
  else if (isNew && (agent.state !== before.state || agent.turn_state !== before.turn_state)) load("usage", "logs");
  else if (tables.has("approvals")) load("deploys");
  if (tables.has("egress")) refreshHosts();
}

// Wake only a sleeping agent. One that is falling asleep is woken as soon as it sleeps.
function wake(agent) {
  if (jobOf(name)?.verb === "sleep") return;
  wakes = false; // from now on, the agent may fall asleep again
  if (agent?.state === "sleeping")
    post(`${path}/wake`).catch((failure) => showError(errorOf("agent"), failure.message));
}

// Take an item of the tail of the agent's events.
function tailed(item) {
  showError(section("tail-away"), item.tail === "away" ? item.reason : "");
  section("tail-known").hidden = item.tail !== "away";
  if (item.tail === "begin") tail.begin(item);
  else if (item.tail === "event") tail.add(item);
  else if (item.tail === "partial") tail.write(item);
  else if (item.tail === "away") tail.stopWriting();
  if (item.tail === "begin" || item.tail === "state") {
    live = item.tail === "begin" ? item.state : item;
    section("tail-stored").hidden = live.stored;
    // What is not shown as it is cannot be chosen by its looks.
    if (live.model && typeof live.model === "string") prompt.models.add(live.model);
    if (item.tail === "begin") load("todo");
    if (parts.turns.failed) refreshTurns(); // the harness was away
    renderNow();
  }
  if (item.tail === "away") {
    live = null;
    renderNow();
  }
  if (["wake", "urgent"].includes(item.type)) prompt.arrived(item.messages.map(({ id }) => id));
  if (item.type === "turn-end") {
    refreshTurns();
    load("todo");
  }
  if (item.type === "tool-use" && /\btodo$/u.test(textOf(item.tool).replaceAll("_", " "))) lists.add(item.call);
  if (item.type === "tool-result" && lists.delete(item.call)) load("todo");
}

// Ask for the parts about turns again: now, or when their panels are shown.
function refreshTurns() {
  load("turns"); // the length of the last turn is always shown
  if (section("days").hidden) stale.add("days");
  else load("days");
}

// Ask for the hosts again: now, or when their panel is shown.
function refreshHosts() {
  if (section("egress").hidden) stale.add("egress");
  else load("egress");
}

// The cost of today is that of the ledger; what the harness reports stands in for it while it is away.
function costToday() {
  const { services, costs } = mirror.tables;
  const known = costs[name];
  if (known) return known.ends > Date.now() * 1000 ? known.cost : 0;
  return services.ledger?.available ? 0 : (live?.cost_today ?? null);
}

function renderNow() {
  if (!shown) return;
  section("tail-away").classList.toggle("calm", ["stopped", "sleeping"].includes(shown.state));
  const last = parts.turns.value?.find((turn) => turn.ended);
  now.update(shown, live, last ?? null, costToday(), exhausted(mirror, name)[0]);
  const budget = section("agent").querySelector("[data-figure=budget]");
  budget.parentElement.hidden = !putBudgets(budget, mirror, name);
}

const jobOf = (agent) => mirror.rows("jobs").find((job) => job.agent === agent);

const load = (...names) => names.forEach((part) => parts[part].load());
// The agent's own list is asked for when its tail begins: the hive does not know it.
const loadAll = () => load(...Object.keys(parts).filter((part) => part !== "todo"));

function renderAgent(agent) {
  const job = jobOf(name);
  const here = section("agent");
  const gone = here.querySelector(".gone");
  showError(gone, agent ? "" : `There is no agent ${name}.`);
  here.querySelector(".now").hidden = !agent;
  section("facts").hidden = !agent;
  if (!agent) return;
  putState(here.querySelector(".state"), agent, job);
  putTurn(here.querySelector(".turn"), agent);
  updateButtons(buttons, agent, job);
  login.update(agent);
  prompt.update(agent);
  putFacts(section("facts"), agent);
  putPreviews(agent.network?.ports ?? [], agent.port);
  if (agent.model) prompt.models.add(agent.model);
  prompt.settings = { model: modelOf(agent), effort: agent.effort || "default" };
  renderNow();
  if (wantsLogin) here.querySelector("[data-command=login]").focus();
  wantsLogin = false;
}

/** Show a button for each port of the container that the operator may look at; one is that of its page. */
function putPreviews(ports, own) {
  const here = section("preview");
  here.hidden = ports.length === 0;
  keyed(here.querySelector(".ports"), ports, String, (port) => {
    const label = port === own ? `Open its page (port ${port})` : `Open port ${port}`;
    const button = el("button", { type: "button" }, label);
    button.addEventListener("click", () => openPreview(port));
    return button;
  });
}

// A preview has an address of its own, which works once.
async function openPreview(port) {
  const error = errorOf("preview");
  showError(error);
  try {
    const { url } = await post(`${path}/preview`, { port });
    open(url, "_blank", "noopener,noreferrer");
  } catch (failure) {
    showError(error, failure.message);
  }
}

/** Show the link to a terminal if the operator has turned terminals on. */
async function offerTerminal() {
  const here = section("terminal");
  here.firstElementChild.href = `/agents/${encodeURIComponent(name)}/terminal`;
  try {
    here.hidden = !(await get(`${path}/terminal`)).offered;
  } catch {
    here.hidden = true; // the page says elsewhere that the dashboard does not answer
  }
}

/** Return the model for which the turns ask, and the one that answers if it is another. */
function modelOf({ model, model_setting: setting }) {
  if (setting && model && setting !== model) return `${setting}; ${model} has answered last`;
  return setting || model || "not known yet";
}

function renderMessages() {
  const isIts = (message) => message.from === name || message.to === name;
  const list = merged(parts.messages.value, mirror.rows("messages").filter(isIts)).slice(-50);
  const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
  const rows = list.map((message, index) => ({
    message,
    heading: index === 0 || day(list[index - 1].at) !== day(message.at),
  }));
  keyed(
    flow,
    rows,
    (row) => row.message.id,
    () => items.make(),
    (node, { message, heading }) => items.update(node, message, heading),
    (row) => row.message.at,
  );
  section("messages").querySelector(".empty").hidden = list.length > 0 || !parts.messages.value;
  const unread = list.filter(isUnread).length;
  setText(section("tab-messages"), unread ? `Messages (${unread})` : "Messages");
  if (atEnd) scroller.scrollTop = scroller.scrollHeight;
}

function renderQuestions() {
  const budgets = new Set(exhausted(mirror, name).map((budget) => budget.question));
  const isIts = ({ id, from, to }) => from === name || to === name || budgets.has(id);
  const list = merged(parts.questions.value, mirror.rows("questions").filter(isIts)).slice(-20);
  const here = section("questions");
  const newest = (a, b) => b.id - a.id;
  const key = (question) => question.id;
  const asked = (question) => question.asked;
  keyed(here.querySelector("ul"), list.sort(newest), key, makeQuestion, updateQuestion, asked);
  here.querySelector(".empty").hidden = list.length > 0 || !parts.questions.value;
}

/** Merge requested rows with those of the mirror, which are newer; return them oldest first. */
function merged(asked, live) {
  const rows = new Map([...(asked ?? []), ...live].map((row) => [row.id, row]));
  return [...rows.values()].sort((a, b) => a.id - b.id);
}

function renderDeploys(deploys) {
  const here = section("deploys");
  here.querySelector(".configure").href = `/agents/${name}/configuration`;
  keyed(here.querySelector("ol"), deploys, (deploy) => `${deploy.approval}-${deploy.at}`, (deploy) => {
    const at = el("time");
    putTime(at, deploy.at);
    const what = el("span", { className: "description", dir: "auto" });
    putText(what, deploy.description);
    const whose = deploy.kept ? "" : ", of an earlier agent";
    const by = el("span", { className: "by" }, `deployed/${deploy.approval} by ${deploy.requested_by}${whose}`);
    return el("li", {}, el("code", {}, deploy.commit.slice(0, 10)), what, by, at);
  });
  here.querySelector(".empty").hidden = deploys.length > 0;
}

function renderWaiting() {
  const here = section("refused");
  here.hidden = renderRefused(mirror, here, name) === 0;
}

function renderHosts(hosts) {
  const here = section("egress");
  putHosts(here.querySelector("tbody"), hosts);
  here.querySelector(".wide-table").hidden = hosts.length === 0;
  here.querySelector(".empty").hidden = hosts.length > 0;
}

function renderUsage(usage) {
  const here = section("usage");
  putFacts(here.querySelector("dl"), { usage });
  here.querySelector(".empty").hidden = Object.keys(usage).length > 0;
}

// A line of the host's journal is a text; one of the container's own is a row.
function logLine(line) {
  if (line.cursor === undefined) return line;
  const at = new Date(line.time / 1000).toISOString().replace(/\.\d+Z$/u, "Z");
  const whose = textOf(line.identifier) ? line.identifier : line.unit;
  return [`${at} `, ...[whose].flat(), ": ", ...[line.message].flat()];
}

function renderLogs(lines) {
  const box = section("logs").querySelector("pre");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  putText(box, joined(lines.map(logLine), "\n"));
  box.hidden = lines.length === 0;
  section("logs").querySelector(".empty").hidden = lines.length > 0;
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function renderTurns(turns) {
  const here = section("turns");
  putTurns(here.querySelector("tbody"), name, turns);
  here.querySelector(".wide-table").hidden = turns.length === 0;
  here.querySelector(".empty").hidden = turns.length > 0;
  renderNow();
}

const MARKS = { open: "○", doing: "◐", done: "●" };

function renderTodo(steps) {
  const here = section("todo");
  here.hidden = steps.length === 0;
  here.querySelector("ul").replaceChildren(
    ...steps.map(({ text, state }) => {
      const mark = el("span", { className: "mark", ariaHidden: "true" }, MARKS[state] ?? "○");
      const words = el("span", { dir: "auto" });
      putText(words, text);
      return el("li", { data: { state } }, mark, words, el("span", { className: "unseen" }, ` (${state})`));
    }),
  );
}

function renderDays(days) {
  const here = section("days");
  if (days.length) putCharts(here.querySelector(".charts"), days);
  here.querySelector(".charts").hidden = days.length === 0;
  here.querySelector(".empty").hidden = days.length > 0;
}

document.title = `${name} · Hyperhive`;
setText(section("agent-name"), name);
section("agent").querySelector(".now .actions").prepend(...buttons);
makeTabs(document.querySelector("[role=tablist]"), (panel) => {
  if (stale.delete(panel)) load(panel);
  if (panel === "messages") scroller.scrollTop = scroller.scrollHeight;
});
for (const part of ["usage", "logs", "egress"])
  section(part).querySelector(".refresh").addEventListener("click", () => load(part));
whoseLog.addEventListener("change", () => {
  section("all-logs").search = whoseLog.value === "inside" ? inside : `agent=${name}`;
  renderLogs([]);
  load("logs");
});
section("all-logs").href = `/logs?agent=${name}`;
offerTerminal();
guardPresses();
mirror.connect();
