// The dashboard's page: the mirror on one side, the parts that show it on the other.

import { renderAgents } from "./agents.js";
import { post } from "./api.js";
import { renderApprovals } from "./approvals.js";
import { Compose } from "./compose.js";
import { el, keyed, setSentence, setText } from "./dom.js";
import { Messages } from "./messages.js";
import { Mirror } from "./mirror.js";
import { plural, putTime } from "./text.js";

const main = document.querySelector("main");
const link = document.getElementById("link");
const reconnect = document.getElementById("reconnect");
const LINK = { live: "Live", connecting: "Connecting", lost: "Not connected" };

const waits = { approvals: 0, messages: 0 };
const dismissed = new Set();

const mirror = new Mirror(changed, (state, sentence) => {
  link.dataset.state = state;
  setText(link, sentence ?? LINK[state]);
  reconnect.hidden = state !== "lost";
});
const compose = new Compose(mirror);
const messages = new Messages(mirror, (message) => compose.answer(message));

function changed(tables) {
  main.setAttribute("aria-busy", "false");
  const any = (...names) => names.some((name) => tables.has(name));
  if (any("services")) renderServices();
  if (any("agents", "jobs", "services")) renderAgents(mirror, (name) => compose.writeTo(name));
  if (any("approvals", "services")) waits.approvals = renderApprovals(mirror);
  if (any("messages", "agents", "services")) waits.messages = messages.render();
  if (any("agents")) compose.render();
  if (any("notices")) renderNotices();
  renderWaiting();
}

function renderServices() {
  for (const box of document.querySelectorAll(".away")) {
    const service = mirror.tables.services[box.dataset.service];
    if (!service) continue;
    box.hidden = service.available;
    box.closest("section").classList.toggle("stale", !service.available);
    if (service.available) continue;
    const again = el("button", { type: "button" }, "Try again");
    const reason = el("p");
    setSentence(reason, service.reason);
    again.addEventListener("click", async () => {
      again.disabled = true;
      try {
        await post(`/api/services/${service.name}/refresh`);
      } catch (failure) {
        setSentence(reason, failure.message);
      }
      again.disabled = false;
    });
    box.replaceChildren(reason, again);
  }
}

function renderNotices() {
  const shown = Object.entries(mirror.tables.notices).filter(([key]) => !dismissed.has(key));
  keyed(
    document.getElementById("notices"),
    shown,
    ([key]) => key,
    ([key, notice]) => {
      const at = el("time");
      putTime(at, notice.at);
      const close = el("button", { type: "button", className: "quiet" }, "Dismiss");
      close.addEventListener("click", () => {
        dismissed.add(key);
        renderNotices();
      });
      return el("li", {}, at, el("span", {}, notice.text), close);
    },
  );
}

function renderWaiting() {
  const show = (id, count, noun) => {
    const node = document.getElementById(id);
    node.hidden = count === 0;
    setText(node, count ? plural(count, noun) : "");
  };
  show("waiting-approvals", waits.approvals, "approval");
  show("waiting-messages", waits.messages, "unread message");
  const total = waits.approvals + waits.messages;
  document.title = total ? `(${total}) Hyperhive` : "Hyperhive";
}

document.getElementById("waiting-messages").addEventListener("click", () => messages.show("inbox"));
reconnect.addEventListener("click", () => mirror.connect());
document.getElementById("logout").addEventListener("click", async () => {
  try {
    await post("/logout");
    location.replace("/login");
  } catch (failure) {
    setText(link, failure.message);
  }
});

mirror.connect();
