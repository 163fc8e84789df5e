// What becomes of a message to an agent now: the state of the agent decides when it reads the message.

import { turnOf } from "./agent_order.js";
import { moment } from "./text.js";

/**
 * By the state of the container: what it is, when it reads the message, and whether something must happen
 * before that. Both are the ends of sentences about the agent.
 */
const CONTAINER = {
  stopped: ["is stopped", "reads the message when it has been started", true],
  stopping: ["is stopping", "reads the message when it has been started", true],
  failed: ["has failed", "reads the message when it has been started again", true],
  paused: ["is paused", "reads the message when it goes on", true],
  sleeping: ["is asleep", "wakes for the message", false],
  starting: ["is starting", "reads the message when it runs", false],
};

/** The same by the state of the turn. */
const TURN = {
  held: ["is held", "reads the message when the hold ends", true],
  "needs-login": ["needs a login", "reads the message when it is logged in", true],
  "harness-away": ["runs without its harness", "reads the message when its harness is back", true],
  "no-report": ["has just started", "reads the message when it is ready", false],
  "rate-limited": ["waits for its provider", "reads the message when the limit ends", false],
  error: ["is in trouble", "reads the message when the model answers again", true],
  compacting: ["compacts its context", "reads the message after that", false],
  thinking: ["is in a turn", "reads the message after the turn", false],
  waiting: ["is in a turn that waits for an answer", "reads the message after the turn", false],
};

/** Return why an agent does not read a message at once: `{is, then, isHeld}`, or null if nothing delays it. */
export function delay(agent) {
  const [is, then, isHeld] = CONTAINER[agent.state] ?? TURN[turnOf(agent)] ?? [];
  if (!is) return null;
  const until = agent.state === "running" && agent.turn_until ? ` (until ${moment(agent.turn_until)})` : "";
  return { is: is + until, then, isHeld };
}
