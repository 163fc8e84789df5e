// The session of this browser: a secret in the storage of this origin (scheme, host name and port).
// It is not a cookie, because a browser sends cookies to every port of a host name.

const KEY = "hyperhive-session";
const ROLE = "hyperhive-role";
const PLACE = "hyperhive-place"; // the page to which the next login leads
const PLACE_MS = 15 * 60 * 1000; // for so long a login link is valid

/** The roles; each may do what those before it may. */
const ROLES = ["guest", "reviewer", "operator"];

/** Return the session, or null without one. */
export function session() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // this browser keeps nothing for this address
  }
}

/** Keep a new session and its role. */
export function keepSession(secret, role) {
  localStorage.setItem(KEY, secret);
  keepRole(role);
}

/** Return the role of the session: what its user may do. The dashboard refuses the rest anyway. */
export function role() {
  try {
    return localStorage.getItem(ROLE) ?? "guest";
  } catch {
    return "guest"; // this browser keeps nothing for this address
  }
}

/** Return whether the session may do what `wanted` may: a reviewer or an operator. */
export const may = (wanted) => ROLES.indexOf(role()) >= ROLES.indexOf(wanted);

// Style sheets hide elements with `data-needs="reviewer"` or `"operator"` by the role of the document.
function keepRole(name) {
  if (role() !== name) localStorage.setItem(ROLE, name);
  document.documentElement.dataset.role = name;
}

/** Ask for the role, and load the page again if it is another one: an earlier version has kept none. */
export async function checkRole() {
  const response = await fetchAs("/api/session");
  if (!response.ok) return;
  const answer = await response.json();
  if (answer.role === role()) return;
  keepRole(answer.role);
  location.reload();
}

if (session()) document.documentElement.dataset.role = role();

/** Throw an Error, whose message is a sentence, if this browser cannot keep a session. */
export function checkStorage() {
  try {
    localStorage.setItem(`${KEY}-check`, "");
    localStorage.removeItem(`${KEY}-check`);
  } catch {
    throw new Error("This browser keeps no data for this address, so it cannot keep a login. Allow site data for it.");
  }
}

/** The ways in which a page leaves for the login page. */
export const LEAVING = {
  /** The session has ended: the next login leads back to this page, in whatever tab. */
  ended: { sessionStorage: true, localStorage: true },
  /** Another tab has logged out: this tab comes back to its page. */
  elsewhere: { sessionStorage: true, localStorage: false },
  /** The reader has logged out. */
  loggedOut: { sessionStorage: false, localStorage: false },
};

/** Forget `ended`, unless another tab has begun a newer session, and go to the login page. */
export function leave(ended, keeps = LEAVING.ended) {
  const path = `${location.pathname}${location.search}${location.hash}`;
  if (ended !== null && session() === ended) for (const key of [KEY, ROLE]) localStorage.removeItem(key);
  forget();
  try {
    if (keeps.sessionStorage) sessionStorage.setItem(PLACE, path);
    if (keeps.localStorage) localStorage.setItem(PLACE, JSON.stringify({ path, at: Date.now() }));
    // Another tab may have found out about the logout first.
    if (keeps === LEAVING.loggedOut) localStorage.removeItem(PLACE);
  } catch {
    // This browser keeps nothing for this address.
  }
  location.replace("/login");
}

// Forget the data that this tab has kept, such as the prompts that were sent.
function forget() {
  try {
    sessionStorage.clear();
  } catch {
    // This browser keeps nothing for this address.
  }
}

/** Return the path of the page to which a login leads, once: the one that asked for the login, or the main page. */
export function landing() {
  try {
    const { path, at } = JSON.parse(localStorage.getItem(PLACE) ?? "{}");
    const found = sessionStorage.getItem(PLACE) ?? (Date.now() - at < PLACE_MS ? path : null);
    localStorage.removeItem(PLACE);
    sessionStorage.removeItem(PLACE);
    const { origin, pathname } = new URL(found ?? "/", location.origin);
    return origin === location.origin && pathname !== "/login" ? (found ?? "/") : "/";
  } catch {
    return "/"; // nothing is kept, or it is damaged
  }
}

/** Call `changed` when another tab has begun or ended the session; with null when it has ended. */
export function onSession(changed) {
  addEventListener("storage", ({ key, newValue }) => {
    if (key === KEY || key === null) changed(newValue);
  });
}

/** Fetch with the session. Without a valid session, the login page replaces this page. */
export async function fetchAs(path, options = {}) {
  const secret = session();
  const headers = { ...options.headers, "Hyperhive-Session": secret ?? "" };
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) leave(secret, session() === secret ? LEAVING.ended : LEAVING.elsewhere);
  return response;
}
