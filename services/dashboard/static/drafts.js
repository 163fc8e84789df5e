// Texts that are typed and not sent yet. They survive a reload, and end with the tab or with its session
// (`leave` in session.js).

const PREFIX = "hyperhive-draft-";

/** Return the draft that was kept under a name; null if there is none. */
export function recallDraft(name) {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + name));
  } catch {
    return null; // this browser keeps nothing for this address
  }
}

/** Keep a draft under a name; null: forget it. Return whether the browser keeps it. */
export function keepDraft(name, draft) {
  try {
    if (draft === null) sessionStorage.removeItem(PREFIX + name);
    else sessionStorage.setItem(PREFIX + name, JSON.stringify(draft));
    return true;
  } catch {
    return false; // this browser keeps nothing for this address, or the draft is too long for it
  }
}

/** Keep what is typed into a field, which begins with what was kept. */
export function keepTyped(field, name) {
  field.value = recallDraft(name) ?? field.value;
  field.addEventListener("input", () => keepDraft(name, field.value || null));
}
