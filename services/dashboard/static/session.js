// The session of this browser: a secret in the storage of this origin (scheme, host name and port).
// It is not a cookie, because a browser sends cookies to every port of a host name.

const KEY = "hyperhive-session";
const ROLE = "hyperhive-role";

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

/** Forget `ended`, unless another tab has begun a newer session, and go to the login page. */
export function leave(ended) {
  if (ended !== null && session() === ended) for (const key of [KEY, ROLE]) localStorage.removeItem(key);
  forget();
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

/** Fetch with the session. Without a valid session, the login page replaces this page. */
export async function fetchAs(path, options = {}) {
  const secret = session();
  const headers = { ...options.headers, "Hyperhive-Session": secret ?? "" };
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) leave(secret);
  return response;
}
