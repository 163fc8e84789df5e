// What was said about a request for approval when it was made. It is said until it is over: then the request
// is where it belongs, among those that were decided. A failure is said in its place.

import { showError } from "./dom.js";
import { putText } from "./text.js";

/** The states in which a request is carried out, or will be. */
const UNDER_WAY = ["pending", "approved", "building"];

export class RequestNotice {
  #line;
  #error;
  #number = 0; // 0: nothing is said about a request
  #states = UNDER_WAY;
  #isKnown = false; // whether the mirror has had the request

  /**
   * @param line the line that says it
   * @param error the line for a failure
   */
  constructor(line, error) {
    this.#line = line;
    this.#error = error;
  }

  /**
   * Say something about a request.
   * @param said a text from the server, or null if the line has its content
   * @param number the number of the request; 0 if it is about none
   * @param states the states of the request in which it is true
   */
  say(said, number, states = UNDER_WAY) {
    if (said !== null) putText(this.#line, said);
    this.#line.hidden = false;
    this.#number = number;
    this.#states = states;
    this.#isKnown = false;
  }

  /** Stop saying it. */
  end() {
    this.#line.hidden = true;
    this.#number = 0;
  }

  /** Follow the request; return whether it has ended now. */
  update(mirror) {
    if (this.#number === 0) return false;
    const request = mirror.tables.approvals[this.#number];
    if (request) this.#isKnown = true;
    // The mirror forgets requests that were decided long ago, and may not have a new one yet.
    if (request ? this.#states.includes(request.state) : !this.#isKnown) return false;
    this.end();
    if (request?.state !== "failed") return true;
    showError(this.#error, " ");
    putText(this.#error, [`Request ${request.id} has failed: `, request.note || "no reason given", "."].flat());
    return true;
  }
}
