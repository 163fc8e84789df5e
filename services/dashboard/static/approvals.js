// The requests for approval: open ones with buttons, those that are being carried out with their log, and
// those that were decided.

import { cancelJob } from "./agent_actions.js";
import { decide, get } from "./api.js";
import { attempt, stateOfRow } from "./card_errors.js";
import { makeChange } from "./diff.js";
import { el, keyed, setText } from "./dom.js";
import { foldLong } from "./message.js";
import { makeNoteForm } from "./note_form.js";
import { moment, putText, putTime } from "./text.js";

const WORKING = new Set(["approved", "building"]);
const VERBS = { spawn: "spawn", apply: "deploy", revert: "deploy" };

/**
 * Render the requests in `section`, which has the lists `.pending`, `.working` and `.settled`, or some of them.
 * @param options `open`: show the change of each open request at once; `older`: rows that were fetched
 * @returns the number of open requests
 */
export function renderApprovals(mirror, section = document.getElementById("approvals"), options = {}) {
  const error = section.querySelector(":scope > .error");
  const approvals = mirror.rows("approvals");
  const pending = approvals.filter((approval) => approval.state === "pending");
  pending.sort((a, b) => a.id - b.id);
  const known = mirror.tables.services.approvals?.available === true;
  section.querySelector(".empty").hidden = pending.length > 0 || !known;
  const version = (approval) => JSON.stringify(approval);
  keyed(section.querySelector(".pending"), pending, (one) => one.id, (one) => makePending(one, error, options), undefined, version);
  const working = approvals.filter(({ state }) => WORKING.has(state)).sort((a, b) => a.resolved - b.resolved);
  put(section, ".working", working, (one) => makeWorking(one, error), (node, one) => updateWorking(node, one, mirror));
  const decided = new Map((options.older ?? []).map((one) => [one.id, one]));
  for (const one of approvals) decided.set(one.id, one);
  const settled = [...decided.values()].filter(({ state }) => state !== "pending" && !WORKING.has(state));
  settled.sort((a, b) => (options.older ? b.id - a.id : b.resolved - a.resolved || b.id - a.id));
  put(section, ".settled", settled, (one) => makeSettled(one, error), (node, one) => updateSettled(node, one, mirror));
  return pending.length;
}

// Render a list with the title above it; a page may lack both.
function put(section, css, items, make, update) {
  const list = section.querySelector(css);
  if (!list) return;
  const title = list.previousElementSibling;
  if (title?.tagName === "H3") title.hidden = items.length === 0;
  keyed(list, items, (item) => item.id, make, update);
}

/** Make the card of an open request; `error` is the line that shows a failure. */
export function makePending(approval, error, { open = false } = {}) {
  const asked = el("time");
  putTime(asked, approval.requested);
  const reason = el("p", { className: "reason", dir: "auto" });
  putText(reason, approval.reason || "No reason given.");
  const button = (text, className = "") => {
    const node = el("button", { type: "button", className }, text);
    node.setAttribute("aria-label", `${text.replace("…", "")}: ${approval.kind} ${approval.agent}`);
    return node;
  };
  const approve = button("Approve", "primary");
  const now = button("Approve now");
  now.title = "Deploys at once, even in the middle of a turn";
  now.hidden = approval.kind === "spawn";
  const isOwn = approval.requested_by === "operator";
  const deny = button(isOwn ? "Withdraw" : "Deny…");
  const buttons = [approve, now, deny];
  const denial = isOwn ? "" : makeDenial(approval, deny, error);
  const change = approval.commit ? makeChange(approval, { open }) : "";
  // The decision is about what this card shows; approvals refuses it when that has changed.
  const yes = async (options) => {
    const { base } = change.dataset ?? {};
    const body = base === undefined ? options : { ...options, base };
    // The change that was shown may be outdated: show it again.
    if (!(await settle(approval, "approve", body, buttons, error))) change.dispatchEvent?.(new Event("toggle"));
  };
  approve.addEventListener("click", () => yes({}));
  now.addEventListener("click", () => yes({ now: true }));
  if (isOwn)
    deny.addEventListener("click", () => act(`/api/approvals/${approval.id}/withdraw`, {}, buttons, error, stateOf(approval)));
  return el(
    "li",
    {},
    el(
      "p",
      { className: "what" },
      el("span", { className: "by" }, `#${approval.id} `),
      `${approval.kind} `,
      el("strong", {}, approval.agent),
      el("span", { className: "by" }, ` requested by ${approval.requested_by}, `, asked),
    ),
    ...foldLong(reason),
    change,
    el("div", { className: "buttons", data: { needs: isOwn ? "operator" : "reviewer" } }, ...buttons),
    denial,
  );
}

function makeDenial(approval, opener, error) {
  return makeNoteForm(opener, `denial-${approval.id}`, {
    verb: "Deny",
    effect: "denies",
    label: "Note for the manager",
    placeholder: "Reason, for the manager",
    send: (note, buttons) => settle(approval, "deny", { note }, buttons, error),
  });
}

const stateOf = ({ id }) => stateOfRow("approvals", "approvals", id);

/** Decide about a request; return whether that was accepted. */
const settle = (approval, verb, body, buttons, error) =>
  act(`/api/approvals/${approval.id}/${verb}`, { ...body, commit: approval.commit }, buttons, error, stateOf(approval));

/** Act on a request; return the answer, or null. */
async function act(path, body, buttons, error, about) {
  for (const button of buttons) button.disabled = true;
  const answer = await attempt(error, about, () => decide(path, body));
  if (answer === null) for (const button of buttons) button.disabled = false;
  return answer;
}

function makeWorking(approval, error) {
  const data = { needs: "reviewer" };
  const now = el("button", { type: "button", hidden: approval.kind === "spawn", data }, "Deploy now");
  now.title = "Does not wait for the end of the agent's turn";
  now.setAttribute("aria-label", `Deploy now: ${approval.agent}`);
  now.addEventListener("click", async () => {
    await settle(approval, "approve", { now: true }, [now], error);
    now.disabled = false;
  });
  const cancel = el("button", { type: "button", className: "cancel-job", hidden: true, data: { needs: "operator" } }, "Cancel");
  cancel.setAttribute("aria-label", `Cancel the ${VERBS[approval.kind]} of ${approval.agent}`);
  cancel.addEventListener("click", async () => {
    cancel.disabled = true;
    const id = Number(cancel.dataset.job);
    await attempt(error, stateOf(approval), () => cancelJob({ id }));
    cancel.disabled = false;
  });
  const log = el("pre", { tabIndex: 0 });
  log.setAttribute("role", "log");
  log.setAttribute("aria-label", `Log of request ${approval.id}`);
  return el(
    "li",
    {},
    el(
      "p",
      { className: "what" },
      el("span", { className: "badge" }),
      el("span", { className: "by" }, `#${approval.id}`),
      approval.kind,
      el("strong", {}, approval.agent),
      el("time"),
      now,
      cancel,
    ),
    el("details", { className: "log", open: true, hidden: true }, el("summary", {}, "Log"), log),
    approval.commit ? makeChange(approval) : "",
  );
}

function updateWorking(node, approval, mirror) {
  node.dataset.state = approval.state;
  setText(node.querySelector(".badge"), approval.state);
  putTime(node.querySelector("time"), approval.resolved, `since ${moment(approval.resolved)}`);
  const verb = VERBS[approval.kind];
  const job = Object.entries(mirror.tables.jobs).find(([, one]) => one.agent === approval.agent && one.verb === verb);
  const cancel = node.querySelector(".cancel-job");
  cancel.hidden = !job?.[1].may_cancel;
  cancel.dataset.job = job?.[1].id ?? "";
  if (job?.[1].state === "cancelling") setText(node.querySelector(".badge"), "being cancelled");
  const lines = job ? mirror.rows("output").filter((line) => line.job === job[0]) : [];
  lines.sort((a, b) => a.n - b.n);
  const log = node.querySelector(".log pre");
  log.parentElement.hidden = lines.length === 0;
  const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  const makeLine = (line) => {
    const made = el("span", { className: "line" });
    putText(made, [line.text, "\n"].flat());
    return made;
  };
  keyed(log, lines, (line) => `${line.job} ${line.n}`, makeLine, () => {});
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

function makeSettled(approval, error) {
  const revert = el("button", { type: "button", className: "revert", hidden: true, data: { needs: "operator" } }, "Go back to this");
  revert.setAttribute("aria-label", `Go back to deployed/${approval.id} of ${approval.agent}`);
  revert.addEventListener("click", () => goBack(approval.agent, approval.id, revert, error));
  return el(
    "li",
    {},
    el("span", { className: "badge" }),
    el("span", { className: "by number" }, `#${approval.id}`),
    el("span", { className: "kind" }),
    el("strong"),
    el("span", { className: "note", dir: "auto" }),
    el("time"),
    el("span", { className: "chip", hidden: true }, "runs now"),
    revert,
    el("details", { className: "log", hidden: true }, el("summary", {}, "Log"), el("pre")),
    approval.commit ? makeChange(approval) : "",
  );
}

function updateSettled(node, approval, mirror) {
  node.dataset.state = approval.state;
  setText(node.querySelector(".badge"), approval.state);
  setText(node.querySelector(".kind"), approval.kind);
  setText(node.querySelector("strong"), approval.agent);
  const note = approval.note || approval.reason;
  putText(node.querySelector(".note"), note);
  node.querySelector(".note").title = typeof note === "string" ? note : "";
  putTime(node.querySelector("time"), approval.resolved);
  node.querySelector(".log").hidden = approval.log === "";
  putText(node.querySelector(".log pre"), approval.log);
  const agent = mirror.tables.agents[approval.agent];
  const runs = approval.state === "deployed" && agent?.deployed_commit === approval.commit;
  node.querySelector(".chip").hidden = !runs;
  node.querySelector(".revert").hidden = approval.state !== "deployed" || runs || !agent;
}

/**
 * Request that an agent goes back to a deploy. That is a request like any other: its change is shown with it.
 * @returns the number of the request, or null
 */
export async function goBack(agent, number, button, error) {
  // Whatever is in the way is another request of the agent, or the configuration that it has.
  const inTheWay = (mirror) => {
    const requests = mirror.rows("approvals").filter((one) => one.agent === agent);
    return JSON.stringify([requests, mirror.tables.agents[agent]?.deployed_commit, mirror.tables.services.approvals]);
  };
  return (await act(`/api/agents/${agent}/revert`, { to: number }, [button], error, inTheWay))?.request ?? null;
}

/** Requests that were decided, fetched in pages. */
export class OlderRequests {
  #rows = new Map();
  #before = Infinity; // all requests from this number on have been fetched

  /** The rows, as they are known now. */
  get rows() {
    return [...this.#rows.values()];
  }

  /** Fetch the next page; return whether there are more. */
  async fetch() {
    const query = this.#before === Infinity ? "" : `?before=${this.#before}`;
    const { approvals, more } = await get(`/api/approvals${query}`);
    for (const row of approvals) this.#rows.set(row.id, row);
    this.#before = more ? approvals.at(-1).id : 0;
    return more;
  }

  /** Keep what is now known of the requests: the mirror forgets those that were decided long ago. */
  note(rows) {
    for (const row of rows) if (row.id >= this.#before) this.#rows.set(row.id, row);
  }
}
