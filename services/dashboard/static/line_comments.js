// The comments on a change: on all of it, on its files, and on their lines. Those of a review are kept in this tab,
// and go to the agent together, as one message.

import { decide } from "./api.js";
import { attempt, stateOfRow } from "./card_errors.js";
import { el, keyed, showError } from "./dom.js";
import { keepDraft, keepTyped, recallDraft } from "./drafts.js";
import { shortcut } from "./keys.js";
import { putMarkdown } from "./markdown.js";
import { makeLongText } from "./message.js";
import { may } from "./session.js";
import { putText, putTime, textOf } from "./text.js";

const LINE = ".line[data-at]";

export class LineComments {
  #id;
  #diff;
  #list;
  #error;
  #files;
  #draft;
  #comments = []; // as the server sends them, oldest first
  #revision = 0; // that of the diff
  #isOpen = false; // whether the lines of the diff are those of the newest revision
  #changed = () => {};

  /**
   * @param id the number of the change
   * @param diff the element of the diff
   * @param section has the list of all comments, and the form for one on the whole change
   * @param files finds the files in the diff
   */
  constructor(id, diff, section, files) {
    this.#id = id;
    this.#diff = diff;
    this.#list = section.querySelector("ol");
    this.#error = section.querySelector(":scope > .error");
    this.#files = files;
    this.#draft = `change-${id}-comments`;
    diff.addEventListener("click", ({ target }) => this.#pressed(target));
    this.#prepareGeneral(section.querySelector("form"));
    shortcut("j", "Next line of the diff", () => this.#move(LINE, 1));
    shortcut("k", "Line of the diff before", () => this.#move(LINE, -1));
    shortcut("n", "Next file of the diff", () => this.#move("summary.file", 1));
    shortcut("p", "File of the diff before", () => this.#move("summary.file", -1));
    shortcut("c", "Comment on the line", () => this.#write());
  }

  /** Call `changed` when the comments that wait to be sent are others. */
  onDrafts(changed) {
    this.#changed = changed;
  }

  /** The comments of the review, which were not sent yet. */
  get drafts() {
    return recallDraft(this.#draft) ?? [];
  }

  /** Return the comments of the review as they are sent; of an older revision, only the file is known. */
  toSend(revision) {
    return this.drafts.map((one) => ({ path: one.path, line: one.revision === revision ? one.line : 0, text: one.text }));
  }

  /** Forget the comments of the review. */
  clear() {
    this.#keep([]);
  }

  #keep(drafts) {
    keepDraft(this.#draft, drafts.length ? drafts : null);
    this.update(this.#comments);
  }

  /** Show the comments beside a diff of a revision; lines take new ones if they are those of the newest one. */
  show(comments, { revision, isOpen }) {
    this.#revision = revision;
    this.#isOpen = isOpen;
    this.#diff.classList.toggle("numbered", isOpen);
    this.update(comments);
  }

  /** Show other comments. */
  update(comments) {
    this.#comments = comments;
    const drafts = this.drafts.map((one, index) => ({ ...one, draft: index }));
    const all = [...comments.map((one, index) => ({ ...one, path: textOf(one.path), shownPath: one.path, sent: index })), ...drafts];
    keyed(this.#list, all, (one) => ("draft" in one ? `draft-${one.draft}` : one.sent), (one) => this.#make(one), undefined, JSON.stringify);
    for (const old of this.#diff.querySelectorAll(".remark")) old.remove();
    for (const one of this.#isOpen ? all : []) this.#place(one);
    this.#changed();
  }

  // Put a comment below its line; one on a file stands above the lines.
  #place(comment) {
    if (!comment.path || comment.revision !== this.#revision) return;
    const file = this.#files.find(comment.path);
    const line = comment.line ? file?.querySelector(`[data-at="${comment.line}"]`) : file?.querySelector("summary");
    if (!line) return;
    let last = line;
    while (last.nextElementSibling?.matches(".remark")) last = last.nextElementSibling;
    last.after(this.#make(comment, "div"));
  }

  #make(comment, tag = "li") {
    const isDraft = "draft" in comment;
    const whole = async () => {
      throw new Error(`\`hivectl review c${this.#id}\` shows all of it.`);
    };
    const text = makeLongText(comment.text, comment.length ?? [...comment.text].length, whole, putMarkdown);
    const at = el("time");
    if (!isDraft) putTime(at, comment.at);
    const head = el("p", { className: "by" }, isDraft ? "you, not sent yet" : `${comment.author}, `, at, `, revision ${comment.revision}`);
    if (tag === "li" && comment.path) head.append(", ", this.#makePlace(comment));
    if (isDraft) head.append(" ", this.#makeRemove(comment.draft));
    return el(tag, { className: tag === "div" ? "remark" : "", data: isDraft ? { draft: "" } : {} }, head, ...text);
  }

  #makePlace(comment) {
    const name = el("code");
    const path = comment.shownPath ?? comment.path;
    putText(name, comment.line ? [path, `:${comment.line}`].flat() : path);
    const place = el("button", { type: "button", className: "quiet place" }, name);
    place.addEventListener("click", async () => {
      try {
        await this.#files.reveal(comment.path);
        this.#focus(this.#files.find(comment.path)?.querySelector(`[data-at="${comment.line}"]`));
      } catch (failure) {
        showError(this.#error, failure.message);
      }
    });
    return place;
  }

  #makeRemove(index) {
    const remove = el("button", { type: "button", className: "quiet" }, "Remove");
    remove.setAttribute("aria-label", "Remove this comment");
    remove.addEventListener("click", () => this.#keep(this.drafts.filter((_, other) => other !== index)));
    return remove;
  }

  // New comments

  #pressed(target) {
    const line = target.closest(LINE);
    if (!line || !this.#isOpen || !getSelection().isCollapsed) return;
    line.tabIndex = -1;
    line.focus();
    this.#diff.querySelector(".line-bar")?.remove();
    if (line.nextElementSibling?.matches(".line-form")) return;
    const write = el("button", { type: "button" }, `Comment on line ${line.dataset.at}`);
    write.addEventListener("click", () => this.#write(line));
    line.after(el("div", { className: "line-bar", data: { needs: "reviewer" } }, write));
  }

  /** Open the form of a comment on a line, or on the whole change when no line has the focus. */
  #write(line = document.activeElement.closest(LINE)) {
    if (!may("reviewer")) return;
    const path = line && this.#isOpen ? this.#files.pathOf(line) : undefined;
    if (path === undefined) {
      this.#list.parentElement.querySelector("textarea").focus();
      return;
    }
    this.#diff.querySelector(".line-bar")?.remove();
    let form = line.nextElementSibling;
    if (!form?.matches(".line-form")) line.after((form = this.#makeForm(line, path, Number(line.dataset.at))));
    form.querySelector("textarea").focus();
  }

  #makeForm(line, path, number) {
    const draft = `change-${this.#id}-${path}-${number}`;
    const text = el("textarea", { rows: 3, maxLength: 10000, placeholder: "A comment for the agent" });
    text.setAttribute("aria-label", `Comment on line ${number}`);
    keepTyped(text, draft);
    const add = el("button", { type: "submit", className: "primary" }, "Add to the review");
    add.title = "It goes to the agent with the request for changes";
    const send = el("button", { type: "button" }, "Send now");
    const cancel = el("button", { type: "button", className: "quiet" }, "Cancel");
    const error = el("p", { className: "error", role: "alert", hidden: true });
    const form = el("form", { className: "line-form" }, text, el("div", { className: "buttons" }, add, send, cancel), error);
    const close = () => {
      form.remove();
      this.#focus(line);
    };
    const done = () => {
      keepDraft(draft, null);
      close();
    };
    const written = () => text.value.trim() || (showError(error, "The comment is empty."), "");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const said = written();
      if (!said) return;
      done();
      this.#keep([...this.drafts, { path, line: number, revision: this.#revision, text: said }]);
    });
    send.addEventListener("click", async () => {
      const said = written();
      if (said && (await this.#send({ text: said, path, line: number, revision: this.#revision }, error))) done();
    });
    cancel.addEventListener("click", close);
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    return form;
  }

  #prepareGeneral(form) {
    const { text } = form.elements;
    const submit = form.querySelector("[type=submit]");
    const draft = `change-${this.#id}-general`;
    keepTyped(text, draft);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      if (text.value.trim() && (await this.#send({ text: text.value.trim() }, this.#error))) {
        text.value = "";
        keepDraft(draft, null);
      }
      submit.disabled = false;
    });
  }

  #send(body, error) {
    return attempt(error, stateOfRow("projects", "changes", this.#id), () => decide(`/api/changes/${this.#id}/comment`, body));
  }

  // The keyboard

  #move(css, step) {
    const all = [...this.#diff.querySelectorAll(css)].filter((one) => one.checkVisibility());
    const here = document.activeElement.closest(css);
    const below = all.findIndex((one) => one.getBoundingClientRect().top >= 0);
    const next = all.includes(here) ? all.indexOf(here) + step : Math.max(below, 0);
    this.#focus(all[next]);
  }

  #focus(node) {
    if (!node) return;
    if (node.matches(LINE)) node.tabIndex = -1;
    node.focus({ preventScroll: true });
    node.scrollIntoView({ block: "nearest" });
  }
}
