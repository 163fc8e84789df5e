// Hosts that were refused to agents, with three answers; and the hosts that one agent has reached.

import { decide } from "./api.js";
import { attempt, stateOfRow } from "./card_errors.js";
import { el, keyed, setText } from "./dom.js";
import { RequestNotice } from "./request_notice.js";
import { bytes, plural, putText, putTime, textOf } from "./text.js";

const ANSWERS = [
  { answer: "always", label: "Always allow" },
  { answer: "once", label: "Allow once" },
  { answer: "deny", label: "Deny" },
];

/** The hosts of one agent that are shown at a time: nobody must fill the list. */
const MAX_SHOWN = 5;

const key = ({ agent, host, port }) => `${agent} ${host} ${port}`;

/**
 * Render the refused hosts that wait for the operator; return their number.
 * @param agent only those of this agent
 */
export function renderRefused(mirror, section, agent) {
  const waits = mirror
    .rows("egress")
    .filter((entry) => !agent || entry.agent === agent)
    .sort((a, b) => a.first - b.first || (key(a) < key(b) ? -1 : 1));
  section.querySelector(".empty").hidden =
    waits.length > 0 || mirror.tables.services.ledger?.available !== true;
  const counts = new Map();
  const isShown = (entry) => counts.set(entry.agent, (counts.get(entry.agent) ?? 0) + 1).get(entry.agent) <= MAX_SHOWN;
  const shown = waits.filter(isShown);
  const many = [...counts].filter(([, count]) => count > MAX_SHOWN).map(([name]) => name);
  const more = section.querySelector(":scope > .more");
  more.hidden = many.length === 0;
  setText(more, `More hosts wait until you have decided about these: of ${many.join(", ")}.`);
  keyed(section.querySelector("ul"), shown, key, makeRefused, (item, entry) => updateRefused(item, entry, mirror), ({ reason }) => textOf(reason));
  return waits.length;
}

const notices = new WeakMap(); // what was said about the answer, by card

function makeRefused(entry) {
  const reason = el("p", { className: "reason", dir: "auto", hidden: textOf(entry.reason) === "" });
  putText(reason, entry.reason);
  const error = el("p", { className: "error", role: "alert", hidden: true });
  const said = el("p", { className: "by", role: "status", hidden: true });
  const buttons = ANSWERS.map(({ answer, label }) => {
    const button = el("button", { type: "button", data: { answer } }, label);
    button.setAttribute("aria-label", `${label}: ${entry.rule} for ${entry.agent}`);
    button.addEventListener("click", () => answerAbout(entry, answer, buttons, error, notice));
    return button;
  });
  const notice = new RequestNotice(said, error);
  const item = el(
    "li",
    { className: "refused" },
    el("p", { className: "what" }, el("strong", {}, entry.agent), " was refused ", el("code", {}, entry.rule)),
    el("p", { className: "error leads", hidden: !entry.warning }, `${entry.rule} is ${entry.warning}.`),
    reason,
    el("p", { className: "by" }, el("span", { className: "times" }), ", last ", el("time")),
    el("p", { className: "by" }, "Always allow adds ", el("code", {}, entry.rule), ` to egress of ${entry.agent}.`),
    el("div", { className: "buttons", data: { needs: "reviewer" } }, ...buttons),
    said,
    error,
  );
  notices.set(item, notice);
  return item;
}

function updateRefused(item, entry, mirror) {
  // The rule did not come to be: the host waits for another answer.
  if (notices.get(item).update(mirror)) for (const button of item.querySelectorAll(".buttons button")) button.disabled = false;
  setText(item.querySelector(".times"), `refused ${plural(entry.refused, "time")}`);
  putTime(item.querySelector("time"), entry.last);
}

async function answerAbout(entry, answer, buttons, error, notice) {
  const { agent, host, port } = entry;
  for (const button of buttons) button.disabled = true;
  const path = `/api/agents/${encodeURIComponent(agent)}/egress`;
  const outcome = await attempt(error, stateOfRow("ledger", "egress", key(entry)), () => decide(path, { host, port, answer }));
  if (outcome) notice.say(outcome.said, outcome.request);
  else for (const button of buttons) button.disabled = false;
}

/** Fill the table of the hosts that an agent has reached, or was refused. */
export function putHosts(body, entries) {
  keyed(body, entries, key, (entry) => {
    const number = (title, count, show = String) =>
      el("td", { className: count ? "number" : "number none", data: { title } }, show(count));
    const last = el("time");
    putTime(last, entry.last);
    const row = el(
      "tr",
      { data: { state: entry.state } },
      el("th", { scope: "row" }, entry.rule),
      el("td", {}, entry.state === "none" ? "" : entry.state),
      number("connections", entry.allowed),
      number("refused", entry.refused),
      number("failed", entry.failed),
      number("sent", entry.sent, bytes),
      number("received", entry.received, bytes),
      el("td", { data: { title: "last" } }, last),
    );
    return row;
  });
}
