// The parts of every page behind the login: the connection to the dashboard, services that do not
// answer, notices, and the logout.

import { post } from "./api.js";
import { el, keyed, setSentence, setText } from "./dom.js";
import { offerPalette } from "./palette.js";
import { Mirror } from "./mirror.js";
import { Pace } from "./pace.js";
import { checkRole, leave, session } from "./session.js";
import { putText, putTime } from "./text.js";
import "./theme.js";

const main = document.querySelector("main");
const link = document.getElementById("link");
const reconnect = document.getElementById("reconnect");
const LINK = { live: "Live", connecting: "Connecting", lost: "Not connected" };

const dismissed = new Set();

/** The tables whose changes move the controls below them; agents can change them all the time. */
const MOVING = new Set(["questions", "approvals", "egress", "notices"]);

/**
 * Return a mirror, not connected yet.
 * @param changed called with the names of changed tables
 * @param options see mirror.js
 */
export function openMirror(changed, options = {}) {
  const show = (tables) => {
    changed(tables);
    if (tables.has("notices")) renderNotices(mirror);
  };
  const waiting = new Set();
  const pace = new Pace(() => {
    const tables = new Set(waiting);
    waiting.clear();
    show(tables);
  });
  const mirror = new Mirror(
    (tables) => {
      main.setAttribute("aria-busy", "false");
      if (tables.has("services")) renderServices(mirror);
      const [table] = tables;
      if (tables.size > 1) show(tables); // the page has just opened, or the connection was lost
      else if (!MOVING.has(table)) changed(tables);
      else {
        waiting.add(table);
        pace.want();
      }
    },
    (state, sentence) => {
      link.dataset.state = state;
      setText(link, sentence ?? LINK[state]);
      reconnect.hidden = state !== "lost";
    },
    options,
  );
  reconnect.addEventListener("click", () => mirror.connect());
  offerPalette(mirror);
  return mirror;
}

function renderServices(mirror) {
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

function renderNotices(mirror) {
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
        renderNotices(mirror);
      });
      const text = el("span", { dir: "auto" });
      putText(text, notice.text);
      return el("li", {}, at, text, close);
    },
  );
}

document.getElementById("logout").addEventListener("click", async () => {
  try {
    const ended = session();
    await post("/logout");
    leave(ended);
  } catch (failure) {
    setSentence(link, failure.message);
  }
});

for (const section of document.querySelectorAll(".sections a"))
  if (section.pathname === location.pathname) section.setAttribute("aria-current", "page");

if (session()) checkRole().catch(() => {}); // the connection says what is wrong

const menu = document.getElementById("menu");
menu.addEventListener("click", () => {
  const isOpen = menu.parentElement.classList.toggle("open");
  menu.setAttribute("aria-expanded", String(isOpen));
});
