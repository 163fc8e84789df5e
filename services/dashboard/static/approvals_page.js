// The page of all requests for approval, and the form that creates an agent.

import { get, post } from "./api.js";
import { openMirror } from "./common.js";
import { Checked } from "./config_editor.js";
import { showError } from "./dom.js";
import { keepDraft, recallDraft } from "./drafts.js";
import { renderRefused } from "./egress.js";
import { guardPresses } from "./press_guard.js";
import { OlderRequests, renderApprovals } from "./approvals.js";
import { RequestNotice } from "./request_notice.js";

const section = document.getElementById("approvals");
const error = section.querySelector(":scope > .error");
const more = section.querySelector(".older");
const older = new OlderRequests();
let loaded = false;
let waiting = 0;

const mirror = openMirror(changed);

function changed(tables) {
  const any = (...names) => names.some((name) => tables.has(name));
  if (any("approvals", "jobs", "output", "agents", "services")) render();
  notice.update(mirror);
  if (any("egress", "services")) {
    const refused = document.getElementById("refused");
    const isAway = mirror.tables.services.ledger?.available === false;
    refused.hidden = renderRefused(mirror, refused) === 0 && !isAway;
  }
  // Only once: what happens from now on comes with the changes.
  if (!loaded) {
    loaded = true;
    fetchOlder();
  }
}

function render() {
  older.note(mirror.rows("approvals"));
  waiting = renderApprovals(mirror, section, { open: true, older: older.rows });
  document.title = waiting ? `(${waiting}) Approvals · Hyperhive` : "Approvals · Hyperhive";
}

async function fetchOlder() {
  more.disabled = true;
  try {
    more.hidden = !(await older.fetch());
    render();
  } catch (failure) {
    loaded = false; // the next change tries again
    showError(error, failure.message);
  }
  more.disabled = false;
}

more.addEventListener("click", fetchOlder);

// A new agent

const form = document.querySelector("#spawn form");
const submit = form.querySelector("[type=submit]");
const failed = form.querySelector(".failed");
const said = form.querySelector(".said");
const text = form.querySelector("textarea");
const notice = new RequestNotice(said, failed);
const config = new Checked(text, form.querySelector(".complaint"), () => "agent.toml");
const DRAFT = "spawn";

const { name: kept, reason: why, config: begun } = recallDraft(DRAFT) ?? {};
form.elements.name.value = kept ?? "";
form.elements.reason.value = why ?? "";
if (begun) config.value = begun;

form.addEventListener("input", keep);

function keep() {
  const { name, reason } = form.elements;
  const draft = { name: name.value, reason: reason.value, config: text.value };
  keepDraft(DRAFT, Object.values(draft).some(Boolean) ? draft : null);
}

form.querySelector(".template").addEventListener("click", async () => {
  try {
    config.value = (await get("/api/configuration/template")).text;
    keep();
  } catch (failure) {
    showError(failed, failure.message);
  }
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  showError(failed);
  notice.end();
  submit.disabled = true;
  const { name, reason } = form.elements;
  const wanted = { name: name.value.trim(), reason: reason.value.trim() };
  try {
    const answer = await post("/api/spawn", text.value.trim() ? { ...wanted, config: text.value } : wanted);
    notice.say(answer.said, answer.request);
    notice.update(mirror); // it may be over already
    form.reset();
    config.value = "";
    keepDraft(DRAFT, null);
  } catch (failure) {
    showError(failed, failure.message);
  }
  submit.disabled = false;
});

guardPresses();
mirror.connect();
