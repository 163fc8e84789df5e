// Requests to the dashboard. Every failure is an Error whose message is a sentence.

import { fetchAs } from "./session.js";

/** Return the sentence of an error. A proxy's own error has none. */
export async function sentenceOf(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `The dashboard does not answer: ${response.status} ${response.statusText}.`;
  }
}

async function request(path, options, send = fetchAs) {
  let response;
  try {
    response = await send(path, options);
  } catch {
    throw new Error("The dashboard does not answer. Run `systemctl status hive-dashboard` to see why.");
  }
  if (!response.ok) throw new Error(await sentenceOf(response));
  return response.json();
}

export const get = (path) => request(path);

export const post = (path, body = {}) => request(path, posting(body));

/** Log in, and return the secret of the new session and its role. */
export const logIn = (token) => ask("/login", { token });

/** Ask without a session: with a POST if there is a body. */
export const ask = (path, body = null) => request(path, body ? posting(body) : {}, fetch);

const posting = (body) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});
