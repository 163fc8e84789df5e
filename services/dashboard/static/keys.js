// The keyboard: shortcuts of every page, and the list of them at `?`. A key that is typed into a field is a
// letter, and no shortcut.

import { el } from "./dom.js";

const PAUSE_MS = 1_500; // between the keys of one shortcut
const FIELD = "input:not([type=checkbox], [type=radio], [type=button]), textarea, select, [contenteditable]";
/** The field that `/` leads to is the first of these that is shown. */
const COMPOSE = ["[data-slash]", "#compose-text", "#write-text", "input[type=search]"];

const known = new Map(); // from the keys to {label, action}
let typed = ""; // the keys of a shortcut that has begun
let timer = 0;

/**
 * Make a shortcut.
 * @param keys such as `?`, `g a` for one key after the other, or `Ctrl+K`
 * @param label what it does, for the list
 * @param action is called without arguments
 */
export function shortcut(keys, label, action) {
  known.set(keys, { label, action });
}

/** Return the keys of the shortcut with this label, or nothing. */
export const keysOf = (label) => [...known].find(([, one]) => one.label === label)?.[0];

/** Return the links to the sections, each with the keys that lead there. */
export function sections() {
  const taken = new Set();
  return [...document.querySelectorAll(".sections a")].map((link) => {
    const name = link.textContent.trim();
    const letter = [...name.toLowerCase()].find((one) => /[a-z]/u.test(one) && !taken.has(one)) ?? "";
    taken.add(letter);
    return { name, href: link.href, keys: letter && `g ${letter}` };
  });
}

/** Show the list of all shortcuts. */
export function showKeys() {
  const rows = [...known].map(([keys, { label }]) => {
    const parts = keys.split(" ").flatMap((one, index) => [...(index ? [" "] : []), el("kbd", {}, one)]);
    return [el("dt", {}, ...parts), el("dd", {}, label)];
  });
  const close = el("button", { type: "button" }, "Close");
  const title = el("h2", { id: "keys-title" }, "Keyboard");
  const dialog = el("dialog", { className: "keys" }, title, el("dl", {}, ...rows.flat()), close);
  dialog.setAttribute("aria-labelledby", "keys-title");
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function keyOf(event) {
  if (event.ctrlKey || event.metaKey) return `Ctrl+${event.key.toUpperCase()}`;
  return event.key;
}

function pressed(event) {
  if (event.defaultPrevented || event.isComposing || event.altKey) return;
  const key = keyOf(event);
  const isChord = key.startsWith("Ctrl+");
  if (!isChord && (event.target.closest?.(FIELD) || document.querySelector("dialog[open]"))) return;
  if (["Shift", "Control", "Meta"].includes(event.key)) return;
  clearTimeout(timer);
  const keys = [typed ? `${typed} ${key}` : key, key].find((one) => known.has(one) || begins(one));
  typed = "";
  if (keys === undefined) return;
  if (known.has(keys)) {
    event.preventDefault();
    known.get(keys).action();
    return;
  }
  typed = keys;
  timer = setTimeout(() => (typed = ""), PAUSE_MS);
}

const begins = (keys) => [...known.keys()].some((one) => one.startsWith(`${keys} `));

function focusField() {
  const fields = COMPOSE.flatMap((css) => [...document.querySelectorAll(css)]);
  const field = fields.find((one) => one.checkVisibility());
  field?.focus();
  field?.scrollIntoView({ block: "nearest" });
}

shortcut("?", "Show the shortcuts", showKeys);
shortcut("/", "Write a message, or search the page", focusField);
for (const { name, href, keys } of sections()) if (keys) shortcut(keys, `Go to ${name}`, () => location.assign(href));

document.addEventListener("keydown", pressed);
