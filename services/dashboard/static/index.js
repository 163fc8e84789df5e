// The main page: passes each change of the mirror to the parts that show it.

import { renderAgents } from "./agents_table.js";
import { openMirror } from "./common.js";
import { Compose } from "./compose.js";
import { Messages } from "./message_flow.js";
import { guardPresses } from "./press_guard.js";
import { Waiting } from "./waiting.js";

const mirror = openMirror(changed);
const compose = new Compose(mirror);
const reply = (message) => compose.answer(message);
const messages = new Messages(mirror, reply);
const waiting = new Waiting(mirror, { show: (view) => messages.show(view), reply });

const AGENTS = ["agents", "jobs", "budgets", "costs", "queues", "samples", "notices", "services"];

function changed(tables) {
  const any = (...names) => names.some((name) => tables.has(name));
  if (any(...AGENTS)) renderAgents(mirror, (name) => compose.writeTo(name));
  waiting.changed(tables);
  if (any("messages", "agents", "services")) messages.render();
  if (any("agents")) compose.render();
}

guardPresses();
mirror.connect();
