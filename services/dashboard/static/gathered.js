// Changes that are shown together when there are many: what a page does with a change may take it longer
// than the time until the next one, and then it would answer neither its reader nor the dashboard.

/** The least milliseconds between two calls, once the first change has been shown at once. */
const LEAST = 20;
/** A page is left alone so many times as long as the last call took. */
const REST = 2;

/** Calls a function with the tables that have changed: at once, or all together when it has rested. */
export class Gathered {
  #tables = new Set();
  #timer = 0;
  #next = -Infinity; // the time before which the function is not called again
  #call;

  /** @param call called with the names of the changed tables, and whether they are the whole state */
  constructor(call) {
    this.#call = call;
  }

  /**
   * Show changes, now or soon.
   * @param tables their names
   * @param isWhole whether the whole state is new, which is shown at once
   */
  add(tables, isWhole = false) {
    for (const table of tables) this.#tables.add(table);
    const wait = this.#next - performance.now();
    if (isWhole || (wait <= 0 && !this.#timer)) this.#take(isWhole);
    else this.#timer ||= setTimeout(() => this.#take(false), wait);
  }

  #take(isWhole) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const tables = this.#tables;
    this.#tables = new Set();
    const began = performance.now();
    try {
      this.#call(tables, isWhole);
    } finally {
      const ended = performance.now();
      this.#next = ended + Math.max(LEAST, REST * (ended - began));
    }
  }
}
