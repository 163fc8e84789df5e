// The main page: passes each change of the mirror to the parts that show it.

import { renderAgents } from "./agents_table.js";
import { renderApprovals } from "./approvals.js";
import { Compose } from "./compose.js";
import { setText } from "./dom.js";
import { openMirror } from "./common.js";
import { renderRefused } from "./egress.js";
import { Messages } from "./message_flow.js";
import { guardPresses } from "./press_guard.js";
import { renderQuestions } from "./questions.js";
import { plural } from "./text.js";

const waits = { approvals: 0, questions: 0, refused: 0, messages: 0, dead: 0 };

const mirror = openMirror(changed);
const compose = new Compose(mirror);
const messages = new Messages(mirror, (message) => compose.answer(message));

function changed(tables) {
  const any = (...names) => names.some((name) => tables.has(name));
  if (any("agents", "jobs", "budgets", "services")) renderAgents(mirror, (name) => compose.writeTo(name));
  if (any("questions", "services")) waits.questions = renderQuestions(mirror);
  if (any("egress", "services")) waits.refused = renderRefused(mirror, document.getElementById("refused"));
  if (any("approvals", "services")) waits.approvals = renderApprovals(mirror);
  if (any("messages", "agents", "services"))
    ({ unread: waits.messages, dead: waits.dead } = messages.render());
  if (any("agents")) compose.render();
  renderWaiting();
}

function renderWaiting() {
  const show = (id, count, noun) => {
    const node = document.getElementById(id);
    node.hidden = count === 0;
    setText(node, count ? plural(count, noun) : "");
  };
  show("waiting-approvals", waits.approvals, "approval");
  show("waiting-questions", waits.questions, "question");
  show("waiting-refused", waits.refused, "refused host");
  show("waiting-messages", waits.messages, "unread message");
  show("waiting-dead", waits.dead, "dead letter");
  const total = Object.values(waits).reduce((sum, count) => sum + count, 0);
  document.title = total ? `(${total}) Hyperhive` : "Hyperhive";
}

document.getElementById("waiting-messages").addEventListener("click", () => messages.show("inbox"));
document.getElementById("waiting-dead").addEventListener("click", () => messages.show("dead"));

guardPresses();
mirror.connect();
