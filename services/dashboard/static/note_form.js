// The note that goes with a decision: a form that a button unfolds. What is typed survives a reload.

import { keepDraft, keepTyped } from "./drafts.js";
import { el } from "./dom.js";
import { makeEnterHint, sendOnEnter } from "./enter.js";

/**
 * Make the form, folded.
 * @param opener the button that unfolds it, and folds it again
 * @param draft the name under which the note is kept until it is sent
 * @param options `verb`: the word on the button; `effect`: that of Enter, such as "denies"; `label` and `placeholder`
 *   of the note; `send`: called with the note and the buttons, and returns a promise of whether that was accepted
 */
export function makeNoteForm(opener, draft, { verb, effect, label, placeholder, send }) {
  const note = el("textarea", { name: "note", rows: 2, maxLength: 10000, placeholder });
  note.setAttribute("aria-label", label);
  const submit = el("button", { type: "submit", className: "primary" }, verb);
  const cancel = el("button", { type: "button", className: "quiet" }, "Cancel");
  keepTyped(note, draft);
  sendOnEnter(note, submit);
  const form = el("form", { className: "denial", hidden: true }, note, submit, cancel, makeEnterHint(effect));
  const fold = (isFolded) => {
    form.hidden = isFolded;
    opener.setAttribute("aria-expanded", String(!isFolded));
    (isFolded ? opener : note).focus();
  };
  opener.setAttribute("aria-expanded", "false");
  opener.addEventListener("click", () => fold(!form.hidden));
  cancel.addEventListener("click", () => fold(true));
  form.addEventListener("keydown", (event) => event.key === "Escape" && fold(true));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await send(note.value.trim(), [submit, cancel])) keepDraft(draft, null);
  });
  return form;
}
