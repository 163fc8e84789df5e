// Changes of configurations: the settings that change, then the lines, file by file. Each line is an
// element, and its text comes as the server says that it is to be shown.

import { get } from "./api.js";
import { el, setSentence } from "./dom.js";
import { joined, plural, putText, textOf } from "./text.js";

// More lines would keep the browser busy, and nobody reads them here.
export const MAX_LINES = 3000;
/** The lines of a file that is shown unfolded. */
const LONG = 200;
/** The unchanged lines around a change; more than MIN_FOLDED further ones are folded. */
const CONTEXT = 3;
const MIN_FOLDED = 4;

const BASES = {
  deployed: "Deployed",
  approved: "Last approved",
  previous: "Previous revision",
};
const BASE_TITLES = {
  deployed: "The change that an approval makes to the deployed configuration",
  approved: "The difference from the last configuration that was approved before, even if its deploy failed",
  previous: "The difference from the request before this one",
};

/**
 * Make the folded change of a request. It is fetched each time it is unfolded, because the deployed
 * configuration may have changed. `dataset.base` is the base that an approval of what is shown takes.
 */
export function makeChange(approval, { open = false } = {}) {
  const lines = el("div", { className: "diff", tabIndex: 0 });
  lines.setAttribute("role", "region");
  lines.setAttribute("aria-label", `Changes of request ${approval.id}`);
  const title = `Changes (${approval.commit.slice(0, 12)})`;
  const bases = el("div", { className: "bases" }, el("span", { className: "by" }, "compared with"));
  bases.setAttribute("role", "group");
  bases.setAttribute("aria-label", "Compared with");
  const box = el("details", { className: "change" }, el("summary", {}, title), bases, lines);
  let wanted = "deployed";
  const load = async () => {
    const against = wanted;
    for (const button of bases.querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(button.dataset.base === against));
    try {
      const { diff, deployed } = await get(`/api/approvals/${approval.id}/diff?base=${against}`);
      if (against !== wanted) return;
      showDiff(lines, diff, `hivectl diff ${approval.id}`, "This request changes nothing.");
      box.dataset.base = deployed;
    } catch (failure) {
      if (against === wanted) setSentence(lines, failure.message);
    }
  };
  for (const [base, label] of Object.entries(BASES)) {
    const button = el("button", { type: "button", className: "quiet", title: BASE_TITLES[base], data: { base } }, label);
    button.addEventListener("click", () => {
      wanted = base;
      load();
    });
    bases.append(button);
  }
  // Also dispatched by those who want it fetched again. Those of the files inside do not bubble.
  box.addEventListener("toggle", () => box.open && load());
  box.open = open;
  return box;
}

/** Make a folded change that is fetched from `path` when it is unfolded. */
export function makeFolded(title, path, command) {
  const lines = el("div", { className: "diff", tabIndex: 0 });
  lines.setAttribute("role", "region");
  lines.setAttribute("aria-label", title);
  const box = el("details", { className: "change" }, el("summary", {}, title), lines);
  box.addEventListener("toggle", async () => {
    if (!box.open) return;
    try {
      showDiff(lines, (await get(path)).diff, command, "It changed nothing.");
    } catch (failure) {
      setSentence(lines, failure.message);
    }
  });
  return box;
}

/**
 * Show a change in `node`.
 * @param diff lines as the server sends them
 * @param command prints all of it
 * @param nothing the sentence for an empty one
 * @param made called with the element of each file and the file's path, as it is after the change
 */
export function showDiff(node, diff, command, nothing, made = () => {}) {
  if (diff.length === 0) {
    node.replaceChildren(nothing);
    return;
  }
  const { settings, files } = parse(diff.slice(0, MAX_LINES));
  const parts = settings.length ? [block("settings", settings)] : [];
  for (const file of files) {
    const shown = makeFile(file);
    made(shown, file.path);
    parts.push(shown);
  }
  const more = diff.length - MAX_LINES;
  if (more > 0) {
    const rest = el("p");
    setSentence(rest, `${more} more lines. To see all of them, run \`${command}\`.`);
    parts.push(rest);
  }
  node.replaceChildren(...parts);
}

// Split a change into its parts. What a line is depends on the counts of its hunk: a removed line may begin
// as the head of a file does.
function parse(diff) {
  const settings = [];
  const files = [];
  let file = null;
  let old = 0;
  let fresh = 0;
  let at = 0; // the number of the next line, as it is after the change
  let inSettings = textOf(diff[0]) === "The settings that change:";
  const begin = () => files.push((file = { name: null, path: "", lines: [], added: 0, removed: 0 }));
  for (const shown of diff) {
    const line = textOf(shown);
    if (inSettings) {
      inSettings = line !== "";
      if (inSettings) settings.push({ kind: "", shown });
      continue;
    }
    const hunk = /^@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (old <= 0 && fresh <= 0 && hunk) {
      old = Number(hunk[1] ?? 1);
      at = Number(hunk[2]);
      fresh = Number(hunk[3] ?? 1);
      if (!file) begin();
      file.lines.push({ kind: "hunk", shown });
    } else if (old <= 0 && fresh <= 0 && (/^diff --git /.test(line) || (!file && /^--- /.test(line)))) {
      begin();
      note(file, line, shown);
    } else if (old <= 0 && fresh <= 0 && file?.head) {
      note(file, line, shown);
    } else {
      if (!file) begin();
      const kind = { "+": "added", "-": "removed" }[line[0]] ?? "";
      const isOfFile = line[0] !== "\\";
      const isNow = isOfFile && kind !== "removed";
      file.lines.push({ kind, shown, at: isNow && fresh > 0 ? at : 0 });
      if (kind) file[kind] += 1;
      if (kind !== "added" && isOfFile) old -= 1;
      if (isNow) {
        fresh -= 1;
        at += 1;
      }
    }
  }
  return { settings, files };
}

// Keep a line of the head of a file; the rest of the change follows it.
function note(file, line, shown) {
  file.head = true;
  const named = /^(?:---|\+\+\+) (?!\/dev\/null)/.test(line);
  const beginsWith = (pattern) => (typeof shown === "string" ? shown.replace(pattern, "$1") : shown);
  if (named) {
    file.name = beginsWith(/^(?:---|\+\+\+) ("?)[ab]\//);
    file.path = unquoted(line.slice(4)).replace(/^[ab]\//, "");
  } else if (/^(?:new|old|deleted|rename from) /.test(line)) file.how = file.how ? joined([file.how, shown], ", ") : shown;
  else if (/^rename to /.test(line)) {
    file.name = beginsWith(/^rename to ("?)/);
    file.path = unquoted(line.slice("rename to ".length));
  } else if (file.name === null && /^diff /.test(line)) {
    // Both halves are the same, but for the first letter: only a rename has two paths.
    const both = line.slice("diff --git ".length);
    file.path = unquoted(both.slice(0, (both.length - 1) / 2)).replace(/^a\//, "");
    file.name = typeof shown === "string" ? file.path : shown;
  }
  else if (/^Binary files /.test(line)) file.lines.push({ kind: "", shown });
}

// git quotes a path with other characters than those of ASCII, byte by byte; one with a space ends with a tab.
function unquoted(path) {
  if (!/^".*"$/u.test(path)) return path.replace(/\t$/u, "");
  const bytes = [];
  for (const [, octal, escaped, text] of path.slice(1, -1).matchAll(/\\([0-7]{3})|\\(.)|([^\\]+)/gu))
    bytes.push(...(octal ? [parseInt(octal, 8)] : new TextEncoder().encode(escaped ?? text)));
  return new TextDecoder().decode(new Uint8Array(bytes));
}

function makeFile(file) {
  const pre = el("pre");
  fillFolding(pre, file.lines);
  if (file.name === null) return pre;
  const name = el("code");
  putText(name, file.name);
  const how = el("span", { className: "by" });
  putText(how, file.how ?? "");
  const counts = [
    file.added ? el("span", { className: "added" }, `+${file.added}`) : "",
    file.removed ? el("span", { className: "removed" }, `−${file.removed}`) : "",
  ];
  const summary = el("summary", { className: "file" }, name, how, ...counts);
  return el("details", { className: "file", open: file.lines.length <= LONG || file.added + file.removed <= LONG }, summary, pre);
}

// Put lines into `pre`; long runs of unchanged ones are folded.
function fillFolding(pre, lines) {
  for (let at = 0; at < lines.length; ) {
    let end = at;
    while (end < lines.length && lines[end].kind === "") end += 1;
    const begins = at === 0 || lines[at - 1].kind === "hunk";
    const first = begins ? at : at + CONTEXT;
    const last = end === lines.length ? end : end - CONTEXT;
    const changes = lines.some(({ kind }) => kind === "added" || kind === "removed");
    if (changes && last - first > MIN_FOLDED) {
      pre.append(...lines.slice(at, first).map(makeLine));
      const summary = el("summary", {}, `${plural(last - first, "unchanged line")}`);
      pre.append(el("details", { className: "unchanged" }, summary, ...lines.slice(first, last).map(makeLine)));
      pre.append(...lines.slice(last, end).map(makeLine));
      at = end;
    } else {
      end = Math.max(end, at + 1);
      pre.append(...lines.slice(at, end).map(makeLine));
      at = end;
    }
  }
}

function block(className, lines) {
  return el("pre", { className }, ...lines.map(makeLine));
}

function makeLine({ kind, shown, at = 0 }) {
  const line = el("span", { className: `line ${kind}`, data: at ? { at } : {} });
  putText(line, [shown, "\n"].flat());
  return line;
}
