// Texts that others wrote, times, and sizes, in a readable form.

// Characters that change how their neighbours look, or that are invisible: control characters
// (except tab and newline), bidi marks, embeddings and isolates, zero-width ones, line separators,
// and tags (which can hide whole sentences). Joiners stay: scripts and emoji need them.
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

/** Put `text` into `node`, with hidden characters as visible marks. */
export function putText(node, text) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(HIDDEN)) {
    parts.push(text.slice(from, match.index), mark(match[0]));
    from = match.index + match[0].length;
  }
  parts.push(text.slice(from));
  node.replaceChildren(...parts.filter((part) => part !== ""));
}

function mark(character) {
  const code = `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  const node = document.createElement("span");
  node.className = "hidden-character";
  node.title = `Hidden character ${code}`;
  node.textContent = code;
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
  return `${unit ? count.toFixed(1) : count} ${units[unit]}`;
}

/** Return a number of characters in a short form. */
export const size = (length) =>
  length < 1000 ? `${length} characters` : `${Math.round(length / 1000)} k characters`;
