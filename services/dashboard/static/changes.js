// The changes that agents hand back: which of them wait for the operator, and the card of each.

import { el, keyed } from "./dom.js";
import { foldLong } from "./message.js";
import { putText, putTime, textOf } from "./text.js";

/** The states of a change, in words, and whom it waits for. */
export const STATES = {
  open: "open",
  "changes-requested": "changes requested",
  approved: "approved",
  conflict: "conflict",
  merged: "merged",
  published: "published",
  denied: "denied",
  withdrawn: "withdrawn",
  superseded: "superseded",
};

/** Return whether a change waits for the operator: for a decision, or because it cannot be pushed. */
export const waitsForYou = ({ state, note }) => state === "open" || (state === "approved" && textOf(note) !== "");

/** Render the changes that wait for the operator into a list, the oldest first; return their number. */
export function renderWaitingChanges(mirror, list) {
  const rows = mirror.rows("changes").filter(waitsForYou);
  rows.sort((a, b) => a.id - b.id);
  keyed(list, rows, ({ id }) => id, makeCard, undefined, ({ heard, ...row }) => JSON.stringify(row));
  return rows.length;
}

function makeCard(change) {
  const name = `c${change.id}`;
  const path = `/changes/${change.id}`;
  const at = el("time");
  putTime(at, change.changed);
  const title = el("strong", { dir: "auto" });
  putText(title, change.title);
  const note = el("p", { className: "reason", dir: "auto" });
  putText(note, change.note);
  const isStuck = change.state === "approved";
  const review = el("a", { className: "button", href: path }, isStuck ? "Open" : "Review");
  review.setAttribute("aria-label", `${isStuck ? "Open" : "Review"}: ${name}`);
  const about = ` of ${change.agent} for ${change.branch} of ${change.project}, revision ${change.revision}, `;
  return el(
    "li",
    { className: "change-card", data: { state: change.state } },
    el(
      "p",
      { className: "what" },
      el("a", { className: "name", href: path }, name),
      " ",
      title,
      el("span", { className: "by" }, about, at),
    ),
    ...(textOf(change.note) ? foldLong(note) : []),
    el("div", { className: "buttons" }, review),
  );
}
