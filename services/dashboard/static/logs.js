// The page of logs: lines of the journal about the hive, an agent or one unit, and those that come.

import { get } from "./api.js";
import { openMirror } from "./common.js";
import { el, keyed, setText, showError } from "./dom.js";
import { PageStream } from "./page_stream.js";
import { moment, plural, putText, putTime, textOf } from "./text.js";

const LEVELS = ["error", "error", "error", "error", "warning", "notice", "info", "debug"];
const PAGE = 200; // the lines of an answer
const MOST = 3000; // the lines that the page keeps
const NEAR = 40; // pixels from the end at which the list stays at its end

const form = document.querySelector(".filters");
const error = document.querySelector(".logs .error");
const box = document.getElementById("lines");
const list = box.querySelector(".log-lines");
const older = box.querySelector(".older");
const newer = document.querySelector(".newer");

const INSIDE = "inside";
const OF_AGENT = {
  "": "all on the host",
  [INSIDE]: "inside the container",
  "systemd-nspawn@MACHINE.service": "console of the container",
  "hive-agent@NAME.service": "endpoint",
  "hive-gateway@NAME.service": "gateway",
  "hive-build@NAME.service": "builds",
};

// The choice that the address names, until the agents are known.
const TYPING = 300; // milliseconds without a key after which the typed text is searched

let typing = null; // waits for the end of the typing
let wanted = new URLSearchParams(location.search);

const mirror = openMirror((tables, isWhole) => {
  if (tables.has("agents")) renderSources();
  const isBack = away !== null && away !== sourceOf();
  if (isBack || (isWhole && !stream)) restart(); // the page has just opened, or it is worth another try
});

let stream = null;
let away = null; // the state of the source of lines that does not answer
let load = 0; // the number of the current load; the answer to an older one is not used
let first = null; // the cursor of the oldest line that is shown
let last = ""; // the cursor of the newest line
let unseen = 0; // the lines that have come below what is shown

// On a phone, the whole page scrolls.
const scroller = () => (getComputedStyle(box).overflowY === "auto" ? box : document.scrollingElement);
const isAtEnd = () => scroller().scrollHeight - scroller().scrollTop - scroller().clientHeight < NEAR;

function toEnd() {
  scroller().scrollTop = scroller().scrollHeight;
  unseen = 0;
  newer.hidden = true;
}

/** Return the state on which it depends whether the chosen source answers. */
function sourceOf() {
  const [kind, name] = form.source.value.split(":");
  const { agents, services } = mirror.tables;
  if (kind === "agent" && form.unit.value === INSIDE) return `${agents[name]?.state} ${agents[name]?.turn_state}`;
  return String(services.lifecycle?.available);
}

/** Return the chosen filters as a query. */
function query(more = {}) {
  const [kind, name] = form.source.value.split(":");
  const wanted = {
    agent: kind === "agent" ? name : "",
    unit: kind === "unit" ? name : form.unit.value === INSIDE ? "" : form.unit.value,
    inside: form.unit.value === INSIDE ? "1" : "",
    priority: form.priority.value,
    text: form.text.value.trim(),
    ...more,
  };
  return new URLSearchParams(Object.entries(wanted).filter(([, value]) => value !== "")).toString();
}

// Begin again with the newest lines of what is chosen.
async function restart() {
  const number = ++load;
  stream?.close();
  stream = null;
  away = null;
  showError(error);
  history.replaceState(null, "", query() ? `?${query()}` : location.pathname);
  try {
    const { lines } = await get(`/api/logs?${query()}`);
    if (number !== load) return;
    list.replaceChildren(...lines.map(item));
    first = lines[0]?.cursor ?? null;
    last = lines.at(-1)?.cursor ?? "";
    older.hidden = lines.length < PAGE;
    box.querySelector(".empty").hidden = lines.length > 0;
    toEnd();
  } catch (failure) {
    if (number !== load) return;
    list.replaceChildren(); // the lines of another source would stand there
    older.hidden = true;
    goAway(failure.message);
    return;
  }
  if (form.follow.checked) follow();
}

function follow() {
  const number = load;
  const listener = {
    opened: () => showError(error),
    received: (type, _, data) => {
      if (number !== load) return;
      if (type === "away") goAway(JSON.parse(data).error);
      else add(JSON.parse(data).lines);
    },
    lost: () => {},
    refused: (sentence) => showError(error, sentence),
  };
  // The server searches no text in lines that come: see fits().
  stream = new PageStream(() => `/api/logs/stream?${query({ after: last, text: "" })}`, listener);
}

// Say why no lines come; changed() tries again when the state of their source changes.
function goAway(sentence) {
  stream?.close();
  stream = null;
  away = sourceOf();
  showError(error, sentence);
}

function fits({ identifier, message }) {
  const text = form.text.value.trim().toLowerCase();
  return `${textOf(identifier)}: ${textOf(message)}`.toLowerCase().includes(text);
}

function add(lines) {
  if (lines.length === 0) return;
  last = lines.at(-1).cursor;
  const shown = lines.filter(fits);
  if (shown.length === 0) return;
  const wasAtEnd = isAtEnd();
  list.append(...shown.map(item));
  first ??= shown[0].cursor;
  box.querySelector(".empty").hidden = true;
  if (wasAtEnd) {
    while (list.childElementCount > MOST) list.firstElementChild.remove();
    if (first !== list.firstElementChild.dataset.cursor) {
      first = list.firstElementChild.dataset.cursor;
      older.hidden = false;
    }
    toEnd();
  } else {
    unseen += shown.length;
    setText(newer, `${plural(unseen, "new line")} ↓`);
    newer.hidden = false;
  }
}

async function showOlder() {
  const number = load;
  older.disabled = true;
  try {
    const { lines } = await get(`/api/logs?${query({ before: first })}`);
    if (number !== load) return;
    const height = scroller().scrollHeight;
    const top = scroller().scrollTop;
    list.prepend(...lines.map(item));
    first = lines[0]?.cursor ?? first;
    older.hidden = lines.length < PAGE;
    scroller().scrollTop = top + scroller().scrollHeight - height;
  } catch (failure) {
    showError(error, failure.message);
  } finally {
    older.disabled = false;
  }
}

function item(line) {
  const at = el("time");
  putTime(at, line.time, clock(line.time));
  const whose = el("span", { className: "whose", dir: "auto", title: `${line.unit}${line.pid ? `, process ${line.pid}` : ""}` });
  putText(whose, textOf(line.identifier) ? line.identifier : line.unit);
  const words = el("span", { className: "words", dir: "auto" });
  putText(words, line.message);
  const level = LEVELS[line.priority];
  const node = el("li", { data: { level, cursor: line.cursor } }, at, whose, words);
  if (level === "error" || level === "warning") whose.before(el("span", { className: "unseen" }, `${level}: `));
  return node;
}

/** Return the time with its seconds, and with the day unless that is today. */
function clock(microseconds) {
  const then = new Date(microseconds / 1000);
  const time = then.toTimeString().slice(0, 8);
  return then.toDateString() === new Date().toDateString() ? time : `${moment(microseconds).split(",")[0]}, ${time}`;
}

function renderSources() {
  const names = Object.keys(mirror.tables.agents).sort();
  keyed(form.querySelector("optgroup"), names, String, (name) => el("option", { value: `agent:${name}` }, name));
  if (wanted) choose();
}

// The unit belongs to an agent: a service is one unit.
function renderUnits() {
  const [kind, name] = form.source.value.split(":");
  const agent = kind === "agent" ? mirror.tables.agents[name] : null;
  form.unit.parentElement.hidden = !agent;
  const units = agent ? Object.entries(OF_AGENT) : [["", "all"]];
  form.unit.replaceChildren(
    ...units.map(([unit, label]) => {
      const value = unit.replace("MACHINE", agent?.machine).replace("NAME", name);
      return el("option", { value }, label);
    }),
  );
}

function choose() {
  const agent = wanted.get("agent");
  const unit = wanted.get("unit");
  const source = agent ? `agent:${agent}` : unit ? `unit:${unit}` : "";
  if ([...form.source.options].some(({ value }) => value === source)) form.source.value = source;
  renderUnits();
  if (agent && unit) form.unit.value = unit;
  if (agent && wanted.get("inside")) form.unit.value = INSIDE;
  form.priority.value = wanted.get("priority") ?? "";
  form.text.value = wanted.get("text") ?? "";
  wanted = null;
}

form.addEventListener("submit", (event) => event.preventDefault());
// The lines follow the text while it is typed, once for each pause.
form.text.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    typing = null;
    restart();
  }, TYPING);
});
form.addEventListener("change", ({ target }) => {
  if (target === form.text && typing === null) return; // shown already
  clearTimeout(typing);
  typing = null;
  if (target === form.follow) {
    if (form.follow.checked) restart();
    else {
      stream?.close();
      stream = null;
    }
    return;
  }
  if (target === form.source) renderUnits();
  restart();
});
older.addEventListener("click", showOlder);
newer.addEventListener("click", toEnd);
addEventListener("scroll", () => isAtEnd() && !newer.hidden && toEnd(), { capture: true, passive: true });

document.title = "Logs · Hyperhive";
mirror.connect();
