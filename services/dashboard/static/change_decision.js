// The decision about a change: of the revision on the base that the page shows.

import { decide } from "./api.js";
import { attempt, stateOfRow } from "./card_errors.js";
import { el, setText } from "./dom.js";
import { shortcut } from "./keys.js";
import { makeNoteForm } from "./note_form.js";
import { plural } from "./text.js";

const DENIABLE = ["open", "changes-requested", "conflict", "approved"];

export class Decision {
  #id;
  #section;
  #error;
  #comments;
  #check;
  #shown = null;
  #count = el("p", { className: "by" });

  /**
   * @param id the number of the change
   * @param section has the buttons
   * @param comments the comments of the review, which go with a request for changes
   * @param check called after an approval that was refused: the change may be another one
   */
  constructor(id, section, comments, check) {
    this.#id = id;
    this.#section = section;
    this.#error = section.querySelector(":scope > .error");
    this.#comments = comments;
    this.#check = check;
    this.#button("approve").addEventListener("click", () => this.#approve());
    this.#addForm("request", {
      verb: "Request changes",
      effect: "sends it",
      label: "Note for the agent",
      placeholder: "What you want to be changed, for the agent",
      send: (note, buttons) => this.#request(note, buttons),
    });
    this.#addForm("deny", {
      verb: "Deny",
      effect: "denies",
      label: "Reason for the agent",
      placeholder: "Reason, for the agent",
      send: (note, buttons) => this.#act("deny", { note }, buttons),
    });
    this.#section.querySelector("form").prepend(this.#count);
    comments.onDrafts(() => this.#countDrafts());
    shortcut("a", "Go to Approve", () => this.#button("approve").focus());
    shortcut("r", "Request changes", () => this.#button("request").click());
    shortcut("d", "Deny the change", () => this.#button("deny").click());
  }

  #button(verb) {
    return this.#section.querySelector(`[data-verb=${verb}]`);
  }

  #addForm(verb, options) {
    const form = makeNoteForm(this.#button(verb), `change-${this.#id}-${verb}`, options);
    form.dataset.form = verb;
    this.#section.append(form);
  }

  /**
   * Offer the decisions that there are.
   * @param change the change, as it is now
   * @param shown the diff of the newest revision that was loaded; null while there is none
   * @param how the way of its project into the branch; undefined if it is not known
   */
  update(change, shown, how) {
    this.#shown = shown;
    const { state, branch } = change ?? {};
    const isNewest = shown !== null && shown.revision === change?.revision;
    const may = {
      approve: isNewest && (state === "open" || state === "approved"),
      request: isNewest && state === "open",
      deny: isNewest && DENIABLE.includes(state),
    };
    for (const [verb, can] of Object.entries(may)) {
      this.#button(verb).hidden = !can;
      const form = this.#section.querySelector(`[data-form=${verb}]`);
      if (form && !can) form.hidden = true;
    }
    this.#section.querySelector("label").hidden = !may.approve || state === "approved";
    const ways = this.#section.querySelector("select");
    const usual = [...ways.options].find(({ value }) => value && value === how);
    setText(ways.options[0], usual ? `as its project says: ${usual.text}` : "as its project says");
    setText(this.#button("approve"), state === "approved" ? "Try again" : "Approve");
    this.#section.hidden = !DENIABLE.includes(state);
    const base = shown?.base ? ` on ${branch} at ${shown.base.slice(0, 12)}` : "";
    const about = isNewest ? `Revision ${shown.revision}${base}` : "Show the newest revision to decide about it.";
    setText(this.#section.querySelector(".about"), about);
    this.#countDrafts();
  }

  #countDrafts() {
    const count = this.#comments.drafts.length;
    this.#count.hidden = count === 0;
    setText(this.#count, `${plural(count, "comment")} on lines ${count === 1 ? "goes" : "go"} with it.`);
  }

  async #approve() {
    const { base } = this.#shown;
    const { value: how } = this.#section.querySelector("select");
    if (!(await this.#act("approve", { base, ...(how ? { how } : {}) }, [this.#button("approve")]))) this.#check();
  }

  async #request(note, buttons) {
    const comments = this.#comments.toSend(this.#shown.revision);
    const done = await this.#act("request-changes", { note, comments }, buttons);
    if (done) this.#comments.clear();
    return done;
  }

  /** Decide; return the answer, or null. */
  async #act(verb, body, buttons) {
    const { commit } = this.#shown;
    for (const button of buttons) button.disabled = true;
    const about = stateOfRow("projects", "changes", this.#id);
    const answer = await attempt(this.#error, about, () => decide(`/api/changes/${this.#id}/${verb}`, { ...body, commit }));
    for (const button of buttons) button.disabled = false;
    return answer;
  }
}
