// The page of an agent's configuration: the files as they are deployed, and an editor. A change is shown as a
// diff before it is sent; what is deployed then is exactly that, or nothing.

import { get, post } from "./api.js";
import { openMirror } from "./common.js";
import { Checked } from "./config_editor.js";
import { DeployList } from "./deploy_list.js";
import { showDiff } from "./diff.js";
import { el, setSentence, showError } from "./dom.js";
import { guardPresses } from "./press_guard.js";
import { putText } from "./text.js";

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

let path = "agent.toml";
let file = null; // what is deployed, as it was fetched
let isEditing = false;
let shown = 0; // the newest deployed request when the file was fetched last
let load = 0; // the number of the current load; the answer to an older one is not used

const checked = new Checked(box, find(".complaint"), () => path);
const list = new DeployList(document.getElementById("deploys"), () => mirror);
list.agent = name;
const mirror = openMirror(changed);

function changed(tables) {
  // A request is `deployed` when the repositories say so, which is later than lifecycle does.
  const isNew = tables.has("approvals") && latest() !== shown;
  shown = latest();
  if (file === null || tables.size > 1 || isNew) fetchFile();
  else if (tables.has("agents")) noteDeployed();
  if (tables.has("approvals")) list.load();
  else if (tables.has("agents")) list.render();
  if (tables.has("approvals")) renderReplaced();
}

// The request that was deployed last, as far as the mirror knows it.
const latest = () =>
  mirror
    .rows("approvals")
    .filter((one) => one.agent === name && one.state === "deployed")
    .reduce((last, { id }) => Math.max(last, id), 0);

// What runs is another commit than the one that is edited.
function noteDeployed() {
  const commit = mirror.tables.agents[name]?.deployed_commit;
  find(".outdated").hidden = !(isEditing && file && commit && commit !== file.commit);
}

async function fetchFile() {
  const current = ++load;
  try {
    const found = await get(`${api}/configuration?path=${encodeURIComponent(path)}`);
    if (current !== load || isEditing) return noteDeployed();
    file = found;
    showError(failed);
    renderFile();
  } catch (failure) {
    if (current !== load) return;
    find(".reading").hidden = true;
    showError(failed, failure.message);
  }
}

function renderFile() {
  find(".edit").disabled = false;
  find(".reading").hidden = false;
  find(".commit").textContent = file.commit.slice(0, 12);
  choice.hidden = file.files.length < 2;
  if (file.files.join("\0") !== [...choice.options].map((option) => option.value).join("\0"))
    choice.replaceChildren(...file.files.map((one) => new Option(one, one)));
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

function edit(on) {
  isEditing = on;
  find(".reading").hidden = on;
  form.hidden = !on;
  choice.disabled = on;
  forgetReview();
  find(".outdated").hidden = true;
}

const forgetReview = () => (reviewed.hidden = true);

find(".edit").addEventListener("click", () => {
  said.hidden = true;
  showError(failed);
  edit(true);
  checked.value = file.text;
  box.focus();
  box.setSelectionRange(0, 0);
});

find(".cancel").addEventListener("click", () => {
  edit(false);
  showError(failed);
  noteDeployed();
});

find(".outdated button").addEventListener("click", () => {
  edit(false);
  fetchFile();
});

// A review is about the text as it was.
box.addEventListener("input", forgetReview);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = box.value;
  const change = await attempt(() => post(`${api}/configuration/compare`, { path, text }));
  if (!change || text !== box.value) return;
  if (change.base !== file.commit) return showError(failed, `Another configuration of ${name} was deployed meanwhile.`);
  showDiff(find(".reviewed .diff"), change.diff, `hivectl cat ${name} ${path}`, "This changes nothing.");
  renderReplaced();
  reviewed.hidden = false;
  reviewed.scrollIntoView({ block: "nearest" });
});

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
  const body = { path, text: box.value, base: file.commit, reason: form.elements.reason.value.trim(), now };
  const answer = await attempt(() => post(`${api}/configuration`, body));
  if (!answer) return;
  putText(said, answer.said);
  said.hidden = false;
  form.reset();
  edit(false);
  noteDeployed();
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

// A text that was not sent is lost with the page: the browser asks first.
addEventListener("beforeunload", (event) => {
  if (isEditing && box.value !== file.text) event.preventDefault();
});

const title = find("h2 a");
title.textContent = name;
title.href = `/agents/${name}`;
document.title = `Configuration of ${name} · Hyperhive`;
guardPresses();
mirror.connect();
