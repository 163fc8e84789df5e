// What the reader must be told though the card that they used is gone: a sentence at the bottom of the page.

import { el, setSentence } from "./dom.js";

const sentence = el("p");
const close = el("button", { type: "button", className: "quiet" }, "Dismiss");
const box = el("div", { className: "told", hidden: true }, sentence, close);
box.setAttribute("role", "alert");
close.addEventListener("click", () => (box.hidden = true));
document.body.append(box);

/** Show a sentence until the reader dismisses it, or another one takes its place. */
export function tell(text) {
  box.hidden = false;
  setSentence(sentence, text);
}
