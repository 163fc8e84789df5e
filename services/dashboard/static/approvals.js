// The approvals: open requests with buttons, and the requests that were decided last.

import { decide } from "./api.js";
import { makeDiff } from "./diff.js";
import { el, keyed, setText, showError } from "./dom.js";
import { putText, putTime } from "./text.js";

const section = document.getElementById("approvals");
const pendingList = section.querySelector(".pending");
const settledList = section.querySelector(".settled");
const settledTitle = section.querySelector("h3");
const empty = section.querySelector(".empty");
const error = section.querySelector(".error");

/** Render both lists; return the number of open requests. */
export function renderApprovals(mirror) {
  const approvals = mirror.rows("approvals");
  const pending = approvals.filter((approval) => approval.state === "pending");
  const settled = approvals.filter((approval) => approval.state !== "pending");
  pending.sort((a, b) => a.id - b.id);
  const working = (approval) => approval.state === "approved" || approval.state === "building";
  settled.sort((a, b) => working(b) - working(a) || b.resolved - a.resolved || b.id - a.id);
  empty.hidden = pending.length > 0 || mirror.tables.services.approvals?.available !== true;
  settledTitle.hidden = settled.length === 0;
  keyed(pendingList, pending, (approval) => approval.id, makePending);
  keyed(settledList, settled, (approval) => approval.id, makeSettled, updateSettled);
  return pending.length;
}

function makePending(approval) {
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
  const deny = button("Deny…");
  const buttons = [approve, now, deny];
  const denial = makeDenial(approval, deny);
  const change = approval.commit ? makeDiff(approval) : "";
  // The decision is about what this card shows; approvals refuses it when that has changed.
  const yes = async (options) => {
    const { base } = change.dataset ?? {};
    const body = base === undefined ? options : { ...options, base };
    // The change that was shown may be outdated: show it again.
    if (!(await settle(approval, "approve", body, buttons))) change.dispatchEvent?.(new Event("toggle"));
  };
  approve.addEventListener("click", () => yes({}));
  now.addEventListener("click", () => yes({ now: true }));
  deny.addEventListener("click", () => {
    denial.hidden = !denial.hidden;
    deny.setAttribute("aria-expanded", String(!denial.hidden));
    if (!denial.hidden) denial.elements.note.focus();
  });
  deny.setAttribute("aria-expanded", "false");
  return el(
    "li",
    {},
    el(
      "p",
      { className: "what" },
      el("span", { className: "by" }, `${approval.id} `),
      `${approval.kind} `,
      el("strong", {}, approval.agent),
      el("span", { className: "by" }, ` requested by ${approval.requested_by}, `, asked),
    ),
    reason,
    change,
    el("div", { className: "buttons" }, ...buttons),
    denial,
  );
}

function makeDenial(approval, opener) {
  const note = el("textarea", { name: "note", rows: 2, maxLength: 10000 });
  note.placeholder = "Reason, for the manager";
  note.setAttribute("aria-label", "Note for the manager");
  const submit = el("button", { type: "submit", className: "primary" }, "Deny");
  const cancel = el("button", { type: "button", className: "quiet" }, "Cancel");
  const form = el("form", { className: "denial", hidden: true }, note, submit, cancel);
  const close = () => {
    form.hidden = true;
    opener.setAttribute("aria-expanded", "false");
    opener.focus();
  };
  cancel.addEventListener("click", close);
  form.addEventListener("keydown", (event) => event.key === "Escape" && close());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    settle(approval, "deny", { note: note.value.trim() }, [submit, cancel]);
  });
  return form;
}

/** Decide about a request; return whether that was accepted. */
async function settle({ id, commit }, verb, body, buttons) {
  showError(error);
  for (const button of buttons) button.disabled = true;
  try {
    await decide(`/api/approvals/${id}/${verb}`, { ...body, commit });
    return true;
  } catch (failure) {
    showError(error, failure.message);
    for (const button of buttons) button.disabled = false;
    return false;
  }
}

function makeSettled() {
  return el(
    "li",
    {},
    el("span", { className: "badge" }),
    el("span", { className: "kind" }),
    el("strong"),
    el("span", { className: "note", dir: "auto" }),
    el("time"),
    el("details", { className: "log", hidden: true }, el("summary", {}, "Log"), el("pre")),
  );
}

function updateSettled(node, approval) {
  node.dataset.state = approval.state;
  setText(node.querySelector(".badge"), approval.state);
  setText(node.querySelector(".kind"), approval.kind);
  setText(node.querySelector("strong"), approval.agent);
  putText(node.querySelector(".note"), approval.note);
  node.querySelector(".note").title = typeof approval.note === "string" ? approval.note : "";
  putTime(node.querySelector("time"), approval.resolved);
  node.querySelector(".log").hidden = approval.log === "";
  putText(node.querySelector("pre"), approval.log);
}
