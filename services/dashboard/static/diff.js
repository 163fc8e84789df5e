// The change of a request: folded, fetched when it is unfolded, each line an element.

import { get } from "./api.js";
import { el, setSentence } from "./dom.js";
import { putText, textOf } from "./text.js";

// More lines would keep the browser busy, and nobody reads them here.
const MAX_LINES = 3000;

/** Make the folded diff of an approval. */
export function makeDiff(approval) {
  const lines = el("pre", { className: "diff", tabIndex: 0 });
  const title = `Changes (${approval.commit.slice(0, 12)})`;
  const box = el("details", {}, el("summary", {}, title), lines);
  box.addEventListener("toggle", () => box.open && load(approval.id, lines, box));
  return box;
}

// The diff is fetched each time it is unfolded: the deployed configuration may have changed. `box` keeps
// the base of the one that is shown.
async function load(id, lines, box) {
  try {
    const { diff, base } = await get(`/api/approvals/${id}/diff`);
    show(id, diff, lines);
    box.dataset.base = base;
  } catch (failure) {
    setSentence(lines, failure.message);
  }
}

function show(id, diff, lines) {
  const nodes = diff.slice(0, MAX_LINES).map((shown) => {
    const line = el("span", { className: kind(textOf(shown)) });
    putText(line, [shown, "\n"].flat());
    return line;
  });
  lines.replaceChildren(...(diff.length ? nodes : ["This request changes nothing."]));
  const more = diff.length - MAX_LINES;
  if (more <= 0) return;
  const rest = el("p");
  setSentence(rest, `${more} more lines. To see all of them, run \`hivectl diff ${id}\`.`);
  lines.append(rest);
}

function kind(line) {
  if (/^(diff |\+\+\+ |--- )/.test(line)) return "file";
  return { "+": "added", "-": "removed", "@": "hunk" }[line[0]] ?? "";
}
