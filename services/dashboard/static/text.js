// Texts that others wrote, times, and sizes, in a readable form.
//
// The server decides how a text is shown (wire/text/escaping.py). It sends a string, or a list of parts in
// which `{text, shown, reason}` marks a part that must not be shown as it is.

/** Put a text from the server into `node`. */
export function putText(node, shown) {
  node.replaceChildren(...[shown].flat().map((part) => (part.shown ? mark(part) : part)));
}

/** Return the whole text, as it was written: for comparisons and answers, not to be shown. */
export const textOf = (shown) => [shown].flat().map((part) => part.text ?? part).join("");

/** Return a text as it is shown, as a string: what is hidden or misleading is spelled out. */
export const spelled = (shown) => [shown].flat().map((part) => part.shown ?? part).join("");

/** Return several texts as one, with a string between them. */
export const joined = (texts, between) =>
  texts.flatMap((shown, index) => (index ? [between, shown].flat() : shown));

function mark({ shown, reason }) {
  const node = document.createElement("span");
  node.className = "hidden-character";
  node.title = reason;
  node.textContent = shown;
  return node;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const SHORT_DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

const date = (microseconds) => new Date(microseconds / 1000);

/** Return the day, as a heading and to tell days apart. */
export const day = (microseconds) => DAY.format(date(microseconds));

/** Return the time of day. */
export const time = (microseconds) => TIME.format(date(microseconds));

/** Return the time, with the day unless that is today; empty for 0, which means never. */
export function moment(microseconds) {
  if (!microseconds) return "";
  const then = date(microseconds);
  const today = then.toDateString() === new Date().toDateString();
  return today ? TIME.format(then) : `${SHORT_DAY.format(then)}, ${TIME.format(then)}`;
}

/** Put a time into a `time` element. */
export function putTime(node, microseconds, text = moment(microseconds)) {
  node.textContent = text;
  if (!microseconds) return;
  node.dateTime = date(microseconds).toISOString();
  node.title = FULL.format(date(microseconds));
}

/** Return a count with its noun. */
export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** Return a number of bytes in a short form. */
export function bytes(count) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; count >= 1024 && unit < units.length - 1; unit += 1) count /= 1024;
  return unit === 0 ? plural(count, "byte") : `${count.toFixed(1)} ${units[unit]}`;
}

/** Return a number of characters in a short form. */
export const size = (length) =>
  length < 1000 ? `${length} characters` : `${Math.round(length / 1000)} k characters`;
