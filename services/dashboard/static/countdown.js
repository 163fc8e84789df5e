// The time that is left until a deadline, which ticks in the page. The text is an attribute that the style
// sheet shows: a card whose text changes does not act for a moment (press_guard.js).

import { el } from "./dom.js";
import { putTime } from "./text.js";

const SOON = 60; // seconds
let ticking = 0;

/** Make an element that counts down to a deadline, in microseconds since 1970. */
export function makeCountdown(deadline) {
  const node = el("time", { className: "countdown", data: { deadline: String(deadline) } });
  putTime(node, deadline, "");
  node.setAttribute("role", "timer");
  show(node);
  if (!ticking) ticking = setInterval(tick, 1000);
  return node;
}

function tick() {
  const all = document.querySelectorAll("time.countdown");
  for (const node of all) show(node);
  if (all.length > 0) return;
  clearInterval(ticking);
  ticking = 0;
}

function show(node) {
  const left = Math.ceil((Number(node.dataset.deadline) / 1000 - Date.now()) / 1000);
  const text = left > 0 ? `${clock(left)} left` : "time is up";
  if (node.dataset.left === text) return;
  node.dataset.left = text;
  node.classList.toggle("soon", left <= SOON);
  node.setAttribute("aria-label", text);
}

/** Return seconds as days and hours, or as hours, minutes and seconds. */
function clock(seconds) {
  const two = (value) => String(value).padStart(2, "0");
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  if (hours >= 24) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours > 0) return `${hours}:${two(minutes % 60)}:${two(seconds % 60)}`;
  return `${minutes}:${two(seconds % 60)}`;
}
