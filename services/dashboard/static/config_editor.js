// A text box for a file of a configuration: it grows with its text, which the server checks as it is typed.

import { post } from "./api.js";
import { fit } from "./fitted.js";
import { putText } from "./text.js";

/** The milliseconds without a key after which the text is checked. */
const PAUSE_MS = 300;

export class Checked {
  #box;
  #complaint;
  #path;
  #timer = 0;
  #check = 0; // the number of the newest check; the answer to an older one is not used

  /**
   * @param box a textarea
   * @param complaint the line that shows what is wrong with the text
   * @param path returns the path of the file
   */
  constructor(box, complaint, path) {
    this.#box = box;
    this.#complaint = complaint;
    this.#path = path;
    box.addEventListener("input", () => this.#typed());
    box.addEventListener("keydown", (event) => {
      // Tab leaves the box, for those who have no mouse; a file of TOML needs no tabs.
      if (event.key === "Escape") box.blur();
    });
  }

  set value(text) {
    this.#box.value = text;
    this.#typed();
  }

  #typed() {
    fit(this.#box);
    this.#check += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), PAUSE_MS);
  }

  async #ask() {
    const check = this.#check;
    const text = this.#box.value;
    let error = "";
    try {
      if (text.trim()) ({ error } = await post("/api/configuration/check", { path: this.#path(), text }));
    } catch (failure) {
      error = failure.message;
    }
    if (check !== this.#check) return;
    putText(this.#complaint, error);
    this.#complaint.hidden = error === "" || error.length === 0;
    this.#box.setAttribute("aria-invalid", String(!this.#complaint.hidden));
  }
}
