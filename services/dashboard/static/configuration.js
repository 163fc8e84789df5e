// The page of an agent's configuration: the files as they are deployed, and an editor. A change is shown as a
// diff before it is sent; what is deployed then is exactly that, or nothing. What is written and not sent is a
// draft, which survives a reload.

import { get, post } from "./api.js";
import { openMirror } from "./common.js";
import { Checked } from "./config_editor.js";
import { ask } from "./confirm.js";
import { DeployList } from "./deploy_list.js";
import { showDiff } from "./diff.js";
import { el, setSentence, setText, showError } from "./dom.js";
import { keepDraft, recallDraft } from "./drafts.js";
import { guardPresses } from "./press_guard.js";
import { RequestNotice } from "./request_notice.js";
import { may } from "./session.js";
import { putText, putTime, spelled } from "./text.js";

const [, , name] = location.pathname.split("/");
const api = `/api/agents/${name}`;
const section = document.getElementById("configuration");
const find = (css) => section.querySelector(css);
const failed = find(".failed");
const said = find(".said");
const form = find("form");
const box = find("textarea");
const choice = find("select");
const reviewed = find(".reviewed");
const buttons = [find(".review"), find(".save"), find(".save-now")];

const FIRST = "agent.toml";
const KEPT = `configuration-${name}`;

let path = FIRST;
let file = null; // what is deployed, as it was fetched last
/** What is edited: `path`, `text` and `reason`; `begun`, the text with which it was begun, `base`, the commit of that; `at`. */
let draft = null;
let isKept = true; // whether the draft survives a reload
let isRecalled = false; // whether the draft is from before a reload, and has not been compared yet
let against = ""; // the commit with which the shown change compares the draft
let shown = 0; // the newest deployed request when the file was fetched last
let load = 0; // the number of the current load; the answer to an older one is not used

const notice = new RequestNotice(said, failed);
const checked = new Checked(box, find(".complaint"), () => path);
const list = new DeployList(document.getElementById("deploys"), () => mirror);
list.agent = name;
const mirror = openMirror(changed);

function changed(tables, isWhole) {
  // A request is `deployed` when the repositories say so, which is later than lifecycle does.
  const isNew = tables.has("approvals") && latest() !== shown;
  shown = latest();
  if (file === null || isWhole || isNew) fetchFile();
  else if (tables.has("agents")) noteDeployed();
  if (tables.has("approvals")) list.load();
  else if (tables.has("agents")) list.render();
  if (tables.has("approvals")) renderReplaced();
  notice.update(mirror);
}

// The request that was deployed last, as far as the mirror knows it.
const latest = () =>
  mirror
    .rows("approvals")
    .filter((one) => one.agent === name && one.state === "deployed")
    .reduce((last, { id }) => Math.max(last, id), 0);

/** Return a text as the box has it. */
const plain = (text) => text.replaceAll(/\r\n?/g, "\n");

/** Whether the draft was changed: only then is there something to lose. */
const isChanged = () => draft !== null && draft.text !== draft.begun;

// What is deployed is another commit than the one at which the draft was begun, or which it was compared with.
function noteDeployed() {
  const runs = mirror.tables.agents[name]?.deployed_commit;
  const known = reviewed.hidden ? draft?.base : against;
  const isOld = file !== null && (file.commit !== known || (runs && runs !== file.commit));
  if (draft && file && file.commit !== against) forgetReview();
  find(".outdated").hidden = !(draft && isOld);
}

async function fetchFile() {
  const current = ++load;
  try {
    const found = await get(`${api}/configuration?path=${encodeURIComponent(path)}`);
    if (current !== load) return;
    file = found;
    if (!draft) showError(failed);
    renderFile();
  } catch (failure) {
    if (current !== load) return;
    find(".reading").hidden = true;
    showError(failed, failure.message);
  }
  // A draft whose base has moved shows at once what it would change now.
  if (isRecalled && draft && file && file.commit !== draft.base) review();
  isRecalled = false;
}

function renderFile() {
  find(".edit").disabled = false;
  find(".reading").hidden = draft !== null;
  find(".commit").textContent = file.commit.slice(0, 12);
  choice.hidden = file.files.length < 2;
  if (file.files.join("\0") !== [...choice.options].map((option) => option.value).join("\0"))
    choice.replaceChildren(...file.files.map((one, index) => new Option(spelled(file.names[index]), one)));
  choice.value = path;
  const lines = file.lines.map((shown) => {
    const line = el("span", { className: "line" });
    putText(line, [shown, "\n"].flat());
    return line;
  });
  find(".lines").replaceChildren(...(lines.length ? lines : ["This file is empty."]));
  noteDeployed();
}

choice.addEventListener("change", () => {
  path = choice.value;
  find(".edit").disabled = true; // the text that is shown is still that of the other file
  fetchFile();
});

// Editing

/** Edit a draft; null: end that. */
function edit(edited) {
  draft = edited;
  find(".reading").hidden = draft !== null || file === null;
  form.hidden = draft === null;
  choice.disabled = draft !== null;
  forgetReview();
  find(".outdated").hidden = true;
  if (!draft) return keepDraft(KEPT, null);
  form.elements.reason.value = draft.reason;
  checked.value = draft.text;
  putTime(find(".draft time"), draft.at);
  find(".draft code").textContent = draft.base.slice(0, 12);
  keep();
}

/** Keep what is written, and say that it is a draft. */
function keep() {
  draft.text = box.value;
  draft.reason = form.elements.reason.value;
  isKept = keepDraft(KEPT, isChanged() ? draft : null);
  find(".draft").hidden = !isChanged();
  setText(find(".draft span"), isKept ? "" : "This browser cannot keep it: it is lost when you leave the page.");
  setText(find(".discard"), isChanged() ? "Discard the draft" : "Cancel");
}

function forgetReview() {
  reviewed.hidden = true;
  against = "";
}

find(".edit").addEventListener("click", () => {
  notice.end();
  showError(failed);
  const { text, commit } = file;
  edit({ path, text, reason: "", begun: plain(text), base: commit, at: Date.now() * 1000 });
  box.focus();
  box.setSelectionRange(0, 0);
});

find(".discard").addEventListener("click", async () => {
  const sentence = `What you have changed in ${path} is lost.`;
  if (isChanged() && !(await ask("Discard the draft?", sentence, { verb: "Discard" }))) return;
  edit(null);
  form.reset();
  showError(failed);
  if (file === null) path = FIRST;
  fetchFile();
});

find(".outdated button").addEventListener("click", () => review());

form.addEventListener("input", () => {
  // A review is about the text as it was.
  if (draft.text !== box.value) forgetReview();
  keep();
  noteDeployed();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  review();
});

async function review() {
  const { text } = draft;
  const change = await attempt(() => post(`${api}/configuration/compare`, { path, text }));
  if (change && change.base !== file?.commit) await fetchFile();
  if (!change || draft?.text !== text) return;
  showDiff(find(".reviewed .diff"), change.diff, `hivectl cat ${name} ${path}`, "This changes nothing.");
  against = change.base;
  renderReplaced();
  renderMoved();
  reviewed.hidden = false;
  noteDeployed();
  reviewed.scrollIntoView({ block: "nearest" });
}

// The draft replaces another file than the one with which it was begun.
function renderMoved() {
  const line = find(".moved");
  line.hidden = against === draft.base;
  const [then, now] = [draft.base.slice(0, 12), against.slice(0, 12)];
  const isSame = file?.commit === against && plain(file.text) === draft.begun;
  const what = isSame ? `has the same ${path}` : `has another ${path}: this change takes its changes back`;
  setSentence(line, `The draft was begun at commit \`${then}\`. Commit \`${now}\` is deployed now, and ${what}.`);
}

// A request of the manager's is based on what is deployed now: a deploy supersedes it.
function renderReplaced() {
  const line = find(".replaces");
  const pending = mirror.rows("approvals").find((one) => one.agent === name && one.state === "pending");
  line.hidden = !pending;
  if (pending) setSentence(line, `Request ${pending.id} of the ${pending.requested_by} waits for your approval; this change supersedes it.`);
}

find(".save").addEventListener("click", () => save(false));
find(".save-now").addEventListener("click", () => save(true));

async function save(now) {
  const body = { path, text: draft.text, base: against, reason: draft.reason.trim(), now };
  const answer = await attempt(() => post(`${api}/configuration`, body));
  // It may have failed because something else was deployed.
  if (!answer) return fetchFile();
  notice.say(answer.said, answer.request);
  edit(null);
  form.reset();
  notice.update(mirror); // it may be over already
  // The button was below a long text.
  said.scrollIntoView({ block: "center" });
}

async function attempt(call) {
  showError(failed);
  for (const button of buttons) button.disabled = true;
  try {
    return await call();
  } catch (failure) {
    showError(failed, failure.message);
    return null;
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

// A draft that is not kept is lost with the page: the browser asks first.
addEventListener("beforeunload", (event) => {
  if (isChanged() && !isKept) event.preventDefault();
});

const title = find("h2 a");
title.textContent = name;
title.href = `/agents/${name}`;
document.title = `Configuration of ${name} · Hyperhive`;

const kept = recallDraft(KEPT);
if (kept && may("operator")) {
  isRecalled = true;
  path = kept.path;
  edit(kept);
}
guardPresses();
mirror.connect();
