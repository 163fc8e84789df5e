// The login of an agent: the page of Anthropic to open, the code that it shows, and the outcome. The server
// lets no other address through. The code goes to the agent's container, and is kept nowhere.

import { post } from "./api.js";
import { setText, showError } from "./dom.js";
import { putText, textOf } from "./text.js";

const NO_HARNESS = new Set(["offline", "harness-away"]);

export class LoginFlow {
  #path;
  #button;
  #box;
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
   * @param section the section of the page
   */
  constructor(name, section) {
    this.#path = `/api/agents/${encodeURIComponent(name)}/login`;
    this.#button = section.querySelector("[data-command=login]");
    this.#box = section.querySelector(".login-flow");
    this.#steps = this.#box.querySelector("form");
    this.#link = this.#box.querySelector("a");
    this.#code = this.#box.querySelector("input");
    this.#enter = this.#steps.querySelector("[type=submit]");
    this.#status = this.#box.querySelector(".login-status");
    this.#error = this.#box.querySelector(".error");
    this.#button.addEventListener("click", () => this.#begin());
    this.#steps.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#steps.querySelector("[type=button]").addEventListener("click", () => this.#cancel());
  }

  /** Follow the agent's row. */
  update(agent) {
    this.#isUp = agent.state === "running" && !NO_HARNESS.has(agent.turn_state);
    this.#button.classList.toggle("primary", agent.turn_state === "needs-login");
    // Another tab, or hivectl, has logged the agent in.
    if (agent.logged_in && this.#wasLoggedIn === false && this.#login !== null && !this.#isBusy)
      this.#close(`${agent.name} is logged in.`);
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
      this.#close((await post(`${this.#path}/code`, { login, code })).said);
    });
  }

  async #cancel() {
    const login = this.#login;
    this.#close("");
    this.#button.focus();
    await post(`${this.#path}/cancel`, { login }).catch(() => {}); // it was over
  }

  /** Make a request, and say that it is under way, or why it has failed. */
  async #ask(words, request) {
    this.#isBusy = true;
    this.#box.hidden = false;
    showError(this.#error);
    setText(this.#status, words);
    this.#render();
    try {
      await request();
      if (this.#login !== null) setText(this.#status, "");
    } catch (failure) {
      this.#close("");
      this.#box.hidden = false;
      showError(this.#error, failure.message);
    }
    this.#isBusy = false;
    this.#render();
  }

  #close(said) {
    this.#login = null;
    this.#code.value = "";
    this.#link.removeAttribute("href");
    putText(this.#status, said);
    showError(this.#error);
    this.#box.hidden = !textOf(said);
    this.#render();
  }

  #render() {
    this.#button.disabled = !this.#isUp || this.#isBusy;
    this.#steps.hidden = this.#login === null;
    this.#enter.disabled = this.#isBusy;
    this.#status.hidden = this.#status.textContent === "";
  }
}
