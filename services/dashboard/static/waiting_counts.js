// What waits for the operator, counted: in the title and in the icon of every page.

import { needy } from "./agent_order.js";
import { waitsForYou } from "./changes.js";
import { isDead, isUnread } from "./message.js";
import { isMine } from "./questions.js";

const MANY = 9;
const icon = document.querySelector("link[rel=icon]");
const PLAIN = icon?.getAttribute("href");

/** Return the rows that wait, by their kinds. */
export function waitingRows(mirror) {
  const messages = mirror.rows("messages").sort((a, b) => b.id - a.id);
  return {
    approvals: mirror.rows("approvals").filter(({ state }) => state === "pending"),
    changes: mirror.rows("changes").filter(waitsForYou),
    questions: mirror.rows("questions").filter(isMine),
    refused: mirror.rows("egress"),
    agents: needy(mirror.rows("agents")),
    dead: messages.filter(isDead),
    messages: messages.filter(isUnread),
  };
}

/** Count what waits in the title and in the icon of the page. */
export function showCount(mirror) {
  const count = Object.values(waitingRows(mirror)).reduce((sum, rows) => sum + rows.length, 0);
  const title = document.title.replace(/^\(\d+\) /u, "");
  document.title = count ? `(${count}) ${title}` : title;
  const name = count === 0 ? PLAIN : `/static/icon-${count > MANY ? "many" : count}.svg`;
  if (icon && icon.getAttribute("href") !== name) icon.setAttribute("href", name);
}
