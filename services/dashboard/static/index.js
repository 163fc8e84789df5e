// The main page: passes each change of the mirror to the parts that show it.

import { renderAgents } from "./agents_table.js";
import { openMirror } from "./common.js";
import { Compose } from "./compose.js";
import { shortcut } from "./keys.js";
import { Messages } from "./message_flow.js";
import { guardPresses } from "./press_guard.js";
import { focusWaiting, Waiting } from "./waiting.js";

const mirror = openMirror(changed);
const compose = new Compose(mirror);
const reply = (message) => compose.answer(message);
const messages = new Messages(mirror, reply);
const waiting = new Waiting(mirror, { show: (view) => messages.show(view), reply });

const AGENTS = ["agents", "jobs", "budgets", "costs", "queues", "samples", "notices", "services"];
/** The milliseconds between two renderings of the agents, which change all the time when many are busy. */
const AGENTS_MS = 200;
let showing = 0; // the timer of the next one
let shownAt = -Infinity;

function changed(tables, isWhole) {
  const any = (...names) => names.some((name) => tables.has(name));
  if (any(...AGENTS)) {
    const wait = AGENTS_MS - (performance.now() - shownAt);
    if (isWhole || (wait <= 0 && !showing)) showAgents();
    else showing ||= setTimeout(showAgents, wait);
  }
  waiting.changed(tables, isWhole);
  if (any("messages", "agents", "services")) messages.render();
  if (any("agents")) compose.render();
}

function showAgents() {
  clearTimeout(showing);
  showing = 0;
  shownAt = performance.now();
  renderAgents(mirror, (name) => compose.writeTo(name));
}

shortcut("w", "Go to what waits", focusWaiting);
shortcut("a", "Filter the agents", () => document.getElementById("agents-filter").focus());
guardPresses();
mirror.connect();
