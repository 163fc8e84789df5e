// The pace at which lists change that move other controls. A control acts when it has kept its place for
// a moment (press_guard.js): without a pace, an agent that asks and cancels all the time would keep the
// operator from pressing anything below its questions.

/** The milliseconds between two changes, once the first few have been shown at once. */
export const PACE_MS = 3000;
const FIRST = 8;

/** Calls a function at once, but at a pace when it is wanted all the time. */
export class Pace {
  #left = FIRST;
  #since = performance.now();
  #timer = 0;
  #call;

  constructor(call) {
    this.#call = call;
    // The reader waits for the effect of a press. A press that the guard refuses does not get here.
    addEventListener("click", () => (this.#left = Math.max(this.#left, 1)));
  }

  /** Call the function, now or soon. */
  want() {
    if (this.#timer) return;
    const now = performance.now();
    this.#left = Math.min(FIRST, this.#left + (now - this.#since) / PACE_MS);
    this.#since = now;
    if (this.#left >= 1) this.#take();
    else this.#timer = setTimeout(() => this.#take(), PACE_MS);
  }

  #take() {
    this.#timer = 0;
    this.#left = Math.max(0, this.#left - 1);
    this.#call();
  }
}
