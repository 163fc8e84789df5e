// The version of this page's files. After an update of the dashboard, a page of the version before loads
// itself again, or asks its reader to, if something is typed in it.

const AT = "hyperhive-reloaded"; // the time when this tab was last loaded again by itself
const PAUSE_MS = 10 * 60 * 1000; // at least so long between two times: something may keep old files

/** The version of the files of which this page was made. */
export const version = document.querySelector("meta[name=hyperhive-version]")?.content ?? "";

const FIELDS = "input, textarea"; // a choice in a list is kept, or made in a moment
const touched = new Set(); // the fields in which the reader has typed something
addEventListener("input", ({ target }) => target.matches?.(FIELDS) && touched.add(target), true);

/** Return whether the dashboard serves another version than that of this page. */
export const isOther = (served) => Boolean(version && served && served !== version);

/** Load the page again if nothing is lost by it; return whether it is being loaded. */
export function reloadIfUnused() {
  // A page to which another site has led, such as that of a sleeping agent, waits for a press.
  if (isUsed() || document.querySelector("main[data-linked]")) return false;
  try {
    if (Date.now() - Number(sessionStorage.getItem(AT) ?? 0) < PAUSE_MS) return false;
    sessionStorage.setItem(AT, String(Date.now()));
  } catch {
    return false; // this browser keeps nothing for this address, so it could go on for ever
  }
  location.reload();
  return true;
}

function isUsed() {
  for (const field of touched) if (!field.isConnected) touched.delete(field);
  return document.querySelector("dialog[open]") !== null || [...touched].some(isFilled);
}

function isFilled(field) {
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  return field.value !== field.defaultValue;
}
