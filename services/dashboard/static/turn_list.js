// The latest turns of an agent, and the facts about one turn.

import { el } from "./dom.js";
import { named, shown } from "./event_items.js";
import { exactly, money, span, tokens } from "./figures.js";
import { moment, plural, putTime, textOf } from "./text.js";

/** Return the path of the page of a turn. */
export const turnPath = (agent, turn) => `/agents/${encodeURIComponent(agent)}/turns/${turn}`;

/** Put the turns, newest first, into the body of a table. */
export function putTurns(body, agent, turns) {
  body.replaceChildren(
    ...turns.map((turn) => {
      const at = el("time");
      putTime(at, turn.started);
      const link = el("a", { href: turnPath(agent, turn.id) }, `Turn ${turn.id}`);
      const cells = [
        el("td", {}, at),
        el("td", { className: "by", data: { title: "woken by" } }, turn.messages.map(({ id, from }) => `#${id} ${from}`).join(", ") || "–"),
        el("td", { className: ["done", "running"].includes(turn.outcome) ? "" : "bad" }, turn.outcome),
        el("td", { className: "number", data: { title: "length" } }, turn.ended ? span(turn.seconds) : "–"),
        el("td", { className: "number", data: { title: "calls" } }, exactly(turn.tool_calls)),
        el("td", { className: turn.denied ? "number bad" : "number none", data: { title: "denied" } }, exactly(turn.denied)),
        el("td", { className: "number", data: { title: "cost" } }, money(turn.cost)),
      ];
      return el("tr", {}, el("th", { scope: "row" }, link), ...cells);
    }),
  );
}

/** Return the facts about a turn, as pairs of a term and a value. */
export function turnFacts(turn) {
  const took = (milliseconds) => (milliseconds ? span(milliseconds / 1000) : null);
  const called = turn.tools.flatMap(({ tool, calls }, index) => [index ? ", " : "", shown(tool), ` ×${exactly(calls)}`]);
  const pairs = [
    ["woken by", turn.messages.length ? named(turn.messages) : null],
    ["outcome", turn.outcome],
    ["error", textOf(turn.error) ? shown(turn.error) : null],
    ["started", moment(turn.started)],
    ["length", turn.ended ? span(turn.seconds) : "not ended"],
    ["first request after", took(turn.first_request_ms)],
    ["first token after", took(turn.first_token_ms)],
    ["model", textOf(turn.model) ? shown(turn.model) : null],
    ["session", textOf(turn.session) ? shown(turn.session) : null],
    ["cost", money(turn.cost)],
    ["input", `${exactly(turn.input_tokens)} tokens, ${exactly(turn.cache_read_tokens)} from the cache`],
    ["output", `${exactly(turn.output_tokens)} tokens`],
    ["context after it", turn.context_tokens ? `${tokens(turn.context_tokens)} tokens` : null],
    ["tools", turn.tool_calls ? [plural(turn.tool_calls, "call"), ": ", ...called] : "none"],
    ["denied calls", turn.denied ? exactly(turn.denied) : null],
    ["open after it", `${plural(turn.open_threads, "thread")}, ${plural(turn.open_reminders, "reminder")}`],
  ];
  return pairs.filter(([, value]) => value !== null && value !== "");
}
