// The events of an agent as items of a list, in the manner of a terminal. All texts are the agent's: the
// server has marked them (text.js), and they are only ever inserted as text.

import { exactly, money, span, tokens } from "./figures.js";
import { el, setSentence, setText } from "./dom.js";
import { putMarkdown } from "./markdown.js";
import { moment, plural, putText, putTime, size, textOf } from "./text.js";

const SHOWN_LINES = 8; // of an output, before it is unfolded
/** The events whose texts models and people write; the texts of others are those of programs. */
const MARKDOWN = new Set(["text", "thinking", "result", "wake", "urgent", "tool-use"]);
const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});

/** Makes the items of one agent's events. */
export class EventItems {
  #agent;
  #whole;
  #last = ""; // the last text: others repeat it
  #call = ""; // the call of a tool in the item before
  #calls = new Map(); // the titles of the latest calls of tools, by their ids

  /**
   * @param agent the agent's name
   * @param whole returns a promise of the whole event with a number
   */
  constructor(agent, whole) {
    this.#agent = agent;
    this.#whole = whole;
  }

  make(row) {
    const at = el("time");
    putTime(at, row.at, row.at ? CLOCK.format(new Date(row.at / 1000)) : "");
    const what = el("div", { className: "what" });
    const item = el("li", { className: "event", id: `event-${row.seq}`, data: { type: row.type } }, at, what);
    (this[`_${row.type.replaceAll("-", "_")}`] ?? this._other).call(this, row, what, item);
    this.#call = row.type === "tool-use" ? row.call : "";
    return item;
  }

  _wake(row, what) {
    const text = row.turn ? el("a", { href: `/agents/${this.#agent}/turns/${row.turn}` }, `Turn ${row.turn}`) : "Turn";
    what.append(line(text, " ", woken(row.messages)), ...this.#folded(row));
  }

  _urgent(row, what) {
    const text = row.messages.length ? named(row.messages) : "A message";
    what.append(line(el("strong", {}, "Urgent: "), text, " reaches the turn"), ...this.#folded(row));
  }

  _session(row, what) {
    const parts = [row.resumed ? "Session resumed" : "New session"];
    what.append(line(...parts, " · ", shown(row.model), ` · ${plural(row.tools, "tool")}`));
    for (const server of row.servers) {
      const up = textOf(server.status) === "connected";
      const text = line("MCP server ", shown(server.name), ": ", shown(server.status));
      text.classList.toggle("bad", !up);
      what.append(text);
    }
  }

  _text(row, what) {
    this.#last = textOf(row.blocks[0].text);
    what.append(...this.#blocks(row, "said"));
  }

  _thinking(row, what) {
    what.append(...this.#folded(row, "Thinking"));
  }

  _tool_use(row, what) {
    if (row.call) this.#remember(row.call, row);
    const title = el("code", { className: "title" });
    putText(title, row.title);
    what.append(line(el("strong", { className: "tool" }, shown(row.tool)), " ", title), ...this.#folded(row));
  }

  _tool_result(row, what, item) {
    item.classList.toggle("bad", row.error);
    const of = this.#calls.get(row.call);
    // Calls that run at the same time: the result is not below its call.
    const isApart = row.call !== this.#call;
    const label = el("p", { className: isApart ? "muted" : "unseen" }, row.error ? "Error of " : "Result of ");
    label.append(...(of ? [shown(of.tool), " ", shown(of.title)] : ["a tool"]), ":");
    what.append(label, ...this.#blocks(row, "output"));
    if (row.blocks[0].length === 0) what.append(line(el("span", { className: "muted" }, "no output")));
  }

  _denied(row, what, item) {
    item.classList.add("bad");
    what.append(line("Denied: ", el("strong", {}, shown(row.tool))), ...this.#blocks(row, "said"));
  }

  _permission(row, what) {
    what.append(line("Asks for permission: ", el("strong", {}, shown(row.tool))));
    what.append(...this.#blocks(row, "output"));
    const choices = row.choices.flatMap((choice, index) => (index ? [", ", shown(choice)] : [shown(choice)]));
    if (choices.length) what.append(line(el("span", { className: "muted" }, "Choices: ", ...choices)));
    if (textOf(row.answer)) what.append(line("Answer: ", shown(row.answer)));
  }

  _server_failed(row, what, item) {
    item.classList.add("bad");
    what.append(line("MCP server ", el("strong", {}, shown(row.name)), " failed"), ...this.#blocks(row, "said"));
  }

  _compacted(row, what) {
    const sizes = row.before ? `: ${tokens(row.before)} → ${tokens(row.after)} tokens` : "";
    what.append(line("Context compacted (", shown(row.trigger), `)${sizes}`));
  }

  _note(row, what, item) {
    item.classList.toggle("bad", row.level === "error" || row.level === "warning");
    what.append(...this.#blocks(row, "said"));
  }

  _cancelled(row, what, item) {
    item.classList.add("bad");
    this.#last = textOf(row.blocks[0].text);
    what.append(line("Cancelled by ", shown(row.by)), ...this.#blocks(row, "said"));
  }

  _limit(row, what, item) {
    item.classList.add("bad");
    what.append(line(`Limit${row.until ? ` until ${moment(row.until)}` : ""}`), ...this.#blocks(row, "said"));
  }

  _result(row, what, item) {
    const text = textOf(row.blocks[0].text);
    item.classList.toggle("bad", row.error);
    item.hidden = text === this.#last || text === "";
    if (row.error) what.append(line("Error"), ...this.#blocks(row, "said"));
    else what.append(...this.#folded(row, "Result"));
  }

  _turn_end(row, what, item) {
    item.classList.toggle("bad", textOf(row.error) !== "");
    const cost = row.cost ? ` · ${money(row.cost)}` : "";
    what.append(line(`Turn ${row.turn ?? ""} ${row.outcome} after ${span(row.seconds)}${cost}`));
    const error = textOf(row.error);
    if (error && error !== this.#last) what.append(line(shown(row.error)));
  }

  _state(row, what) {
    const until = row.until ? ` until ${moment(row.until)}` : "";
    const reason = textOf(row.reason) ? [": ", shown(row.reason)] : [];
    what.append(line(`${row.state.replaceAll("-", " ")}${until}`, ...reason));
  }

  _other(row, what) {
    what.append(line(shown(row.name ?? row.type)), ...this.#folded(row));
  }

  #remember(call, row) {
    this.#calls.set(call, row);
    // Results follow soon: only the latest calls are of interest.
    if (this.#calls.size > 200) this.#calls.delete(this.#calls.keys().next().value);
  }

  /** Make the blocks of a row, folded. */
  #folded(row, label = "") {
    return (row.blocks ?? []).map((block, index) => {
      const summary = el("summary", {}, label || summaryOf(block));
      if (label) summary.append(el("span", { className: "muted" }, ` ${size(block.length)}`));
      if (block.added) summary.append(el("span", { className: "added" }, ` +${exactly(block.added)}`));
      if (block.removed) summary.append(el("span", { className: "removed" }, ` −${exactly(block.removed)}`));
      const box = el("details", {}, summary);
      // Most blocks are never unfolded: their content is made when they are.
      box.addEventListener("toggle", () => {
        if (box.open && box.children.length === 1) box.append(...this.#content(row, index, block));
      });
      return box;
    });
  }

  /** Make the blocks of a row, of which the first lines are shown. */
  #blocks(row, className) {
    return (row.blocks ?? []).flatMap((block, index) => this.#content(row, index, block, className));
  }

  #content(row, index, block, className = "") {
    const isMarkdown = block.kind === "text" && MARKDOWN.has(row.type);
    const kind = isMarkdown ? "markdown" : block.kind;
    const box = el(isMarkdown ? "div" : "pre", { className: `${kind} ${className}`, dir: "auto" });
    fill(box, block);
    const more = this.#more(row, index, block, box, className);
    return more ? [box, more] : [box];
  }

  // A button that shows the lines that are folded, and fetches those that the row does not have.
  #more(row, index, block, box, className) {
    const missing = block.kind === "diff" ? block.more > 0 : block.length > [...textOf(block.text)].length;
    const folds = className === "output" && block.lines > SHOWN_LINES;
    if (!missing && !folds) return null;
    box.classList.toggle("folded", folds);
    const label = block.kind === "diff" ? `Show ${plural(block.more, "more line")}` : `Show all (${amount(block)})`;
    const more = el("button", { type: "button", className: "quiet more" }, label);
    more.setAttribute("aria-expanded", "false");
    let whole = !missing;
    more.addEventListener("click", async () => {
      const unfold = more.getAttribute("aria-expanded") === "false";
      if (unfold && !whole) {
        more.disabled = true;
        try {
          fill(box, (await this.#whole(row.seq)).blocks[index]);
          whole = true;
        } catch (failure) {
          setSentence(more, failure.message);
          return;
        } finally {
          more.disabled = false;
        }
      }
      if (!folds) {
        more.remove();
        return;
      }
      box.classList.toggle("folded", !unfold);
      more.setAttribute("aria-expanded", String(unfold));
      setText(more, unfold ? "Show less" : label);
    });
    return more;
  }
}

const amount = (block) => (block.lines > 1 ? `${exactly(block.lines)} lines` : size(block.length));

const summaryOf = (block) => block.label || { diff: "changes", code: "input", text: "text" }[block.kind];

function fill(box, block) {
  if (box.classList.contains("markdown")) {
    putMarkdown(box, block.text);
    return;
  }
  if (block.kind !== "diff") {
    putText(box, block.text);
    return;
  }
  const signs = { "+": "added", "-": "removed" };
  const lines = block.lines.map(({ sign, text }) => {
    const node = el("span", { className: signs[sign] ?? "" });
    putText(node, [sign, " ", text, "\n"].flat());
    return node;
  });
  box.replaceChildren(...lines);
}

/** Return the words that say which messages woke an agent. */
export function woken(messages) {
  return messages.length ? `woken by ${named(messages)}` : "woken";
}

/** Return the words that name some messages. */
export function named(messages) {
  const texts = messages.map(({ id, from, kind }) => {
    const what = kind === "message" ? "message" : kind.replaceAll("-", " ");
    return `${what} #${id} from ${from === "operator" ? "you" : from}`;
  });
  return texts.join(", ");
}

function line(...parts) {
  return el("p", {}, ...parts);
}

/** Return an element with a text from the server. */
export function shown(text) {
  const node = el("span", { dir: "auto" });
  putText(node, text);
  return node;
}
