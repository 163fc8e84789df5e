// The palette of commands: agents, sections and actions, found by typing a part of their names.

import { actionsOf } from "./agent_actions.js";
import { turnOf, turnWords } from "./agent_order.js";
import { el, setText, showError } from "./dom.js";
import { keysOf, sections, shortcut, showKeys } from "./keys.js";
import { may } from "./session.js";
import { THEMES, hasFlavour, setFlavour, setTheme } from "./theme.js";

const MOST = 14; // entries that are shown

const added = []; // the commands of the page
let mirror = null;

/**
 * Add a command of this page.
 * @param label what it does
 * @param action is called when it is chosen; when it fails, the palette shows the message of its Error
 */
export function command(label, action) {
  added.push({ label, action });
}

/** Offer the palette on this page; `tables` is the mirror with the agents. */
export function offerPalette(tables) {
  mirror = tables;
}

function entries() {
  const agents = mirror ? mirror.rows("agents").map(({ name }) => name).sort() : [];
  const states = mirror?.tables.agents ?? {};
  return [
    ...agents.map((name) => ({
      label: name,
      hint: states[name].state === "running" ? turnWords(turnOf(states[name])) : states[name].state,
      action: () => location.assign(`/agents/${encodeURIComponent(name)}`),
    })),
    ...sections().map(({ name, href, keys }) => ({
      label: `Go to ${name}`,
      hint: keys,
      action: () => location.assign(href),
    })),
    ...added,
    ...agents.map((name) => ({
      label: `Configuration of ${name}`,
      action: () => location.assign(`/agents/${encodeURIComponent(name)}/configuration`),
    })),
    ...(may("operator") ? agents.flatMap((name) => actionsOn(states[name])) : []),
    ...Object.entries(THEMES).map(([name, label]) => ({ label: `Theme: ${label}`, action: () => setTheme(name) })),
    {
      label: hasFlavour() ? "Plain headings and buttons" : "Headings and buttons in the hive's flavour",
      action: () => setFlavour(!hasFlavour()),
    },
    { label: "Show the shortcuts", hint: keysOf("Show the shortcuts"), action: showKeys },
    { label: "Log out", action: () => document.getElementById("logout").click() },
  ];
}

// What can be done to an agent now, as its menu has it.
function actionsOn(agent) {
  const job = mirror.rows("jobs").find((one) => one.agent === agent.name);
  const act = (action) => action();
  return actionsOf(mirror, agent, job, act, { watch: false })
    .flat()
    .map(({ label, run }) => ({ label: `${label.replace("…", "")} ${agent.name}`, action: run }));
}

/** Return the entries that have all words of `text`, those that begin with it first. */
function found(all, text) {
  const wanted = text.trim().toLowerCase();
  const words = wanted.split(/\s+/u);
  const fits = all.filter(({ label }) => words.every((word) => label.toLowerCase().includes(word)));
  const first = ({ label }) => Number(!label.toLowerCase().startsWith(wanted));
  return fits.sort((a, b) => first(a) - first(b)).slice(0, MOST); // stable: else in their order
}

/** Show the palette, with the error of the last command if it has failed. */
export function openPalette(failed = "") {
  if (document.querySelector("dialog[open]")) return;
  // The entries stay as they are while the palette is open, so that Enter chooses what was read.
  const all = entries();
  let shown = [];
  let chosen = 0;
  const field = el("input", { type: "text", placeholder: "Agent, section or action", autocomplete: "off", spellcheck: false });
  const list = el("ul", { id: "palette-list", className: "palette-list" });
  const count = el("p", { className: "unseen" });
  const error = el("p", { className: "error", hidden: true });
  const dialog = el("dialog", { className: "palette" }, field, list, count, error);
  dialog.setAttribute("aria-label", "Find an agent, a page or an action");
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Found");
  count.setAttribute("role", "status");
  error.setAttribute("role", "alert");
  field.setAttribute("role", "combobox");
  field.setAttribute("aria-label", "Agent, section or action");
  field.setAttribute("aria-controls", list.id);
  field.setAttribute("aria-expanded", "true");
  field.setAttribute("aria-autocomplete", "list");

  const mark = () => {
    for (const [index, option] of [...list.children].entries()) {
      option.setAttribute("aria-selected", String(index === chosen));
      if (index === chosen) option.scrollIntoView({ block: "nearest" });
    }
    if (shown.length > 0) field.setAttribute("aria-activedescendant", `palette-${chosen}`);
    else field.removeAttribute("aria-activedescendant");
  };
  const render = () => {
    shown = found(all, field.value);
    chosen = 0;
    const options = shown.map(({ label, hint }, index) => {
      const option = el("li", { id: `palette-${index}` }, el("span", {}, label), el("span", { className: "muted" }, hint ?? ""));
      option.setAttribute("role", "option");
      option.addEventListener("click", () => run(index));
      return option;
    });
    list.replaceChildren(...options);
    list.hidden = shown.length === 0;
    setText(count, shown.length === 0 ? "Nothing found." : "");
    count.classList.toggle("unseen", shown.length > 0);
    mark();
  };
  const run = async (index) => {
    const entry = shown[index];
    if (!entry) return;
    dialog.close(); // the action may open a dialog of its own
    try {
      await entry.action();
    } catch (failure) {
      openPalette(failure.message);
    }
  };
  field.addEventListener("input", render);
  field.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && shown.length > 0) {
      event.preventDefault();
      chosen = (chosen + step + shown.length) % shown.length;
      mark();
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      run(chosen);
    }
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // on the backdrop
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  render();
  showError(error, failed);
  dialog.showModal();
  field.focus();
}

shortcut("Ctrl+K", "Find an agent, a page or an action", () => openPalette());
document.getElementById("find")?.addEventListener("click", () => openPalette());
