// The page of projects and changes.

import { decide, get } from "./api.js";
import { attempt, stateOfRow } from "./card_errors.js";
import { renderWaitingChanges, STATES } from "./changes.js";
import { openMirror } from "./common.js";
import { el, keyed, setSentence, setText, showError } from "./dom.js";
import { guardPresses } from "./press_guard.js";
import { bytes, joined, plural, putText, putTime, spelled } from "./text.js";

const PAGE = 50;
const MOST = 999;

const waiting = document.getElementById("waiting-changes");
const projects = document.getElementById("projects");
const projectError = projects.querySelector(":scope > .error");
const section = document.getElementById("all-changes");
const error = section.querySelector(":scope > .error");
const filters = section.querySelector("form");
const older = section.querySelector(".older");
let limit = PAGE;
let isLoading = false;
let isStale = false;

const mirror = openMirror(changed);

function changed(tables) {
  const any = (...names) => names.some((name) => tables.has(name));
  if (any("changes")) {
    waiting.hidden = renderWaitingChanges(mirror, waiting.querySelector("ul")) === 0;
    load();
  }
  if (any("projects", "agents", "services")) renderProjects();
}

// Projects

function renderProjects() {
  const rows = mirror.rows("projects").sort((a, b) => a.name.localeCompare(b.name));
  keyed(projects.querySelector("ul"), rows, ({ name }) => name, makeProject, updateProject);
  projects.querySelector(".empty").hidden = rows.length > 0 || !mirror.tables.services.projects?.available;
  const names = rows.map(({ name }) => name);
  keyed(filters.project, ["", ...names], String, (name) => el("option", { value: name }, name || "all"));
}

function makeProject({ name }) {
  const act = (label, verb) => {
    const button = el("button", { type: "button", data: { verb, needs: "operator" } }, label);
    button.setAttribute("aria-label", `${label}: ${name}`);
    button.addEventListener("click", async () => {
      button.disabled = true;
      const about = stateOfRow("projects", "projects", name);
      await attempt(projectError, about, () => decide(`/api/projects/${name}/${verb}`));
      button.disabled = false;
    });
    return button;
  };
  return el(
    "li",
    {},
    el("p", { className: "what" }, el("strong", {}, name), el("span", { className: "badge" }), el("span", { className: "by facts" })),
    el("p", { className: "by source" }),
    el("p", { className: "message error", dir: "auto", hidden: true }),
    el("p", { className: "by progress", role: "status", hidden: true }),
    el("p", { className: "by notes", dir: "auto", hidden: true }),
    el("p", { className: "by who" }),
    el("div", { className: "buttons" }, act("Fetch", "fetch"), act("Cancel the fetch", "cancel-fetch")),
    makeBranches(name),
  );
}

function updateProject(node, project) {
  const part = (css) => node.querySelector(css);
  node.dataset.state = project.state;
  setText(part(".badge"), project.state);
  part(".facts").replaceChildren(...factsOf(project));
  part(".source").replaceChildren(project.source ? el("code", {}, project.source) : "It lives in the hive: it has no upstream.");
  part(".message").hidden = project.message === "";
  setSentence(part(".message"), spelled(project.message));
  const { progress } = project;
  part(".progress").hidden = project.state !== "fetching";
  const share = progress?.total ? ` ${Math.floor((100 * progress.done) / progress.total)} %` : "";
  setText(part(".progress"), progress ? `${progress.phase}${share}` : "The fetch begins, or waits for its turn.");
  part(".notes").hidden = project.notes.length === 0;
  putText(part(".notes"), joined(project.notes, " "));
  const agents = mirror.rows("agents").filter((agent) => agent.projects.includes(project.name));
  const names = agents.map(({ name }) => name).sort();
  const links = names.flatMap((name, index) => [index ? ", " : "", el("a", { href: `/agents/${name}` }, name)]);
  part(".who").replaceChildren(...(links.length ? ["Agents: ", ...links] : ["No agent has it."]));
  part("[data-verb=fetch]").hidden = !project.source || project.state === "fetching" || project.state === "removing";
  part("[data-verb=cancel-fetch]").hidden = project.state !== "fetching";
}

function factsOf({ branch, commit, fetched, source, size }) {
  const at = el("time");
  putTime(at, fetched);
  const where = branch ? [el("code", {}, branch), ...(commit ? [" at ", el("code", {}, commit.slice(0, 12))] : [" without a commit"])] : [];
  const when = fetched ? ["fetched ", at] : source ? ["never fetched"] : [];
  return joined([where, when, size ? [bytes(size)] : []].filter((one) => one.length), " · ");
}

function makeBranches(name) {
  const body = el("div", { className: "branches" });
  const box = el("details", {}, el("summary", {}, "Branches"), body);
  box.addEventListener("toggle", async () => {
    if (!box.open) return;
    try {
      const { branches, branch_count: count, tag_count: tags } = await get(`/api/projects/${name}`);
      const counts = `${count} ${count === 1 ? "branch" : "branches"}, ${plural(tags, "tag")}`;
      const more = branches.length < count ? "; those with the newest commits:" : "";
      body.replaceChildren(el("p", { className: "by" }, counts, more), el("ul", {}, ...branches.map(makeBranch)));
    } catch (failure) {
      body.replaceChildren(failure.message);
    }
  });
  return box;
}

function makeBranch({ name, commit, committed, subject }) {
  const at = el("time");
  putTime(at, committed);
  const what = el("span", { dir: "auto" });
  putText(what, subject);
  return el("li", {}, el("code", {}, name), " ", el("code", { className: "by" }, commit.slice(0, 12)), " ", at, " ", what);
}

// Changes

// Changes that come while an answer is outstanding cause one more request.
async function load() {
  if (isLoading) {
    isStale = true;
    return;
  }
  isLoading = true;
  try {
    const wanted = ["project", "state"].map((name) => [name, filters[name].value]).filter(([, value]) => value);
    const { changes, more } = await get(`/api/changes?${new URLSearchParams([...wanted, ["limit", limit]])}`);
    renderChanges(changes);
    older.hidden = !more || limit === MOST;
    showError(error);
  } catch (failure) {
    showError(error, failure.message);
  }
  isLoading = false;
  if (isStale) {
    isStale = false;
    await load();
  }
}

function renderChanges(changes) {
  section.querySelector(".wide-table").hidden = changes.length === 0;
  section.querySelector(":scope > .empty").hidden = changes.length > 0;
  keyed(section.querySelector("tbody"), changes, ({ id }) => id, makeRow);
}

function makeRow(change) {
  const cell = (title, ...content) => el("td", { data: { title } }, ...content);
  const at = el("time");
  putTime(at, change.changed);
  const title = el("span", { dir: "auto" });
  putText(title, change.title);
  const note = el("span", { className: "by note", dir: "auto" });
  putText(note, change.note.length ? [" · ", change.note].flat() : "");
  return el(
    "tr",
    { data: { state: change.state } },
    el("th", { scope: "row" }, el("a", { href: `/changes/${change.id}` }, `c${change.id}`)),
    el("td", { className: "title" }, title, note),
    el("td", { data: { state: change.state } }, el("span", { className: "badge" }, STATES[change.state] ?? change.state)),
    cell("project", change.project),
    cell("agent", change.agent),
    cell("branch", el("code", {}, change.branch)),
    el("td", { className: "number", data: { title: "revision" } }, String(change.revision)),
    cell("changed", at),
  );
}

older.addEventListener("click", () => {
  limit = Math.min(MOST, limit + PAGE);
  load();
});
filters.state.append(...Object.entries(STATES).map(([state, words]) => new Option(words, state)));
filters.addEventListener("change", () => {
  limit = PAGE;
  load();
});
filters.addEventListener("submit", (event) => event.preventDefault());

document.title = "Projects and changes · Hyperhive";
guardPresses();
mirror.connect();
