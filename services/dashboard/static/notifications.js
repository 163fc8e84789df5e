// Notifications: those of the page while it is open, and those of the worker (Web Push) when it is not.
// This browser chooses the events; the choice is in its storage and ends with the login.

import { get, post } from "./api.js";
import { excerptOf } from "./markdown.js";
import { may, session } from "./session.js";
import { spelled } from "./text.js";
import { workerAddress } from "./worker_address.js";

const KEY = "hyperhive-notifications";
const SESSION = "hyperhive-session"; // the cache of the session for worker.js
const WORKER = "/worker.js";
const FIRST = 300; // characters of a text
const PATIENCE = 10_000; // milliseconds

/** The groups of events from which this browser chooses. */
export const GROUPS = {
  approvals: { label: "Requests for approval", events: ["approval"] },
  questions: { label: "Questions", events: ["question"] },
  messages: { label: "Messages of agents", events: ["message"] },
  refused: { label: "Refused connections", events: ["egress"] },
  trouble: { label: "Crashes, failed deploys, budgets, notices", events: ["crash", "deploy-failed", "budget", "notice"] },
};

const EVENTS = { "container-crash": "crash", "budget-warning": "budget", "budget-exhausted": "budget" };

/** Return the choice of this browser: `on`, `muted`, and the names of the groups. */
export function choice() {
  const all = { on: false, muted: false, groups: Object.keys(GROUPS) };
  try {
    return { ...all, ...JSON.parse(localStorage.getItem(KEY) ?? "{}") };
  } catch {
    return all; // this browser keeps nothing for this address, or the value is damaged
  }
}

const eventsOf = ({ on, muted, groups }) =>
  on && !muted ? groups.flatMap((name) => GROUPS[name]?.events ?? []) : [];

/** Return the reason why this browser cannot show notifications; empty if it can. */
export function missing() {
  if (!globalThis.Notification || !navigator.serviceWorker)
    return "This browser shows no notifications for this address: it needs TLS, or the dashboard as an app of the home screen.";
  if (Notification.permission === "denied") return "This browser was told to show no notifications for this address.";
  return "";
}

/**
 * Keep a choice and apply it.
 * @returns a sentence about what is missing, or an empty one
 */
export async function choose(changes) {
  const kept = { ...choice(), ...changes };
  if (kept.on && (await Notification.requestPermission()) !== "granted") throw new Error(missing() || "You have not allowed notifications.");
  localStorage.setItem(KEY, JSON.stringify(kept));
  const missed = await apply();
  chosen.dispatchEvent(new Event("change"));
  return missed;
}

const chosen = new EventTarget(); // tells this tab of a choice
let pushes = false; // whether the worker gets notifications without a page

/** Bring the worker and the dashboard up to the choice of this browser, for the session of now. */
async function apply() {
  const now = choice();
  if (!now.on && !(await navigator.serviceWorker.getRegistration("/"))) return "";
  const registration = await navigator.serviceWorker.register(workerAddress(WORKER));
  await navigator.serviceWorker.ready;
  pushes = false;
  if (!now.on) {
    await caches.delete(SESSION);
    await (await registration.pushManager?.getSubscription())?.unsubscribe();
    await post("/api/push/remove");
    return "";
  }
  await (await caches.open(SESSION)).put("/", new Response(session()));
  const events = eventsOf(now);
  if (events.length === 0) {
    await post("/api/push/remove");
    return "";
  }
  const { key } = await get("/api/push");
  let subscription;
  try {
    subscription = await subscribe(registration, key);
  } catch (failure) {
    return `Notifications come while a page of the dashboard is open. Without one they cannot: ${failure.message}`;
  }
  const { endpoint, keys } = subscription.toJSON();
  await post("/api/push", { endpoint, p256dh: keys.p256dh, auth: keys.auth, events });
  pushes = true;
  return "";
}

async function subscribe(registration, key) {
  if (!registration.pushManager) throw new Error("this browser has no push service.");
  const options = { userVisibleOnly: true, applicationServerKey: key };
  try {
    return await soon(registration.pushManager.subscribe(options));
  } catch (failure) {
    // A subscription with a key of an earlier store of the dashboard.
    const old = await registration.pushManager.getSubscription();
    if (!old) throw failure;
    await old.unsubscribe();
    return soon(registration.pushManager.subscribe(options));
  }
}

// A browser that cannot reach its push service tries for ever.
function soon(subscribing) {
  const late = new Promise((_, fail) =>
    setTimeout(() => fail(new Error("this browser does not reach its push service.")), PATIENCE),
  );
  return Promise.race([subscribing, late]);
}

/** Forget the session that the worker has: it has ended. */
export function forgetSession() {
  globalThis.caches?.delete(SESSION).catch(() => {});
}

/** Show what is new in a mirror, if this tab is the one that does so and nobody looks at it. */
export class Notifier {
  #seen = null; // null: not loaded yet, so nothing is new
  #isOn = false;
  #leads = false;

  constructor() {
    this.#begin();
    chosen.addEventListener("change", () => this.#begin());
    addEventListener("storage", ({ key }) => key === KEY && this.#begin()); // another tab has chosen
  }

  #begin() {
    if (this.#isOn || !may("reviewer") || missing() || !choice().on) return;
    this.#isOn = true;
    apply().catch(() => {}); // the settings show failures
    // One tab at a time; the next one takes its place.
    navigator.locks.request("hyperhive-notifications", () => {
      this.#leads = true;
      return new Promise(() => {});
    });
  }

  update(mirror) {
    if (!this.#isOn) return;
    const items = [...found(mirror)];
    const before = this.#seen;
    this.#seen = new Set(items.map(tagOf));
    if (before === null || !this.#leads || pushes || document.hasFocus()) return;
    const wanted = new Set(eventsOf(choice()));
    for (const item of items) if (wanted.has(item.event) && !before.has(tagOf(item))) show(item);
  }
}

const tagOf = ({ event, number }) => `${event}-${number}`;

function* found(mirror) {
  for (const row of mirror.rows("questions"))
    if (row.state === "open" && row.to === "operator")
      yield {
        event: "question",
        number: row.id,
        title: `${row.from} asks you`,
        text: row.question,
        isMarkdown: !row.permission,
        choices: offered(row),
      };
  for (const row of mirror.rows("approvals"))
    if (row.state === "pending")
      yield { event: "approval", number: row.id, title: `${row.kind} of ${row.agent} waits for you`, text: row.reason };
  for (const row of mirror.rows("messages"))
    if (row.to === "operator" && ["queued", "leased"].includes(row.state))
      yield {
        event: row.from === "system" ? (EVENTS[row.kind] ?? "notice") : "message",
        number: row.id,
        title: `${row.from} writes to you`,
        text: row.body,
        isMarkdown: true,
      };
  for (const [key, row] of Object.entries(mirror.tables.egress ?? {}))
    yield { event: "egress", number: key, title: `${row.agent} was refused a host`, text: `${row.host}:${row.port}` };
}

async function show(item) {
  const registration = await navigator.serviceWorker.getRegistration("/");
  await registration?.showNotification(item.title, {
    body: (item.isMarkdown ? excerptOf : spelled)(item.text).slice(0, FIRST),
    tag: tagOf(item),
    icon: "/static/icon-192.png",
    data: { event: item.event, number: item.number, choices: item.choices ?? [] },
    actions: (item.choices ?? []).map((title, index) => ({ action: `choice-${index}`, title })),
  });
}

// The choices that fit on a notification; the call of a tool must be read first.
function offered({ from, choices, multi, permission }) {
  const fit = choices.length <= 2 && choices.every((text) => typeof text === "string" && text.length <= 40);
  return fit && !multi && !permission && from !== "system" ? choices : [];
}
