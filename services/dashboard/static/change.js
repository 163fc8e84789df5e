// The page of one change: what the agent has submitted, the diff, the comments and the decision. The diff stays as
// it is while it is read: a line says when another revision has come, or the branch has moved.

import { get } from "./api.js";
import { Decision } from "./change_decision.js";
import { ChangeFiles } from "./change_files.js";
import { STATES } from "./changes.js";
import { openMirror } from "./common.js";
import { el, keyed, setText, showError } from "./dom.js";
import { LineComments } from "./line_comments.js";
import { putMarkdown } from "./markdown.js";
import { makeLongText } from "./message.js";
import { guardPresses } from "./press_guard.js";
import { joined, plural, putText, putTime, textOf } from "./text.js";

const id = Number(location.pathname.split("/")[2]);
const path = `/api/changes/${id}`;
const section = document.getElementById("change");
const error = section.querySelector(":scope > .error");
const part = (css) => section.querySelector(css);
const lines = document.getElementById("diff");
const linesError = lines.querySelector(":scope > .error");
const view = document.getElementById("view");
const functions = document.getElementById("functions");
const news = document.querySelector(".news");

let details = null; // the change, its revisions and its comments
let shown = null; // the diff that is decided about: {revision, commit, base, ...}
let known = null; // the row of the change when its details were loaded
let tip = ""; // the commit of the branch, as it was last heard
let loading = 0; // the number of the current load; the answer to an older one is not used
let isLoading = false;
let isStale = false;

const files = new ChangeFiles(lines, (file) => get(`${path}/diff?${query({ path: file })}`), `hivectl diff c${id}`);
const comments = new LineComments(id, lines.querySelector(".diff"), document.getElementById("comments"), files);
const decision = new Decision(id, document.getElementById("decision"), comments, check);
const mirror = openMirror(changed);

function changed(tables, isWhole) {
  const row = mirror.tables.changes[id];
  if (tables.has("changes")) {
    // A change that has ended is in no table.
    const isNew = isWhole || (details && JSON.stringify(row ?? null) !== JSON.stringify(known));
    known = row ?? null;
    if (isNew) loadDetails();
  }
  const project = mirror.tables.projects?.[details?.change.project];
  if (tables.has("projects") && project?.branch === details?.change.branch) tip = project?.commit ?? tip;
  renderNews();
  if (tables.has("projects") && details) updateDecision();
}
async function loadDetails() {
  if (isLoading) {
    isStale = true;
    return;
  }
  isLoading = true;
  try {
    const isFirst = details === null;
    details = await get(path);
    render();
    showError(error);
    if (isFirst) await loadDiff();
  } catch (failure) {
    showError(error, failure.message);
  }
  isLoading = false;
  if (isStale) {
    isStale = false;
    await loadDetails();
  }
}

/** Load the newest revision, in place of the one that is shown. */
async function loadAll() {
  shown = null;
  await loadDetails();
  await loadDiff();
}

/** Learn what is different now, and say it: the diff that was read stays. */
async function check() {
  await loadDetails();
  try {
    tip = (await get(`${path}/diff?${query({})}`)).base;
  } catch {
    return; // the refusal of the approval says enough
  }
  renderNews();
}

/** The query of the diff, for the revision that is shown. */
function query(more) {
  const revision = shown ? { revision: shown.revision } : {};
  const wanted = { ...revision, ...(functions.checked ? { functions: 1 } : {}), ...viewed(), ...more };
  return new URLSearchParams(Object.entries(wanted));
}

const viewed = () => (shown && view.value ? JSON.parse(view.value) : {});

async function loadDiff() {
  const number = ++loading;
  lines.setAttribute("aria-busy", "true");
  try {
    const found = await get(`${path}/diff?${query({})}`);
    if (number !== loading) return;
    // The decision is about the whole of the newest revision, whichever part of it is looked at.
    if (!shown) {
      shown = found;
      renderViews();
      renderCommits();
    }
    tip = found.base;
    const part = viewed();
    files.show(found, !("since" in part || "commit" in part));
    // The lines of a commit, or of an older revision, are not those of the newest one.
    comments.show(details.comments, { revision: found.revision, isOpen: !("commit" in part || "revision" in part) });
    renderMerge();
    renderNews();
    showError(linesError);
  } catch (failure) {
    if (number === loading) showError(linesError, failure.message);
  }
  lines.setAttribute("aria-busy", "false");
  updateDecision();
}

function render() {
  const { change, revisions } = details;
  document.title = `c${id}: ${textOf(change.title).slice(0, 60)} · Hyperhive`;
  for (const one of [part(".state"), lines, document.getElementById("comments")]) one.hidden = false;
  putText(part("h2"), [`c${id}: `, change.title].flat());
  part(".state").dataset.state = change.state;
  setText(part(".badge"), STATES[change.state] ?? change.state);
  part(".facts").replaceChildren(...factsOf(change));
  part(".note").hidden = textOf(change.note) === "";
  putText(part(".note"), change.note);
  keyed(part(".description"), [change.description], JSON.stringify, (text) => el("div", {}, ...makeDescription(text)));
  const newest = revisions.at(-1);
  part(".findings").hidden = newest.findings.length === 0;
  keyed(part(".findings"), newest.findings, JSON.stringify, (finding) => {
    const line = el("li");
    putText(line, finding);
    return line;
  });
  part(".revisions").hidden = revisions.length < 2;
  setText(part(".revisions > summary"), plural(revisions.length, "revision"));
  keyed(part(".revisions > ol"), revisions, ({ number }) => number, makeRevision);
  if (shown) comments.update(details.comments);
  updateDecision();
  renderNews();
}

const updateDecision = () => decision.update(details?.change, shown, mirror.tables.projects?.[details?.change.project]?.how);

function factsOf(change) {
  const [submitted, last] = [el("time"), el("time")];
  putTime(submitted, change.submitted);
  putTime(last, change.changed);
  const facts = [
    ["of ", el("a", { href: `/agents/${change.agent}` }, change.agent)],
    ["for ", el("code", {}, change.branch), ` of ${change.project}`],
    [`revision ${change.revision}, `, el("code", {}, change.commit.slice(0, 12))],
    ["submitted ", submitted],
    ...(change.changed === change.submitted ? [] : [["changed ", last]]),
    ...(change.published ? [["published as ", el("code", {}, change.published.slice(0, 12))]] : []),
  ];
  return joined(facts, " · ");
}

const makeDescription = (text) => makeLongText(text, [...textOf(text)].length, async () => text, putMarkdown);

function makeRevision({ number, commit, submitted, note, length }) {
  const at = el("time");
  putTime(at, submitted);
  const whole = async () => {
    throw new Error(`\`hivectl review c${id}\` shows all of it.`);
  };
  const said = length ? makeLongText(note, length, whole, putMarkdown) : [];
  return el("li", {}, `${number} · `, el("code", {}, commit.slice(0, 12)), " · ", at, ...said);
}

function renderCommits() {
  const { commits } = shown;
  part(".commits").hidden = commits.length === 0;
  setText(part(".commits > summary"), plural(commits.length, "commit"));
  keyed(part(".commits > ol"), commits, ({ commit }) => commit, ({ commit, author, at, subject }) => {
    const when = el("time");
    putTime(when, at);
    const what = el("span", { dir: "auto" });
    putText(what, subject);
    const who = el("span", { className: "by", dir: "auto" });
    putText(who, [author].flat());
    return el("li", {}, el("code", {}, commit.slice(0, 12)), " ", when, " ", who, " ", what);
  });
}

/** Offer the parts of the revision, and the steps that led to it. */
function renderViews() {
  const { revision, commits } = shown;
  const earlier = [...Array(revision - 1).keys()].map((index) => index + 1).reverse();
  const short = (text) => (text.length > 60 ? `${text.slice(0, 60)}…` : text);
  const subject = (text) => short([text].flat().map((one) => one.shown ?? one).join(""));
  view.replaceChildren(
    new Option(`all of revision ${revision}`, ""),
    ...earlier.map((since) => new Option(`since revision ${since}`, JSON.stringify({ since }))),
    ...(commits.length > 1
      ? commits.map((one) => new Option(`commit ${one.commit.slice(0, 12)} ${subject(one.subject)}`, JSON.stringify({ commit: one.commit })))
      : []),
    ...earlier.map((number) => new Option(`all of revision ${number}`, JSON.stringify({ revision: number }))),
  );
}

function renderMerge() {
  const line = lines.querySelector(".merge");
  const { branch, state } = details.change;
  const conflicts = shown.conflicts;
  const isOver = !["open", "changes-requested", "conflict", "approved"].includes(state);
  line.hidden = isOver;
  line.dataset.level = conflicts.length ? "bad" : "good";
  const base = shown.base ? [el("code", {}, branch), " at ", el("code", {}, shown.base.slice(0, 12))] : [el("code", {}, branch), ", which is empty"];
  const names = conflicts.flatMap((one, index) => {
    const name = el("code");
    putText(name, one);
    return [index ? ", " : "", name];
  });
  line.replaceChildren(...(conflicts.length ? ["It conflicts with ", ...base, " in ", ...names, "."] : ["It merges into ", ...base, " without conflicts."]));
}

/** Say what has happened since the diff was loaded. */
function renderNews() {
  const change = details?.change;
  let said = "";
  if (shown && change) {
    const isOpen = ["open", "changes-requested", "conflict"].includes(change.state);
    if (change.revision !== shown.revision) said = `Revision ${change.revision} was submitted. You see revision ${shown.revision}.`;
    else if (isOpen && tip !== shown.base) said = `${change.branch} has moved to ${tip.slice(0, 12)} since this was loaded.`;
  }
  news.hidden = said === "";
  setText(news.querySelector("p"), said);
}

news.querySelector("button").addEventListener("click", loadAll);
view.addEventListener("change", loadDiff);
functions.addEventListener("change", loadDiff);
document.title = `c${id} · Hyperhive`;
guardPresses();
mirror.connect();
