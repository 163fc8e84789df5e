// The session of this browser: a secret in the storage of this origin (scheme, host name and port).
// It is not a cookie, because a browser sends cookies to every port of a host name.

const KEY = "hyperhive-session";

/** Return the session, or null without one. */
export function session() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // this browser keeps nothing for this address
  }
}

/** Keep a new session. */
export const keepSession = (secret) => localStorage.setItem(KEY, secret);

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
  if (ended !== null && session() === ended) localStorage.removeItem(KEY);
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
