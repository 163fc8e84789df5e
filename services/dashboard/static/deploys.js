// The page of what was deployed when, and of the data that are kept of destroyed agents.

import { cancelJob } from "./agent_actions.js";
import { decide, get } from "./api.js";
import { attempt } from "./card_errors.js";
import { openMirror } from "./common.js";
import { ask } from "./confirm.js";
import { DeployList } from "./deploy_list.js";
import { el, keyed, showError } from "./dom.js";
import { guardPresses } from "./press_guard.js";
import { bytes, putTime } from "./text.js";

const list = new DeployList(document.getElementById("deploys"), () => mirror);
const choice = list.section.querySelector("select");
const section = document.getElementById("kept");
const error = section.querySelector(":scope > .error");
let load = 0; // the number of the current load of what is kept

const mirror = openMirror(changed);

function changed(tables) {
  const any = (...names) => names.some((name) => tables.has(name));
  // A deploy ends with a change of its request, a kept agent comes and goes with a job.
  if (any("approvals")) list.load();
  else if (any("agents")) list.render();
  if (any("jobs", "services")) loadKept();
  if (any("agents")) renderChoice();
}

function renderChoice() {
  const names = Object.keys(mirror.tables.agents).sort();
  const known = [...choice.options].map((option) => option.value).filter(Boolean);
  if (names.join() === known.join()) return;
  const chosen = choice.value;
  choice.replaceChildren(new Option("all agents", ""), ...names.map((name) => new Option(name, name)));
  choice.value = names.includes(chosen) ? chosen : "";
  list.agent = choice.value;
}

choice.addEventListener("change", () => {
  list.agent = choice.value;
  list.load();
});

async function loadKept() {
  const current = ++load;
  try {
    const { tombstones } = await get("/api/tombstones");
    if (current === load) renderKept(tombstones);
  } catch (failure) {
    if (current === load) showError(error, failure.message);
  }
}

function renderKept(kept) {
  section.querySelector(".empty").hidden = kept.length > 0;
  const busy = new Map(mirror.rows("jobs").map((job) => [job.agent, job]));
  keyed(section.querySelector("ul"), kept, (one) => one.name, makeKept, (node, one) => {
    const job = busy.get(one.name);
    for (const button of node.querySelectorAll("button:not(.cancel-job)")) button.disabled = Boolean(job);
    const way = job?.state === "cancelling" ? "being cancelled" : "under way";
    node.querySelector(".job").textContent = job ? `${job.verb} is ${way}` : "";
    node.querySelector(".cancel-job").hidden = !job?.may_cancel;
  });
}

function makeKept({ name, size, destroyed }) {
  const at = el("time");
  putTime(at, destroyed);
  const revive = el("button", { type: "button", title: "Creates the agent again, with its data and its configuration" }, "Revive");
  revive.setAttribute("aria-label", `Revive ${name}`);
  revive.addEventListener("click", () => act(name, "revive", {}));
  const purge = el("button", { type: "button" }, "Purge…");
  purge.setAttribute("aria-label", `Purge ${name}`);
  const cancel = el("button", { type: "button", className: "cancel-job", hidden: true }, "Cancel");
  cancel.setAttribute("aria-label", `Cancel the job on ${name}`);
  cancel.addEventListener("click", () => {
    const job = jobOf(mirror, name);
    if (job) attempt(error, stateOf(name), () => cancelJob(job));
  });
  purge.addEventListener("click", async () => {
    const sentence = `All data of ${name}, ${bytes(size)}, are deleted, and its configurations. This cannot be undone.`;
    if (await ask(`Purge ${name}?`, sentence, { typed: name, verb: "Purge" })) act(name, "purge", { name });
  });
  return el(
    "li",
    {},
    el("strong", {}, name),
    el("span", { className: "by" }, "destroyed ", at),
    el("span", { className: "by" }, bytes(size)),
    el("span", { className: "by job" }),
    el("span", { className: "buttons", data: { needs: "operator" } }, revive, cancel, purge),
  );
}

const jobOf = (hive, name) => hive.rows("jobs").find((job) => job.agent === name);
const stateOf = (name) => (hive) =>
  JSON.stringify([hive.tables.agents[name] ?? null, jobOf(hive, name) ?? null, hive.tables.services.lifecycle]);

async function act(name, verb, body) {
  const done = await attempt(error, stateOf(name), () => decide(`/api/tombstones/${name}/${verb}`, body));
  if (done === null) loadKept(); // somebody else may have done it meanwhile
}

document.title = "Deploys · Hyperhive";
guardPresses();
mirror.connect();
