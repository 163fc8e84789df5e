// What this browser keeps about how pages are shown, such as a filter or a dismissed notice.

const PREFIX = "hyperhive-shown-";

/** Return what was kept under a name; null if nothing, or if this browser keeps nothing. */
export function recall(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

/** Keep a value under a name; null: forget it. */
export function remember(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // This browser keeps nothing for this address.
  }
}
