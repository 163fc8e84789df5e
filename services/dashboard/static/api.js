// Requests to the dashboard. Every failure is a Refusal or another Error whose message is a sentence.

import { refusalIn, sentenceOf } from "./sentence.js";
import { fetchAs } from "./session.js";
import { tell } from "./told.js";

export { sentenceOf };

const CONFLICT = 409;
const NOT_FOUND = 404;

/** A request that the dashboard has refused; `name` is the error's name on the bus. */
export class Refusal extends Error {
  constructor(sentence, status, name) {
    super(sentence);
    this.status = status;
    this.name = name;
  }

  /** Whether somebody else was faster: the thing is decided, has changed, or is gone. */
  get isLate() {
    return this.status === CONFLICT || this.status === NOT_FOUND;
  }
}

async function request(path, options, send = fetchAs) {
  let response;
  try {
    response = await send(path, options);
  } catch {
    throw new Error("The dashboard does not answer. Run `systemctl status hive-dashboard` to see why.");
  }
  if (!response.ok) {
    const { sentence, name } = await refusalIn(response);
    throw new Refusal(sentence, response.status, name);
  }
  return response.json();
}

export const get = (path) => request(path);

export const post = (path, body = {}) => request(path, posting(body));

/**
 * Post a decision that somebody else may take at the same time. Their decision removes the card from this
 * page, so a conflict is also told at the bottom of the page; it is thrown as every other failure.
 */
export async function decide(path, body = {}) {
  try {
    return await post(path, body);
  } catch (failure) {
    if (failure.isLate) tell(failure.message);
    throw failure;
  }
}

/** Log in, and return the secret of the new session and its role. */
export const logIn = (token) => ask("/login", { token });

/** Ask without a session: with a POST if there is a body. */
export const ask = (path, body = null) => request(path, body ? posting(body) : {}, fetch);

const posting = (body) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});
