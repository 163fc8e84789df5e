// The login of an agent: the page of Anthropic to open, the code that it shows, and the outcome. The server
// lets no other address through. The code goes to the agent's container, and is kept nowhere.

import { post } from "./api.js";
import { el, setText, showError } from "./dom.js";
import { putText, textOf } from "./text.js";

const NO_HARNESS = new Set(["offline", "harness-away", "no-report"]);

/** The login of one agent: `button` begins it, and `box` shows it. */
export class LoginFlow {
  button;
  box;
  #path;
  #ended;
  #steps;
  #link;
  #code;
  #enter;
  #status;
  #error;
  #login = null; // the number of the login whose page is shown
  #isBusy = false; // a request about the login has no answer yet
  #isUp = false;
  #wasLoggedIn = null;

  /**
   * @param name the agent's name
   * @param button the button that begins a login
   * @param ended called with a sentence when the agent is logged in; without it, the box shows the sentence
   */
  constructor(name, button, ended = null) {
    this.#path = `/api/agents/${encodeURIComponent(name)}/login`;
    this.#ended = ended;
    this.button = button;
    this.#make(name);
    this.button.addEventListener("click", () => this.#begin());
    this.#steps.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  /** Whether a login is under way, or was until just now. */
  get isOpen() {
    return this.#login !== null || this.#isBusy;
  }

  #make(name) {
    this.#link = el("a", { target: "_blank", rel: "noopener noreferrer" });
    const id = `login-code-${name}`;
    this.#code = el("input", { id, type: "text", required: true, maxLength: 1000, autocomplete: "off", spellcheck: false });
    this.#code.autocapitalize = "off";
    this.#enter = el("button", { type: "submit", className: "primary" }, "Enter the code");
    const cancel = el("button", { type: "button" }, "Cancel");
    cancel.addEventListener("click", () => this.#cancel());
    this.#status = el("p", { className: "login-status", hidden: true });
    this.#status.setAttribute("role", "status");
    this.#error = el("p", { className: "error", hidden: true });
    this.#error.setAttribute("role", "alert");
    this.#steps = el(
      "form",
      { autocomplete: "off", hidden: true },
      el("p", {}, "1. Open ", this.#link, ", a page of Anthropic, and log in there."),
      el("p", { className: "code" }, el("label", { htmlFor: id }, "2. Enter the code that this page shows"), this.#code),
      el("p", { className: "actions" }, this.#enter, cancel),
    );
    this.#steps.setAttribute("aria-label", `Log in: ${name}`);
    const data = { needs: "operator" };
    this.box = el("div", { className: "login-flow", hidden: true, data }, this.#status, this.#steps, this.#error);
  }

  /** Follow the agent's row. */
  update(agent) {
    this.#isUp = agent.state === "running" && !NO_HARNESS.has(agent.turn_state);
    this.button.classList.toggle("primary", agent.turn_state === "needs-login");
    // Another tab, or hivectl, has logged the agent in.
    if (agent.logged_in && this.#wasLoggedIn === false && this.#login !== null && !this.#isBusy)
      this.#end(`${agent.name} is logged in.`);
    this.#wasLoggedIn = Boolean(agent.logged_in);
    this.#render();
  }

  async #begin() {
    await this.#ask("The agent's container begins a login…", async () => {
      const { login, address } = await post(this.#path);
      this.#login = login;
      this.#link.href = address;
      this.#link.title = address;
      setText(this.#link, address.replace(/^https:\/\//u, "").replace(/\?.*$/u, ""));
    });
    if (this.#login !== null) this.#code.focus();
  }

  async #submit() {
    const code = this.#code.value.trim();
    if (!code) return;
    this.#code.value = "";
    await this.#ask("The code is being checked…", async () => {
      const login = this.#login;
      this.#login = null; // whatever comes of it: another try begins with "Log in"
      this.#end((await post(`${this.#path}/code`, { login, code })).said);
    });
  }

  async #cancel() {
    const login = this.#login;
    this.#close("");
    this.button.focus();
    await post(`${this.#path}/cancel`, { login }).catch(() => {}); // it was over
  }

  /** Make a request, and say that it is under way, or why it has failed. */
  async #ask(words, request) {
    this.#isBusy = true;
    this.box.hidden = false;
    showError(this.#error);
    setText(this.#status, words);
    this.#render();
    try {
      await request();
      if (this.#login !== null) setText(this.#status, "");
    } catch (failure) {
      this.#close("");
      this.box.hidden = false;
      showError(this.#error, failure.message);
    }
    this.#isBusy = false;
    this.#render();
  }

  #end(said) {
    this.#close(this.#ended ? "" : said);
    this.#ended?.(said);
  }

  #close(said) {
    this.#login = null;
    this.#code.value = "";
    this.#link.removeAttribute("href");
    putText(this.#status, said);
    showError(this.#error);
    this.box.hidden = !textOf(said);
    this.#render();
  }

  #render() {
    this.button.disabled = !this.#isUp || this.#isBusy;
    this.#steps.hidden = this.#login === null;
    this.#enter.disabled = this.#isBusy;
    this.#status.hidden = this.#status.textContent === "";
  }
}
