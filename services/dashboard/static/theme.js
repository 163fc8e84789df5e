// The theme of all pages of this browser: that of the system, dark or light; and the flavour of the headings
// and buttons. Other tabs follow at once. early.js applies the theme before the first paint.

import { el } from "./dom.js";

const THEME = "hyperhive-theme";
const FLAVOUR = "hyperhive-flavour";
const root = document.documentElement;

/** The themes, with their names for people. */
export const THEMES = { system: "As the system", dark: "Dark (Mocha)", light: "Light (Latte)" };

const changed = new EventTarget();

function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // this browser keeps nothing for this address
  }
}

function keep(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // The choice holds for this page only.
  }
}

/** Return the chosen theme. */
export const theme = () => root.dataset.theme ?? "system";

/** Choose a theme, one of THEMES. */
export function setTheme(name) {
  keep(THEME, name === "system" ? null : name);
  apply(name);
}

function apply(name) {
  if (name === "system") delete root.dataset.theme;
  else root.dataset.theme = name;
  changed.dispatchEvent(new Event("change"));
}

/** Call `action` whenever the colours have changed. */
export function onTheme(action) {
  changed.addEventListener("change", action);
}

/** Return whether headings and buttons have the hive's flavour. */
export const hasFlavour = () => "leet" in root.dataset;

/** Turn the flavour on or off. */
export function setFlavour(on) {
  keep(FLAVOUR, on ? "on" : null);
  return applyFlavour(on);
}

async function applyFlavour(on) {
  if (on === hasFlavour()) return;
  if (on) root.dataset.leet = "";
  else delete root.dataset.leet;
  const leet = await import("./leet.js");
  if (on) leet.begin();
  else leet.end();
}

/** Put the choices into `box`, which stays as it is otherwise. */
export function putThemeChoices(box) {
  const choices = Object.entries(THEMES).map(([name, label]) => {
    const input = el("input", { type: "radio", name: "theme", value: name, checked: theme() === name });
    input.addEventListener("change", () => setTheme(name));
    return el("label", {}, input, ` ${label}`);
  });
  const flavour = el("input", { type: "checkbox", checked: hasFlavour() });
  flavour.addEventListener("change", () => setFlavour(flavour.checked));
  const group = el("fieldset", { className: "themes" }, el("legend", { className: "unseen" }, "Theme"), ...choices);
  group.append(el("label", {}, flavour, " Headings and buttons in the hive's flavour (◆ APPR0VE)"));
  box.append(group);
  const show = () => {
    for (const input of group.querySelectorAll("[name=theme]")) input.checked = input.value === theme();
    flavour.checked = hasFlavour();
  };
  onTheme(show);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => changed.dispatchEvent(new Event("change")));
window.addEventListener("storage", ({ key, newValue }) => {
  if (key === THEME) apply(newValue ?? "system");
  if (key === FLAVOUR) applyFlavour(newValue === "on");
});
if (read(FLAVOUR) === "on") applyFlavour(true);
