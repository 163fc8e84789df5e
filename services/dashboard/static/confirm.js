// Questions that the page asks before it acts: whether to, and with which values. Each is a dialog of its
// own, and nothing else can be pressed meanwhile.

import { el, setSentence, showError } from "./dom.js";

/** The milliseconds after its opening in which a dialog takes no press: a double click is for what was before. */
const EARLY_MS = 400;

/**
 * Ask whether to do something that cannot be undone.
 * @param title a question, such as "Stop alice?"
 * @param sentence the consequences; backticks mark a command
 * @param options `verb`, the word on the button that does it; `typed`, a word to type before that
 * @returns a promise of whether to
 */
export async function ask(title, sentence, { verb = "Yes", typed = "" } = {}) {
  const fields = typed ? [{ name: "typed", label: `Type ${typed} to confirm`, mono: true }] : [];
  const check = ({ typed: word }) => !typed || word === typed;
  return (await open({ title, sentence, verb, fields, check, danger: true })) !== null;
}

/**
 * Ask for values.
 * @param fields `{name, label, value?, placeholder?, hint?}` of each line
 * @param submit called with the values by name; its error is shown, and the dialog stays
 * @returns a promise of whether the values were taken
 */
export async function askFor(title, sentence, { verb, fields, submit }) {
  return (await open({ title, sentence, verb, fields, submit })) !== null;
}

let dialogs = 0;

function open({ title, sentence, verb, fields, submit, check = () => true, danger = false }) {
  const id = `dialog-${(dialogs += 1)}`;
  const heading = el("h2", { id }, title);
  const words = el("p", { id: `${id}-words` });
  setSentence(words, sentence);
  const error = el("p", { className: "error", role: "alert", hidden: true });
  const yes = el("button", { type: "submit", className: danger ? "danger" : "primary" }, verb);
  const no = el("button", { type: "button" }, "Cancel");
  const inputs = fields.map(makeField);
  const form = el(
    "form",
    { autocomplete: "off" },
    heading,
    words,
    ...inputs,
    error,
    el("div", { className: "buttons" }, no, yes),
  );
  form.noValidate = true;
  const dialog = el("dialog", { className: "ask" }, form);
  dialog.setAttribute("aria-labelledby", id);
  dialog.setAttribute("aria-describedby", words.id);
  const values = () => Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
  const judge = () => (yes.disabled = !check(values()));
  form.addEventListener("input", judge);
  judge();
  const before = document.activeElement;
  document.body.append(dialog);
  dialog.showModal();
  (form.querySelector("input") ?? (danger ? no : yes)).focus();
  const opened = performance.now();
  return new Promise((answer) => {
    let given = null;
    no.addEventListener("click", () => dialog.close());
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (performance.now() - opened < EARLY_MS || !check(values())) return;
      showError(error);
      yes.disabled = true;
      try {
        await submit?.(values());
        given = values();
        dialog.close();
      } catch (failure) {
        showError(error, failure.message);
        yes.disabled = false;
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus?.();
      answer(given);
    });
  });
}

function makeField({ name, label, value = "", placeholder = "", hint = "", mono = false }) {
  const input = el("input", { type: "text", name, value, placeholder, className: mono ? "mono" : "" });
  input.spellcheck = false;
  const words = el("span", { className: "hint" }, hint);
  return el("label", { className: "value" }, el("span", {}, label), input, hint ? words : "");
}
