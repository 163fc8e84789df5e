// The questions: those that are open come with a form for the answer, and tell who waits for whom.
//
// Of two browsers that answer one question, the first one wins. The other one is told, and so is whoever
// was writing when a question ended otherwise: no answer is lost without a word.

import { decide, get } from "./api.js";
import { attempt, stateOfRow } from "./card_errors.js";
import { ask } from "./confirm.js";
import { makeCountdown } from "./countdown.js";
import { el, keyed, setText, showError } from "./dom.js";
import { keepDraft, keepTyped } from "./drafts.js";
import { makeEnterHint, sendOnEnter } from "./enter.js";
import { putMarkdown } from "./markdown.js";
import { makeLongText } from "./message.js";
import { joined, putText, putTime, textOf } from "./text.js";

/** The choice that denies a tool call. */
const DENY = "Deny";
/** The value of the button that answers with a text of the operator's own. */
const OWN = "own";

/** The questions of one asker that are shown at a time: nobody must fill the list. */
const MAX_SHOWN = 5;

const attempts = new WeakMap(); // the answer that was sent from each item, and whether it is on its way
const endings = new WeakMap(); // what to do with an item whose question ended while its answer was on its way
const won = new WeakSet(); // the items whose answer was accepted
const asks = new WeakMap(); // the question of each item

const stateOf = ({ id }) => stateOfRow("broker", "questions", id);

/** Return whether a question waits for the operator. */
export const isMine = (question) => question.to === "operator" && isOpen(question);

/** Return whether anybody waits for the answer to a question. */
export const isOpen = (question) => question.state === "open";

/** Render the open questions to the operator; return their number. */
export function renderQuestions(mirror) {
  const section = document.getElementById("questions");
  const open = mirror.rows("questions").filter(isMine).sort((a, b) => a.id - b.id);
  section.querySelector(".empty").hidden =
    open.length > 0 || mirror.tables.services.broker?.available !== true;
  const counts = new Map();
  const shown = open.filter(({ from }) => counts.set(from, (counts.get(from) ?? 0) + 1).get(from) <= MAX_SHOWN);
  putQuestions(section.querySelector("ul"), shown, mirror);
  const many = [...counts].filter(([, count]) => count > MAX_SHOWN);
  const rest = many.map(([asker, count]) => `${count - MAX_SHOWN} of ${asker}`).join(", ");
  const line = section.querySelector(":scope > .more");
  line.hidden = rest === "";
  setText(line, `More questions wait until you have answered these: ${rest}.`);
  return open.length;
}

/**
 * Show open questions in a list. One that has ended stays while its answer is on its way, and with a
 * sentence if the reader's answer was not used, until the reader dismisses it.
 */
export function putQuestions(list, open, mirror) {
  const wanted = new Set(open.map((question) => question.id));
  const kept = [];
  for (const item of list.children) {
    const question = asks.get(item);
    if (!question || wanted.has(question.id)) continue;
    const now = mirror.tables.questions[question.id];
    if (end(item, now ?? { ...question, state: "over" }, () => item.remove())) kept.push(question);
  }
  const all = [...open, ...kept].sort((a, b) => a.id - b.id);
  keyed(list, all, (question) => question.id, makeQuestion);
}

/** Make an item for one question; `updateQuestion` shows its state. */
export function makeQuestion(question) {
  const asked = el("time");
  putTime(asked, question.asked);
  const what = el(
    "p",
    { className: "what" },
    el("strong", {}, question.from),
    el("span", { className: "verb" }, " asks "),
    question.to === "operator" ? "you" : question.to,
    el("span", { className: "by" }, ", ", asked),
  );
  if (question.deadline && isOpen(question)) what.append(" · ", makeCountdown(question.deadline));
  const whole = async () => (await get(`/api/questions/${question.id}`)).question;
  // A tool call is read exactly as it is.
  const text = makeLongText(question.question, question.length, whole, question.permission ? putText : putMarkdown);
  const item = el("li", { className: question.permission ? "question call" : "question" }, what, ...text);
  asks.set(item, question);
  if (isOpen(question)) {
    item.append(isMine(question) ? makeAnswer(question, item) : inPlace(question, item), makeCancel(question, item));
  }
  if (question.permission && isMine(question)) readFirst(item);
  else item.append(el("p", { className: "answer" }));
  if (!isOpen(question)) putOutcome(item, question);
  return item;
}

/** Make the form for an answer in an agent's place. */
function inPlace(question, item) {
  const waits = el("summary", {}, `${question.from} waits for ${question.to}. Answer in its place`);
  return el("details", { className: "in-place", data: { needs: "reviewer" } }, waits, makeAnswer(question, item));
}

function makeCancel(question, item) {
  const title = "Cancel question";
  const button = el("button", { type: "button", className: "quiet cancel", title, data: { needs: "operator" } }, "×");
  button.setAttribute("aria-label", `Cancel question ${question.id} of ${question.from}`);
  button.addEventListener("click", async () => {
    const told = question.from === "operator" ? "" : ` ${question.from} is told that nobody answers.`;
    if (!(await ask(`Cancel question ${question.id}?`, `It ends without an answer.${told}`, { verb: "Cancel question" })))
      return;
    const error = item.querySelector(".answering .error");
    await attempt(error, stateOf(question), () => decide(`/api/questions/${question.id}/cancel`));
  });
  return button;
}

/** Disable what allows a folded call until the operator has unfolded it. */
function readFirst(item) {
  const more = item.querySelector(".body + .more");
  if (!more) return;
  const allow = [...item.querySelectorAll("form button")].filter((button) => button.textContent !== DENY);
  for (const button of allow) button.disabled = true;
  more.addEventListener("click", () => allow.forEach((button) => (button.disabled = false)), { once: true });
}

/** Show the state of a question, unless the operator is answering it. */
export function updateQuestion(item, question) {
  const form = item.querySelector("form");
  if (isOpen(question)) return;
  const show = () => {
    putOutcome(item, question);
    (item.querySelector(".in-place") ?? item.querySelector("form"))?.remove();
    if (!item.querySelector("p.answer")) item.append(el("p", { className: "answer" }));
    const line = item.querySelector("p.answer");
    line.dataset.state = question.state;
    line.hidden = question.state !== "answered";
    if (!line.hidden) putText(line, [`${question.answered_by}: `, ...joined(question.answer, ", ")]);
  };
  if (!form || !end(item, question, show)) show();
}

/** Say in the first line of an item how its question ended. */
function putOutcome(item, question) {
  const what = item.querySelector(".what");
  item.querySelector(":scope > .cancel")?.remove();
  const countdown = what.querySelector(".countdown");
  if (countdown?.previousSibling?.nodeType === Node.TEXT_NODE) countdown.previousSibling.remove(); // the dot before it
  countdown?.remove();
  setText(what.querySelector(".verb"), " asked ");
  if (what.querySelector(".outcome")) return;
  const outcome = el("span", { className: "by outcome" }, ` · ${outcomeOf(question)}`);
  if (question.resolved) {
    const at = el("time");
    putTime(at, question.resolved);
    outcome.append(", ", at);
  }
  what.append(outcome);
}

function outcomeOf({ state, answered_by: by }) {
  if (state === "answered") return by ? `answered by ${by === "operator" ? "you" : by}` : "answered";
  return { expired: "expired without an answer", cancelled: "cancelled without an answer" }[state] ?? "ended";
}

/**
 * End an item whose question is not open any more; return whether it stays as it is.
 * @param done called when the answer that was on its way was accepted, or the reader has read that it was not
 */
function end(item, question, done) {
  const form = item.querySelector("form");
  if (item.querySelector(".lost")) return true;
  if (!form || won.has(item)) return false;
  const attempt = attempts.get(item);
  if (attempt?.sending) {
    endings.set(item, { question, done });
    return true;
  }
  const texts = attempt?.texts ?? typed(asks.get(item), form);
  const isSame = question.state === "answered" && question.answer?.map(textOf).join("\n") === texts.join("\n");
  if (texts.length === 0 || isSame) return false;
  lose(item, question, texts, done);
  return true;
}

/** Say in an item that the reader's answer was not used. */
function lose(item, question, texts, done) {
  const ends = {
    answered: [`${question.answered_by} answered first: `, ...joined(question.answer ?? [], ", "), "."],
    expired: ["The deadline of this question has passed."],
    cancelled: ["This question was cancelled."],
  };
  const line = el("p");
  putText(line, [...(ends[question.state] ?? ["This question has ended."]), " Your answer was not used: ", texts.join(", ")]);
  const close = el("button", { type: "button" }, "Dismiss");
  const box = el("div", { className: "lost error" }, line, close);
  box.setAttribute("role", "alert");
  close.addEventListener("click", () => {
    box.remove();
    done();
  });
  putOutcome(item, question);
  (item.querySelector(".in-place") ?? item.querySelector("form")).replaceWith(box);
}

/** Return what is written or chosen in a form that was not sent. */
function typed(question, form) {
  const boxes = [...form.querySelectorAll("input:checked")];
  const texts = boxes.map((box) => textOf(question.choices[Number(box.value)]));
  const own = form.elements.text?.value.trim() || form.elements.own?.value.trim();
  return own ? [...texts, own] : texts;
}

const draftOf = ({ id }) => `answer-${id}`;

function makeAnswer(question, item) {
  const error = el("p", { className: "error", role: "alert", hidden: true });
  const form = el("form", { className: "answering", autocomplete: "off", data: { needs: "reviewer" } });
  form.setAttribute("aria-label", `Answer ${question.from}`);
  const submit = el("button", { type: "submit", className: "primary" }, "Answer");
  if (question.permission) form.append(...makeDecision(question, submit));
  else if (question.choices.length === 0) {
    const text = el("textarea", { name: "text", rows: 2, required: true });
    text.setAttribute("aria-label", `Your answer to ${question.from}`);
    keepTyped(text, draftOf(question));
    sendOnEnter(text, submit);
    form.append(text, submit, makeEnterHint("answers"));
  } else form.append(makeChoices(question), ...makeOwn(question), submit);
  form.append(error);
  // A mistake is about the answer as it was.
  form.addEventListener("input", () => error.hidden || showError(error));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answer(question, item, form, event.submitter, error);
  });
  return form;
}

/** Make the choices of a question: check boxes, or radio buttons if only one may be chosen. */
function makeChoices(question) {
  const make = question.multi ? makeCheckbox : makeRadio;
  const box = el("fieldset", { className: "choices" }, el("legend", { className: "unseen" }, `Choices of ${question.from}`));
  box.append(...question.choices.map((choice, index) => make(choice, index)));
  return box;
}

/** Make the box for an answer in other words, unless the hive itself asks. */
function makeOwn(question) {
  if (!question.own) return [];
  const own = el("input", { type: "text", name: "own" });
  own.placeholder = question.multi ? "And in your own words" : "Or in your own words";
  keepTyped(own, draftOf(question));
  own.setAttribute("aria-label", own.placeholder);
  // Who writes an answer does not choose another one.
  if (!question.multi)
    own.addEventListener("input", () => {
      if (own.value.trim()) for (const radio of own.form.querySelectorAll("input:checked")) radio.checked = false;
    });
  return [own];
}

/** Make the controls for a tool call that waits: choices, and a text of the operator's own. */
function makeDecision(question, submit) {
  const deny = question.choices.findIndex((choice) => textOf(choice) === DENY);
  const controls = question.choices.map(question.multi ? makeCheckbox : makeChoice);
  const own = el("input", { type: "text", name: "own" });
  own.placeholder = deny < 0 ? "Or an answer of your own" : "With Deny: the reason, for the agent";
  own.setAttribute("aria-label", own.placeholder);
  if (!question.multi) submit.value = OWN;
  keepTyped(own, draftOf(question));
  // Enter must not press the first choice, as it does by itself.
  sendOnEnter(own, deny < 0 || question.multi ? submit : controls[deny]);
  const rule = el("p", { className: "by rule", hidden: textOf(question.rule) === "" });
  putText(rule, ["Always allow adds ", question.rule, ` to allowed_tools of ${question.from}.`].flat());
  return [...controls, rule, own, ...(deny < 0 ? [submit] : [])];
}

function makeChoice(choice, index) {
  const button = el("button", { type: "submit", value: String(index) });
  putText(button, choice);
  return button;
}

const makeCheckbox = (choice, index) => makeInput("checkbox", choice, index);
const makeRadio = (choice, index) => makeInput("radio", choice, index);

function makeInput(type, choice, index) {
  const text = el("span", { dir: "auto" });
  putText(text, choice);
  const box = el("input", { type, name: "choice", value: String(index) });
  return el("label", {}, box, " ", text);
}

/** Return an answer, or a sentence about a mistake. Choices are identified by their place. */
function chosen(question, form, submitter) {
  if (question.permission) return decided(question, form, submitter);
  const texts = typed(question, form);
  if (texts.length > 1 && !question.multi) return "Choose one, or write an answer of your own.";
  return texts;
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

async function answer(question, item, form, submitter, error) {
  const texts = chosen(question, form, submitter);
  if (typeof texts === "string") {
    showError(error, texts);
    return;
  }
  if (texts.length === 0 || !texts[0]) {
    const few = question.multi ? "Choose at least one." : "Choose an answer first.";
    showError(error, question.choices.length ? few : "Write an answer first.");
    return;
  }
  const controls = [...form.elements];
  for (const control of controls) control.disabled = true;
  const own = !question.permission && Boolean(form.elements.own?.value.trim());
  attempts.set(item, { texts, sending: true });
  const send = () => decide(`/api/questions/${question.id}/answer`, own ? { answer: texts, own } : { answer: texts });
  if (await attempt(error, stateOf(question), send)) {
    won.add(item);
    attempts.delete(item);
    keepDraft(draftOf(question), null);
  } else {
    attempts.set(item, { texts, sending: false });
    for (const control of controls) control.disabled = false;
  }
  const ending = endings.get(item);
  endings.delete(item);
  if (!ending) return;
  if (!end(item, ending.question, ending.done)) ending.done();
}
