// The way from a notification to the thing itself: `/#question-12` shows, marks and focuses question 12.

import { el, setText } from "./dom.js";

const PATIENCE = 10_000;
const TOLD_MS = 6000;

const MESSAGE = (id) => `:is(#unread .cards, .flow) > [data-key="${id}"]`;
const REQUEST = (id) => `[data-approval="${id}"], :is(.pending, .settled) > [data-key="${id}"]`;
const PLACES = {
  question: (id) => `[data-question="${id}"], .asked > [data-key="${id}"]`,
  approval: REQUEST,
  "deploy-failed": REQUEST,
  message: MESSAGE,
  notice: MESSAGE,
  crash: MESSAGE,
  budget: MESSAGE,
  egress: () => "#refused",
};

/** Lead to the thing that the fragment of the address names, when the page shows it. */
export function lead(hash) {
  const [, event, id] = /^#([a-z-]+)-(\d+)$/u.exec(hash) ?? [];
  const place = PLACES[event]?.(id);
  if (!place) return;
  const look = () => {
    const found = document.querySelector(`main :is(${place})`);
    if (found?.checkVisibility()) end(found);
  };
  const watch = new MutationObserver(look);
  const giveUp = setTimeout(() => end(null), PATIENCE);
  watch.observe(document.querySelector("main"), { subtree: true, childList: true, attributes: true });
  look();

  function end(found) {
    watch.disconnect();
    clearTimeout(giveUp);
    history.replaceState(null, "", location.pathname + location.search);
    if (found) mark(found);
    else tell("The subject of the notification has ended, or is no longer on this page.");
  }
}

function mark(found) {
  for (const old of document.querySelectorAll(".led-to")) old.classList.remove("led-to");
  found.classList.add("led-to");
  found.tabIndex = -1;
  found.scrollIntoView({ block: "center" });
  found.focus({ preventScroll: true });
}

function tell(sentence) {
  const line = el("p", { className: "too-early" });
  line.setAttribute("role", "status");
  document.body.append(line);
  setText(line, sentence);
  setTimeout(() => line.remove(), TOLD_MS);
}

addEventListener("hashchange", () => lead(location.hash));
navigator.serviceWorker?.addEventListener("message", ({ data }) => data?.lead && lead(data.lead));
