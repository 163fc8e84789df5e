// Enter in a box for a text of several lines: it sends the text, and Shift+Enter begins a line.

import { el } from "./dom.js";

/** Return whether a key sends the text of its box. */
export const sends = (event) => event.key === "Enter" && !event.shiftKey && !event.isComposing;

/** Make Enter in `box` press a button, which the guard of presses may refuse as any other press. */
export function sendOnEnter(box, button) {
  box.addEventListener("keydown", (event) => {
    if (!sends(event)) return;
    event.preventDefault();
    button.click();
  });
}

/** Make the line that says so; `verb` is the effect of Enter, such as "denies". */
export function makeEnterHint(verb) {
  const [enter, shift] = [el("kbd", {}, "Enter"), el("kbd", {}, "Shift")];
  return el("p", { className: "hint" }, enter, ` ${verb}, `, shift, "+", enter.cloneNode(true), " begins a line.");
}
