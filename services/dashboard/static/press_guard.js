// Presses count only on controls that have kept their place for a moment. Lists change while somebody
// reads them: without this, a press that was meant for one card reaches the control that has just come
// under the pointer, or under the focus, such as the approval of the manager's next request.

import { el, setText } from "./dom.js";

/** The milliseconds for which a control must have been shown in its place before it acts. */
export const SETTLE_MS = 800;

/** The milliseconds after a gesture in which scrolling is the reader's own. */
const GESTURE_MS = 1000;
const TOLD_MS = 4000;

// The items of an agent's tail are many, and have no control that decides anything.
const CARDS = "main :is(li:not(.event), tr), #agent .actions, #decision";
const CONTROLS = "button, input, label";
/** The cards whose content is what the operator decides about. */
const READ = ":is(.pending, .asked, .cards) > li";

const places = new WeakMap(); // the places of each card's controls when they were last looked at
const since = new WeakMap(); // the time when each card was shown as it is; Infinity: not shown yet
const unshown = new Set(); // the cards that change with the next frame
const moved = new Set(); // the cards with the mark `data-moved`
let gesture = -Infinity; // the time of the reader's last gesture
let changing = 0; // the frame in which the cards are looked at, after changes of the page
let isEarly = false; // whether the pointer went down on a control that had just moved
let calming = 0; // the timer that removes the marks
let silencing = 0; // the timer that hides `hint`

const hint = el("p", { className: "too-early", hidden: true });
hint.setAttribute("role", "status");

/** Guard the controls of all cards, from now on. */
export function guardPresses() {
  document.body.append(hint);
  new MutationObserver(changed).observe(document.body, {
    subtree: true,
    childList: true,
    characterData: true,
    attributes: true,
  });
  const on = (name, listener) =>
    addEventListener(name, listener, { capture: true, passive: name !== "click" });
  for (const name of ["wheel", "touchmove", "keydown", "pointerdown"])
    on(name, () => {
      if (changing) look(true); // what the page has moved before is not the reader's own scrolling
      gesture = performance.now();
    });
  on("scroll", () => (isMoving() ? look(false) : lookSoon()));
  on("resize", lookSoon);
  // A window that lay behind another one may come to the front between the two presses of a double click.
  addEventListener("focus", unsettleAll);
  document.addEventListener("visibilitychange", () => document.hidden || unsettleAll());
  on("pointerdown", (event) => (isEarly = isTooEarly(event)));
  on("click", (event) => {
    // A key is pressed without a pointer: the click has no detail.
    if (!isTooEarly(event) && !(isEarly && event.detail > 0)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    tell();
  });
  look(true);
}

function changed(records) {
  const read = records.filter(({ type }) => type !== "attributes").map(({ target }) => target);
  for (const target of new Set(read)) {
    const card = (target instanceof Element ? target : target.parentElement)?.closest(READ);
    if (card) unsettle(card);
  }
  if (!records.some((record) => record.attributeName !== "data-moved")) return;
  // While the reader scrolls, the next event may be about the reader's own movement.
  if (isMoving()) look(true);
  else lookSoon();
}

/** Whether the reader may be scrolling. */
const isMoving = () => performance.now() - gesture <= GESTURE_MS;

// To look means to lay out the page: once a frame, when the browser does that anyway. A press looks at once.
// A page that is hidden, or that lies behind another window, has its cards unsettled when it comes back.
function lookSoon() {
  if (document.hidden || !document.hasFocus()) return;
  changing ||= requestAnimationFrame(() => look(true));
}

/** Notice the cards whose controls are not where they were; `isShift` unless the reader scrolled. */
function look(isShift) {
  const shifted = isShift || changing !== 0;
  cancelAnimationFrame(changing);
  changing = 0;
  // First look at all, then mark those that have moved: a mark between two looks means to lay out again.
  const found = [];
  for (const card of document.querySelectorAll(CARDS)) {
    const place = placesIn(card);
    if (places.get(card) === place) continue;
    places.set(card, place);
    if (shifted && place) found.push(card);
  }
  found.forEach(unsettle);
}

/** Return the places of a card's controls on the screen; empty when the card is not on it. */
function placesIn(card) {
  const { top, bottom } = card.getBoundingClientRect();
  if (bottom <= 0 || top >= innerHeight) return "";
  const boxes = [...card.querySelectorAll(CONTROLS)].map((one) => one.getBoundingClientRect());
  const shown = boxes.filter((box) => box.width > 0);
  return shown.map((box) => [box.x, box.y, box.width, box.height].map(Math.round)).join(";");
}

function unsettleAll() {
  [...document.querySelectorAll(CARDS)].filter(placesIn).forEach(unsettle);
}

function unsettle(card) {
  since.set(card, Infinity);
  card.dataset.moved = "";
  moved.add(card);
  // The time counts from the frame that shows the change: a hidden page has none.
  if (unshown.size === 0) requestAnimationFrame(showing);
  unshown.add(card);
}

function showing() {
  for (const card of unshown) since.set(card, performance.now());
  unshown.clear();
  if (!calming) calming = setTimeout(calm, SETTLE_MS);
}

function calm() {
  calming = 0;
  let left = Infinity;
  for (const card of moved) {
    const more = SETTLE_MS - (performance.now() - since.get(card));
    if (more > 0) left = Math.min(left, more);
    else {
      delete card.dataset.moved;
      moved.delete(card);
    }
  }
  if (left < Infinity) calming = setTimeout(calm, left);
}

function isTooEarly(event) {
  if (!(event.target instanceof Element)) return false;
  const card = event.target.closest(CONTROLS)?.closest(CARDS);
  if (!card) return false;
  look(true);
  // The press may have waited in a queue while the page was busy.
  const pressed = Math.min(event.timeStamp, performance.now());
  return pressed - (since.get(card) ?? -Infinity) < SETTLE_MS;
}

function tell() {
  setText(hint, "");
  setText(hint, "This changed or moved just now. Look at it again, then press.");
  hint.hidden = false;
  clearTimeout(silencing);
  silencing = setTimeout(() => (hint.hidden = true), TOLD_MS);
}
