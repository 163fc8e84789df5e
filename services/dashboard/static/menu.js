// A menu that a button opens. It lies above the page, so nothing cuts it off, and the arrow keys move in it.

import { el } from "./dom.js";

const EARLY_MS = 300; // a double click on the button does not press what has come under the pointer

let opened = null;

/**
 * Open a menu at a button; a second press of the button closes it.
 * @param title what the actions are about
 * @param groups lists of `{label, run}` or `{label, href}`, with `bad` for what destroys; lines are between them
 */
export function openMenu(button, title, groups) {
  const isOwn = opened?.button === button;
  closeMenu();
  if (isOwn) return;
  const menu = el("div", { className: "menu", popover: "manual" });
  menu.setAttribute("role", "menu");
  menu.setAttribute("aria-label", title);
  menu.append(el("p", { ariaHidden: "true" }, title));
  const shown = groups.filter((group) => group.length > 0);
  for (const [index, group] of shown.entries()) {
    if (index) menu.append(el("hr"));
    menu.append(...group.map((item) => makeItem(item, performance.now())));
  }
  menu.addEventListener("keydown", (event) => move(event, menu));
  menu.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget && !menu.contains(relatedTarget)) closeMenu();
  });
  document.body.append(menu);
  menu.showPopover();
  place(menu, button.getBoundingClientRect());
  button.setAttribute("aria-expanded", "true");
  opened = { menu, button };
  items(menu)[0]?.focus();
}

/** Close the open menu, if any. */
export function closeMenu() {
  if (!opened) return;
  const { menu, button } = opened;
  opened = null;
  const hadFocus = menu.contains(document.activeElement);
  button.setAttribute("aria-expanded", "false");
  menu.remove();
  if (hadFocus) button.focus({ preventScroll: true });
}

/** Return whether a menu is open. */
export const isMenuOpen = () => opened !== null;

function makeItem({ label, run, href, verb, bad = false }, since) {
  const node = href ? el("a", { href }, label) : el("button", { type: "button" }, label);
  node.setAttribute("role", "menuitem");
  node.tabIndex = -1;
  if (verb) node.dataset.verb = verb;
  if (bad) node.classList.add("bad");
  node.addEventListener("click", (event) => {
    if (event.detail > 0 && performance.now() - since < EARLY_MS) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    closeMenu();
    run?.();
  });
  return node;
}

const items = (menu) => [...menu.querySelectorAll("[role=menuitem]")];

function move(event, menu) {
  const all = items(menu);
  const here = all.indexOf(document.activeElement);
  const to = {
    ArrowDown: (here + 1) % all.length,
    ArrowUp: (here - 1 + all.length) % all.length,
    Home: 0,
    End: all.length - 1,
  }[event.key];
  if (event.key === "Escape" || event.key === "Tab") closeMenu();
  else if (to !== undefined) all[to].focus();
  else if (event.key.length === 1) {
    const fits = (node) => node.textContent.toLowerCase().startsWith(event.key.toLowerCase());
    [...all.slice(here + 1), ...all].find(fits)?.focus();
  } else return;
  event.stopPropagation();
  if (event.key !== "Tab") event.preventDefault();
}

/** Put the menu below the button, or above it, and inside the window. */
function place(menu, at) {
  const { width, height } = menu.getBoundingClientRect();
  const below = at.bottom + 2 + height <= innerHeight - 8;
  const top = below ? at.bottom + 2 : Math.max(8, at.top - 2 - height);
  menu.style.top = `${Math.min(top, Math.max(8, innerHeight - height - 8))}px`;
  menu.style.left = `${Math.max(8, Math.min(at.right - width, innerWidth - width - 8))}px`;
}

addEventListener("pointerdown", (event) => {
  if (opened && !opened.menu.contains(event.target) && !opened.button.contains(event.target)) closeMenu();
}, true);
addEventListener("scroll", (event) => opened && !opened.menu.contains(event.target) && closeMenu(), true);
addEventListener("resize", () => closeMenu());
