// The page of messages: the whole flow with a search, questions and who waits for them, and reminders. What
// is shown is in the page's address.

import { openMirror } from "./common.js";
import { Compose } from "./compose.js";
import { keyed, setText, showError } from "./dom.js";
import { FIELDS, History } from "./history.js";
import { isDead, isUnread, STATES } from "./message.js";
import { Flow, MarkAllRead, NOTHING, offerNames } from "./message_flow.js";
import { guardPresses } from "./press_guard.js";
import { isOpen, makeQuestion, putQuestions, updateQuestion } from "./questions.js";
import { renderReminders } from "./reminders.js";
import { plural } from "./text.js";

const VIEWS = ["all", "inbox", "dead", "questions", "reminders"];
/** The rows of the flow above which the oldest ones are left out again, once the reader is at the end. */
const MANY = 2000;
const SOME = 500;
const ENDED = 50;

const section = (id) => document.getElementById(id);
const form = section("search");
const finding = section("messages").querySelector(".finding");
const again = finding.querySelector("button");
const older = section("messages").querySelector(".older");
const empty = section("messages").querySelector(".empty");
const error = section("messages").querySelector(".flow-error");
const tabs = [...document.querySelectorAll("[data-view]")];

for (const [state, words] of Object.entries(STATES)) form.elements.state.append(new Option(words, state));

const mirror = openMirror(changed);
const compose = new Compose(mirror);
const flow = new Flow(section("messages"), (message) => compose.answer(message));
const readAll = new MarkAllRead(document);
const history = new History(mirror);
let view = "all";
let thread = "";
let isSearching = false;

function changed(tables, isWhole) {
  const any = (...names) => names.some((name) => tables.has(name));
  if (any("agents")) offerNames(form.elements.agent, mirror, 3);
  // There may be a gap before the mirror's messages.
  if (isWhole && flow.isAtEnd) search();
  else if (any("messages")) renderFlow();
  if (any("questions", "services")) renderQuestions();
  if (any("reminders", "services")) count("reminders", "Reminders", renderReminders(mirror, section("reminders")));
  if (any("agents")) compose.render();
}

/** Take over the address: the view, the search, and the message that is looked for. */
function readAddress() {
  const query = new URLSearchParams(location.search);
  for (const field of FIELDS) {
    const control = form.elements[field];
    const value = query.get(field) ?? "";
    if (!control) continue;
    if (control.tagName === "SELECT" && value && ![...control.options].some((option) => option.value === value))
      control.append(new Option(value));
    control.value = value;
  }
  thread = /^\d{1,18}$/.test(query.get("thread") ?? "") ? query.get("thread") : "";
  setView(query.get("view"));
}

function setView(name) {
  view = VIEWS.includes(name) ? name : "all";
  for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.dataset.view === view));
  const shown = ["questions", "reminders"].includes(view) ? view : "messages";
  for (const id of ["messages", "questions", "reminders"]) section(id).hidden = id !== shown;
  document.title = `${tabs[VIEWS.indexOf(view)].dataset.title ?? "Messages"} · Hyperhive`;
}

/** Put what is shown into the address. */
function writeAddress() {
  const query = new URLSearchParams();
  if (view !== "all") query.set("view", view);
  for (const field of FIELDS) if (form.elements[field]?.value) query.set(field, form.elements[field].value);
  if (thread) query.set("thread", thread);
  window.history.pushState(null, "", query.size ? `?${query}` : location.pathname);
}

/** Return the search: what the form says, within the view. */
function wanted() {
  if (thread) return { thread };
  const { text, agent, kind, state, since, until } = form.elements;
  const day = (value, more) => {
    if (!value) return 0;
    const [year, month, date] = value.split("-").map(Number);
    return new Date(year, month - 1, date + more).getTime() * 1000;
  };
  return {
    text: text.value.trim(),
    agent: agent.value,
    to: view === "inbox" ? "operator" : "",
    kind: kind.value,
    state: view === "dead" ? "dead" : state.value,
    since: day(since.value, 0),
    until: day(until.value, 1),
  };
}

async function search() {
  showError(error);
  isSearching = true;
  try {
    await history.search(wanted());
  } catch (failure) {
    showError(error, failure.message);
  }
  isSearching = false;
  renderFlow();
  if (section("messages").hidden) scrollTo(0, 0);
  else if (!seek()) flow.toEnd();
}

/** Show the message that the address names; one that is not here is shown in its thread. */
function seek() {
  const number = /^#message-(\d{1,18})$/.exec(location.hash)?.[1];
  if (!number) return false;
  const found = document.getElementById(`message-${number}`);
  if (found) {
    window.history.replaceState(null, "", location.pathname + location.search);
    found.classList.add("sought");
    found.scrollIntoView({ block: "center" });
    return true;
  }
  if (thread) return false;
  thread = number;
  setView("all");
  search();
  return true;
}

function renderFlow() {
  const all = mirror.rows("messages");
  count("inbox", "Inbox", all.filter(isUnread).length);
  count("dead", "Dead letters", all.filter(isDead).length);
  if (flow.isAtEnd) history.trim(MANY, SOME);
  const rows = history.rows();
  older.hidden = !history.more || isSearching;
  empty.hidden = rows.length > 0 || isSearching || !mirror.tables.services?.broker?.available;
  const isSearch = thread || FIELDS.some((field) => form.elements[field]?.value);
  setText(empty, isSearch ? "No message matches." : NOTHING[view] ?? NOTHING.all);
  const { later } = history;
  finding.hidden = !isSearch;
  setText(finding.firstElementChild, sentence(rows.length, later));
  again.hidden = !thread && later === 0;
  setText(again, thread ? "Show all messages" : "Search again");
  readAll.offer(rows, view === "inbox");
  flow.show(rows);
}

function sentence(found, later) {
  if (thread) return `Message ${thread}, what it answers, and what answers it.`;
  const more = history.more ? " or more" : "";
  return `${plural(found, "message")}${more}.${later ? ` ${later} have come since.` : ""}`;
}

async function showOlder() {
  older.disabled = true;
  showError(error);
  try {
    await history.older();
    older.hidden = !history.more;
    flow.showOlder(history.rows());
  } catch (failure) {
    showError(error, failure.message);
  }
  older.disabled = false;
}

function renderQuestions() {
  const all = mirror.rows("questions").sort((a, b) => a.id - b.id);
  const open = all.filter(isOpen);
  const here = section("questions");
  putQuestions(here.querySelector(".asked"), open, mirror);
  here.querySelector(".empty").hidden = open.length > 0 || !mirror.tables.services.broker?.available;
  const ended = all.filter((question) => !isOpen(question)).slice(-ENDED).reverse();
  here.querySelector(".ended").previousElementSibling.hidden = ended.length === 0;
  keyed(here.querySelector(".ended"), ended, ({ id }) => id, makeQuestion, updateQuestion, ({ state }) => state);
  count("questions", "Questions", open.length);
}

function count(name, title, number) {
  const tab = tabs[VIEWS.indexOf(name)];
  tab.dataset.title = title;
  setText(tab, number ? `${title} (${number})` : title);
}

function choose(name) {
  thread = "";
  setView(name);
  writeAddress();
  search();
}

for (const tab of tabs) tab.addEventListener("click", () => choose(tab.dataset.view));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  choose(view);
});
form.addEventListener("change", (event) => event.target.name !== "text" && choose(view));
form.addEventListener("reset", () => setTimeout(() => choose(view)));
document.querySelector(".to-search").addEventListener("click", () => {
  if (section("messages").hidden) choose("all");
  form.elements.text.focus({ preventScroll: true });
  scrollTo(0, 0);
});
again.addEventListener("click", () => (thread ? choose("all") : search()));
older.addEventListener("click", showOlder);
section("messages").querySelector(".scroller").addEventListener("scroll", (event) => {
  if (event.target.scrollTop < 60 && !older.hidden && !older.disabled) showOlder();
});
addEventListener("popstate", () => {
  readAddress();
  search();
});
// A link to a thread needs no new page.
section("messages").addEventListener("click", (event) => {
  const link = event.target.closest("a.answers");
  if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  thread = new URL(link.href).searchParams.get("thread");
  writeAddress();
  search();
});

readAddress();
guardPresses();
mirror.connect();
