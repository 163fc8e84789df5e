// The questions: those to the operator come with a form for the answer.

import { decide, get } from "./api.js";
import { el, keyed, setText, showError } from "./dom.js";
import { makeLongText } from "./message.js";
import { joined, putText, putTime, textOf } from "./text.js";

/** The choice that denies a tool call. */
const DENY = "Deny";
/** The value of the button that answers with a text of the operator's own. */
const OWN = "own";

/** The questions of one asker that are shown at a time: nobody must fill the list. */
const MAX_SHOWN = 5;

/** Return whether a question waits for the operator. */
export const isMine = (question) => question.to === "operator" && question.state === "open";

/** Render the open questions to the operator; return their number. */
export function renderQuestions(mirror) {
  const section = document.getElementById("questions");
  const open = mirror.rows("questions").filter(isMine).sort((a, b) => a.id - b.id);
  section.querySelector(".empty").hidden =
    open.length > 0 || mirror.tables.services.broker?.available !== true;
  const counts = new Map();
  const shown = open.filter(({ from }) => counts.set(from, (counts.get(from) ?? 0) + 1).get(from) <= MAX_SHOWN);
  keyed(section.querySelector("ul"), shown, (question) => question.id, makeQuestion);
  const many = [...counts].filter(([, count]) => count > MAX_SHOWN);
  const rest = many.map(([asker, count]) => `${count - MAX_SHOWN} of ${asker}`).join(", ");
  const line = section.querySelector(":scope > .more");
  line.hidden = rest === "";
  setText(line, `More questions wait until you have answered these: ${rest}.`);
  return open.length;
}

/** Make an item for one question; `updateQuestion` shows its state. */
export function makeQuestion(question) {
  const asked = el("time");
  putTime(asked, question.asked);
  const what = el(
    "p",
    { className: "what" },
    el("strong", {}, question.from),
    " asks ",
    question.to === "operator" ? "you" : question.to,
    el("span", { className: "by" }, ", ", asked),
  );
  if (question.deadline && question.state === "open") {
    const deadline = el("time");
    putTime(deadline, question.deadline);
    what.append(el("span", { className: "by" }, ", until ", deadline));
  }
  const text = makeLongText(question.question, question.length, async () => {
    return (await get(`/api/questions/${question.id}`)).question;
  });
  const item = el("li", { className: question.permission ? "question call" : "question" }, what, ...text);
  if (isMine(question)) item.append(makeAnswer(question));
  if (question.permission && isMine(question)) readFirst(item);
  else item.append(el("p", { className: "answer" }));
  return item;
}

/** Disable what allows a folded call until the operator has unfolded it. */
function readFirst(item) {
  const more = item.querySelector(".more");
  if (!more) return;
  const allow = [...item.querySelectorAll("form button")].filter((button) => button.textContent !== DENY);
  for (const button of allow) button.disabled = true;
  more.addEventListener("click", () => allow.forEach((button) => (button.disabled = false)), { once: true });
}

/** Show the state of a question, unless the operator is answering it. */
export function updateQuestion(item, question) {
  const form = item.querySelector("form");
  if (form && isMine(question)) return;
  form?.replaceWith(el("p", { className: "answer" }));
  const line = item.querySelector("p.answer");
  line.dataset.state = question.state;
  if (question.state !== "answered") setText(line, question.state);
  else putText(line, [`${question.answered_by}: `, ...joined(question.answer, ", ")]);
}

function makeAnswer(question) {
  const error = el("p", { className: "error", role: "alert", hidden: true });
  const form = el("form", { className: "answering", autocomplete: "off" });
  form.setAttribute("aria-label", `Answer ${question.from}`);
  const submit = el("button", { type: "submit", className: "primary" }, "Answer");
  if (question.permission) form.append(...makeDecision(question, submit));
  else if (question.choices.length === 0) {
    const text = el("textarea", { name: "text", rows: 2, required: true });
    text.setAttribute("aria-label", `Your answer to ${question.from}`);
    form.append(text, submit);
  } else if (question.multi) form.append(...question.choices.map(makeCheckbox), submit);
  else form.append(...question.choices.map(makeChoice));
  form.append(error);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answer(question, form, chosen(question, form, event.submitter), error);
  });
  return form;
}

/** Make the controls for a tool call that waits: choices, and a text of the operator's own. */
function makeDecision(question, submit) {
  const deny = question.choices.findIndex((choice) => textOf(choice) === DENY);
  const controls = question.choices.map(question.multi ? makeCheckbox : makeChoice);
  const own = el("input", { type: "text", name: "own" });
  own.placeholder = deny < 0 ? "Or an answer of your own" : "With Deny: the reason, for the agent";
  own.setAttribute("aria-label", own.placeholder);
  if (!question.multi) submit.value = OWN;
  const end = deny < 0 ? submit : controls[deny];
  // Enter must not press the first choice, as it does by itself.
  own.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    own.form.requestSubmit(end);
  });
  const rule = el("p", { className: "by rule", hidden: textOf(question.rule) === "" });
  putText(rule, ["Always allow adds ", question.rule, ` to allowed_tools of ${question.from}.`].flat());
  return [...controls, rule, own, ...(deny < 0 ? [submit] : [])];
}

function makeChoice(choice, index) {
  const button = el("button", { type: "submit", value: String(index) });
  putText(button, choice);
  return button;
}

function makeCheckbox(choice, index) {
  const text = el("span", { dir: "auto" });
  putText(text, choice);
  const box = el("input", { type: "checkbox", name: "choice", value: String(index) });
  return el("label", {}, box, " ", text);
}

// Choices are identified by their place: the shown text may differ from the written one.
function chosen(question, form, submitter) {
  if (question.permission) return decided(question, form, submitter);
  if (question.choices.length === 0) return [form.elements.text.value.trim()];
  if (!question.multi) return [textOf(question.choices[Number(submitter.value)])];
  const boxes = [...form.querySelectorAll("input:checked")];
  return boxes.map((box) => textOf(question.choices[Number(box.value)]));
}

/** Return the answer about a tool call, or a sentence about a mistake. */
function decided(question, form, submitter) {
  const own = form.elements.own.value.trim();
  const pressed = question.multi || submitter.value === OWN ? [...form.querySelectorAll("input:checked")] : [submitter];
  const choices = pressed.map((control) => textOf(question.choices[Number(control.value)]));
  const mayDeny = question.choices.some((choice) => textOf(choice) === DENY);
  if (own && mayDeny && choices[0] !== DENY) return "A reason goes with Deny alone: remove the text to allow the call.";
  return own ? [...choices, own] : choices;
}

async function answer(question, form, texts, error) {
  if (typeof texts === "string") {
    showError(error, texts);
    return;
  }
  if (texts.length === 0 || !texts[0]) {
    showError(error, question.multi ? "Choose at least one." : "Write an answer first.");
    return;
  }
  showError(error);
  const controls = [...form.elements];
  for (const control of controls) control.disabled = true;
  try {
    await decide(`/api/questions/${question.id}/answer`, { answer: texts });
  } catch (failure) {
    showError(error, failure.message);
    for (const control of controls) control.disabled = false;
  }
}
