// The parts of every page behind the login: the connection to the dashboard, services that do not
// answer, notices, and the logout.

import { post } from "./api.js";
import { endErrors, followErrors } from "./card_errors.js";
import { el, keyed, setSentence, setText } from "./dom.js";
import { Gathered } from "./gathered.js";
import { lead } from "./lead.js";
import { offerPalette } from "./palette.js";
import { Mirror } from "./mirror.js";
import { forgetSession, Notifier } from "./notifications.js";
import { Pace } from "./pace.js";
import { recall, remember } from "./remembered.js";
import { checkRole, leave, LEAVING, onSession, session } from "./session.js";
import { plural, putText, putTime, time } from "./text.js";
import "./theme.js";
import { isOther, reloadIfUnused } from "./version.js";
import { showCount } from "./waiting_counts.js";

const main = document.querySelector("main");
const link = document.getElementById("link");
const reconnect = document.getElementById("reconnect");
const LINK = { live: "Live", connecting: "Connecting", lost: "Not connected" };

const DISMISSED = "dismissed";
/** The milliseconds after which a page without a connection says that it shows the past. */
const OUTDATED_MS = 3000;

/** The tables that count for what waits for the operator. */
const WAITING = ["approvals", "changes", "questions", "egress", "agents", "messages"];

/** The tables whose changes move the controls below them; agents can change them all the time. */
const MOVING = new Set(["questions", "approvals", "changes", "egress", "notices"]);

/**
 * Return a mirror, not connected yet.
 * @param changed called with the names of changed tables, and whether the whole state is new: the page has just
 *   opened, or the connection was lost
 * @param options see mirror.js
 */
export function openMirror(changed, options = {}) {
  const gathered = new Gathered((tables, isWhole) => {
    changed(tables, isWhole);
    if (tables.has("notices")) renderNotices(mirror);
    if (WAITING.some((name) => tables.has(name))) showCount(mirror);
  });
  const notifier = new Notifier();
  const waiting = new Set();
  const pace = new Pace(() => {
    const tables = new Set(waiting);
    waiting.clear();
    gathered.add(tables);
  });
  const mirror = new Mirror(
    (tables, isWhole) => {
      main.setAttribute("aria-busy", "false");
      endErrors();
      notifier.update(mirror);
      if (tables.has("services")) renderServices(mirror);
      const [table] = tables;
      if (isWhole || !MOVING.has(table)) gathered.add(tables, isWhole);
      else {
        waiting.add(table);
        pace.want();
      }
    },
    (state, sentence) => {
      link.dataset.state = state;
      setText(link, sentence ?? LINK[state]);
      reconnect.hidden = state !== "lost";
      showAge(mirror, state === "live");
    },
    {
      ...options,
      onVersion: (served) => {
        updated = isOther(served) && !reloadIfUnused();
      },
    },
  );
  followErrors(mirror);
  reconnect.addEventListener("click", () => mirror.connect());
  offerPalette(mirror);
  return mirror;
}

// A part of the page whose service is away loses its colours at once: it has a box that says why, or another
// part of the page has one (`data-depends`). A box with `data-apart` is about something beside the part.
function renderServices(mirror) {
  const { services } = mirror.tables;
  const isAway = (name) => services[name]?.available === false;
  for (const part of document.querySelectorAll("section:has(> .away), [data-depends]")) {
    const boxes = [...part.children].filter((one) => one.matches(".away:not([data-apart])"));
    const names = [part.dataset.depends, ...boxes.map((box) => box.dataset.service)];
    part.classList.toggle("stale", names.some(isAway));
  }
  for (const box of document.querySelectorAll(".away")) {
    const service = services[box.dataset.service];
    if (!service) continue;
    box.hidden = service.available;
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

// Without a connection, the page shows the past: it says so, and loses its colours.
let outdating = 0;
let outdated = null; // since when, in microseconds since 1970

// After an update of the dashboard, this page is of another version, and something is typed in it.
let updated = false;

function showAge(mirror, isLive) {
  if (isLive) {
    clearTimeout(outdating);
    outdating = 0;
    outdated = null;
  } else if (!outdating) {
    const since = Date.now() * 1000;
    outdating = setTimeout(() => {
      outdated = since;
      document.body.classList.add("outdated");
      renderNotices(mirror);
    }, OUTDATED_MS);
    return;
  } else return;
  document.body.classList.remove("outdated");
  renderNotices(mirror);
}

// A notice is dismissed until something new happens: then it has another time.
function renderNotices(mirror) {
  const known = mirror.tables.notices ?? {};
  const dismissed = recall(DISMISSED) ?? {};
  const shown = Object.entries(known)
    .filter(([key, notice]) => !(dismissed[key] >= notice.at))
    .sort(([, a], [, b]) => a.at - b.at);
  const items = shown.map(([key, notice]) => ({ key, ...notice }));
  foldNotices(items);
  if (outdated !== null) items.unshift({ key: "link", level: "bad" });
  if (updated) items.unshift({ key: "version", level: "note" });
  keyed(
    document.getElementById("notices"),
    items,
    ({ key }) => key,
    (notice) => (OWN[notice.key] ?? makeNotice)(notice, mirror),
    (item, notice) => {
      item.dataset.level = notice.level;
      if (!(notice.key in OWN)) updateNotice(item, notice);
    },
  );
}

/** Put several notices into one line of a phone, where they would fill the screen; a press unfolds them. */
function foldNotices(items) {
  const line = document.getElementById("more-notices");
  line.hidden = items.length < 2;
  const names = [...new Set(items.map(({ agent }) => agent))].join(", ");
  setText(line, `${plural(items.length, "notice")}: ${names}`);
  line.dataset.level = items.some(({ level }) => level === "bad") ? "bad" : "note";
}

document.getElementById("more-notices")?.addEventListener("click", ({ currentTarget: line }) => {
  line.setAttribute("aria-expanded", String(line.getAttribute("aria-expanded") === "false"));
});

function makeOutdated() {
  const text = el("span");
  const at = time(outdated);
  setSentence(text, `The dashboard has not answered since ${at}. The page shows the state of that time. \`systemctl status hive-dashboard\` says why.`);
  return el("li", {}, text);
}

function makeUpdated() {
  const again = el("button", { type: "button" }, "Load again");
  again.addEventListener("click", () => location.reload());
  const text = "The dashboard was updated. This page is of the version before; loading it again drops what you have typed here.";
  return el("li", {}, el("span", {}, text), again);
}

/** The page's own notices, by their keys. */
const OWN = { link: makeOutdated, version: makeUpdated };

function makeNotice({ key, agent, topic }, mirror) {
  const close = el("button", { type: "button", className: "quiet" }, "Dismiss");
  close.setAttribute("aria-label", `Dismiss the notice about ${agent}`);
  close.addEventListener("click", () => {
    const known = mirror.tables.notices;
    const kept = Object.entries(recall(DISMISSED) ?? {}).filter(([name]) => name in known);
    remember(DISMISSED, { ...Object.fromEntries(kept), [key]: known[key]?.at ?? 0 });
    renderNotices(mirror);
  });
  const isOfAgent = (topic === "crash" || topic === "job") && mirror.tables.agents[agent];
  const look = isOfAgent ? [el("a", { href: `/agents/${agent}` }, "Open agent")] : [];
  return el("li", {}, el("time"), el("span", { className: "text", dir: "auto" }), ...look, close);
}

function updateNotice(item, notice) {
  putTime(item.querySelector("time"), notice.at);
  const text = item.querySelector(".text");
  const words = JSON.stringify(notice.text);
  if (text.dataset.words === words) return;
  text.dataset.words = words;
  putText(text, notice.text);
}

document.getElementById("logout").addEventListener("click", async () => {
  try {
    const ended = session();
    await post("/logout");
    forgetSession();
    leave(ended, LEAVING.loggedOut);
  } catch (failure) {
    setSentence(link, failure.message);
  }
});

// Another tab has logged out.
onSession((secret) => secret === null && leave(null, LEAVING.elsewhere));

if (session()) checkRole().catch(() => {}); // the connection says what is wrong
lead(location.hash);

// On a phone, the sections are behind a button, which has the name of the present one.
const menu = document.getElementById("menu");
for (const section of document.querySelectorAll(".sections a")) {
  if (section.pathname !== location.pathname) continue;
  section.setAttribute("aria-current", "page");
  setText(menu, section.textContent);
}
menu.addEventListener("click", () => {
  const isOpen = menu.parentElement.classList.toggle("open");
  menu.setAttribute("aria-expanded", String(isOpen));
});
