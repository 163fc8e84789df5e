// The errors of actions on cards. Each is about a thing as it was: the error goes when the thing changes,
// also by somebody else's action.

import { showError } from "./dom.js";

let current = null; // the page's mirror
const shown = new Map(); // by its line: the sentence, what it is about, and the state of that

/** Follow the changes of a mirror; the page calls `endErrors` after each of them. */
export const followErrors = (mirror) => (current = mirror);

/**
 * Carry out an action, and show its error in `line`.
 * @param stateOf returns the state of the thing in a mirror, as a string
 * @returns a promise of what the action returns; null if it failed
 */
export async function attempt(line, stateOf, action) {
  clear(line);
  const before = stateOf(current);
  try {
    return (await action()) ?? true;
  } catch (failure) {
    const state = stateOf(current);
    // Somebody else was first: the bottom of the page says so, and the card shows the rest.
    if (failure.isLate && state !== before) return null;
    showError(line, failure.message);
    shown.set(line, { sentence: line.textContent, stateOf, state });
    return null;
  }
}

/** Hide the errors about things that have changed. */
export function endErrors() {
  for (const [line, { stateOf, state, sentence }] of shown) {
    // Another sentence may have taken the place of this one, and the line may be gone.
    if (!line.isConnected || line.textContent !== sentence) shown.delete(line);
    else if (stateOf(current) !== state) clear(line);
  }
}

function clear(line) {
  shown.delete(line);
  showError(line);
}

/** Return the state of a row, and whether its service answers, for `attempt`. */
export const stateOfRow = (service, table, key) => (mirror) =>
  JSON.stringify([mirror.tables[table][key] ?? null, mirror.tables.services[service]?.available]);
