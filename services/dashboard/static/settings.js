// The page of settings: the sessions of all browsers, and what this browser keeps for itself.

import { get, post } from "./api.js";
import { openMirror } from "./common.js";
import { el, keyed, setSentence, setText, showError } from "./dom.js";
import { choice, choose, GROUPS, missing as noNotifications } from "./notifications.js";
import { makePasskey, missing } from "./passkeys.js";
import { may, role } from "./session.js";
import { moment, putText } from "./text.js";
import { putThemeChoices } from "./theme.js";

const MEANING = {
  operator: "You are logged in as an operator: you may do everything.",
  reviewer: "You are logged in as a reviewer: you may read, answer questions, and approve and deny requests.",
  guest: "You are logged in as a guest: you may only read.",
};
const WAYS = { link: "by link", passkey: "by passkey ", proxy: "by proxy, as " };

const sessions = document.getElementById("sessions");

/** Fill a section again; a failure is shown in the section. */
async function load(section, fill) {
  const error = section.querySelector(".error");
  try {
    await fill();
    showError(error);
  } catch (failure) {
    showError(error, failure.message);
  }
}

const loadSessions = () =>
  load(sessions, async () => {
    const found = (await get("/api/sessions")).sessions;
    keyed(sessions.querySelector("ul"), found, (row) => row.id, makeSession);
  });

function makeSession(row) {
  const name = el("span", { dir: "auto" });
  putText(name, row.name);
  const facts = el("span", { className: "facts" }, `since ${moment(row.began)} ${WAYS[row.way]}`, name);
  facts.append(` · used ${moment(row.used)}${row.address ? ` · from ${row.address}` : ""}`);
  const title = el("strong", {}, `${row.browser || "Unknown browser"}, ${row.role}`);
  if (row.own) return el("li", {}, title, facts, el("span", { className: "own" }, "this browser"));
  const end = el("button", { type: "button", ariaLabel: `End the session of ${title.textContent}` }, "End");
  end.addEventListener("click", () => {
    end.disabled = true;
    load(sessions, () => post(`/api/sessions/${row.id}/revoke`)).then(loadSessions);
  });
  return el("li", {}, title, facts, end);
}

const passkeys = document.getElementById("passkeys");

const loadPasskeys = () =>
  load(passkeys, async () => {
    const found = (await get("/api/passkeys")).passkeys;
    keyed(passkeys.querySelector("ul"), found, (row) => row.id, makeRow);
  });

function makeRow(row) {
  const name = el("span", { dir: "auto" });
  putText(name, row.name);
  const facts = el("span", { className: "facts" }, `for ${row.host} · made ${moment(row.made)} · used ${moment(row.used)}`);
  const remove = el("button", { type: "button", ariaLabel: `Remove the passkey ${name.textContent}` }, "Remove");
  remove.addEventListener("click", () => {
    remove.disabled = true;
    load(passkeys, async () => {
      await post("/api/passkeys/remove", { id: row.id });
      await Promise.all([loadPasskeys(), may("operator") && loadSessions()]);
    });
  });
  return el("li", {}, el("strong", {}, name, `, ${row.role}`), facts, remove);
}

// Browsers have passkeys for names only, and over TLS.
async function offerPasskeys() {
  const form = passkeys.querySelector("form");
  const why = (await get("/api/session")).passkeys || missing();
  form.hidden = why !== "";
  setSentence(passkeys.querySelector(".unavailable"), why);
  passkeys.querySelector(".unavailable").hidden = why === "";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    load(passkeys, async () => {
      await makePasskey(form.querySelector("input").value);
      form.reset();
      await loadPasskeys();
    }).finally(() => (button.disabled = false));
  });
}

const notifications = document.getElementById("notifications");

// The boxes show the choice that is kept; a change that fails is taken back.
function offerNotifications() {
  const groups = notifications.querySelector(".groups");
  for (const [name, { label }] of Object.entries(GROUPS))
    groups.append(el("label", {}, el("input", { type: "checkbox", value: name }), ` ${label}`));
  notifications.addEventListener("change", () => {
    const chosen = [...groups.querySelectorAll("input:checked")].map((box) => box.value);
    const box = (name) => notifications.querySelector(`[name=${name}]`).checked;
    showChoice(true);
    load(notifications, async () => {
      tellMissing(await choose({ on: box("on"), muted: box("muted"), groups: chosen }));
    }).finally(() => showChoice(false));
  });
  showChoice(false);
  tellMissing(noNotifications());
}

function showChoice(busy) {
  if (busy) {
    for (const box of notifications.querySelectorAll("input")) box.disabled = true;
    return;
  }
  const kept = choice();
  for (const box of notifications.querySelectorAll("input")) {
    box.checked = box.name ? kept[box.name] : kept.groups.includes(box.value);
    box.disabled = box.name === "on" ? noNotifications() !== "" && !kept.on : !kept.on;
  }
}

function tellMissing(sentence) {
  const line = notifications.querySelector(".unavailable");
  setSentence(line, sentence);
  line.hidden = sentence === "";
}

setText(document.getElementById("login-role"), MEANING[role()] ?? "");
if (may("operator")) loadSessions();
if (may("reviewer")) {
  loadPasskeys();
  load(passkeys, offerPasskeys);
  offerNotifications();
}
putThemeChoices(document.querySelector("#theme .choices"));
openMirror(() => {}).connect();
document.title = "Settings · Hyperhive";
