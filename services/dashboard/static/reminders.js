// The reminders that are pending: messages that agents and the operator get later.

import { decide, get } from "./api.js";
import { attempt, stateOfRow } from "./card_errors.js";
import { ask } from "./confirm.js";
import { makeCountdown } from "./countdown.js";
import { el, keyed } from "./dom.js";
import { putMarkdown } from "./markdown.js";
import { makeLongText } from "./message.js";
import { putText, putTime } from "./text.js";

/** Render the pending reminders into a section, the next one first; return their number. */
export function renderReminders(mirror, section) {
  const rows = mirror.rows("reminders").sort((a, b) => a.due - b.due || a.id - b.id);
  const error = section.querySelector(":scope > .error");
  keyed(section.querySelector("ul"), rows, ({ id }) => id, (reminder) => makeReminder(reminder, error));
  section.querySelector(".empty").hidden = rows.length > 0 || !mirror.tables.services.broker?.available;
  return rows.length;
}

function makeReminder(reminder, error) {
  const due = el("time");
  putTime(due, reminder.due);
  const owner = reminder.owner === "operator" ? "you" : reminder.owner;
  const cancel = el("button", { type: "button", className: "cancel", data: { needs: "operator" } }, "Cancel");
  cancel.setAttribute("aria-label", `Cancel reminder ${reminder.id} of ${reminder.owner}`);
  cancel.addEventListener("click", async () => {
    const title = `Cancel reminder ${reminder.id}?`;
    if (!(await ask(title, `${reminder.owner} will not get it.`, { verb: "Cancel reminder" }))) return;
    await attempt(error, stateOfRow("broker", "reminders", reminder.id), () => decide(`/api/reminders/${reminder.id}/cancel`));
  });
  const head = el("p", { className: "what" }, "to ", el("strong", {}, owner), " at ", due, " · ", makeCountdown(reminder.due));
  head.append(cancel);
  const whole = async () => (await get(`/api/reminders/${reminder.id}`)).body;
  const item = el("li", { className: "reminder" }, head);
  if (reminder.length > 0) item.append(...makeLongText(reminder.body, reminder.length, whole, putMarkdown));
  if (reminder.file !== "") {
    const file = el("code");
    putText(file, reminder.file);
    item.append(el("p", { className: "by" }, "with the file ", file));
  }
  return item;
}
