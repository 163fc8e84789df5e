// Markdown that somebody else wrote, as elements. It is strict: there is no HTML, there are no images, and
// what is not understood stays as it was written. The work grows with the length of the text alone, and
// nested parts and elements are limited, however hostile the text is.
//
// Rules: a line break is a line break, as in a terminal. Links lead to http and https only, never to this
// dashboard, and their address is shown. Each mark of the server (text.js) is one character of the
// private use area while the text is read: the server sends none of those as text.

import { el } from "./dom.js";
import { putText, textOf } from "./text.js";

/** The characters up to which a text is read as Markdown; a longer one is shown as it is. */
const MOST = 100_000;
/** The elements that one text may have for each of its first characters, and at least. */
const ELEMENTS_EACH = 0.1;
const ELEMENTS = 200;
const DEPTH = 5; // of quotes and lists within each other
const OPENERS = 10; // of emphasis and links within each other
const COLUMNS = 12;
const MARK = 0xe000;

// No expression below can match a text in several ways: none takes more time than the text is long.
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const LANGUAGE = /^[\w+#.-]*/;
const HEADING = /^ {0,3}(#{1,6}) /;
const RULE = /^ {0,3}(?:(?:- *){3,}|(?:\* *){3,}|(?:_ *){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,7})([-*+•]|\d{1,9}[.)])(?: +|$)/;
const DELIMITER_ROW = /^[ |:-]+$/;
const SPACE = /\s/;
const WORD = /[\p{L}\p{N}_]/u;
const SPECIAL = /[`*_~[\]\\]|https?:\/\//g;
const ADDRESS = /https?:\/\/[^\s<>"'`[\]]*/y;
const TARGET = /\((https?:\/\/[^\s()<>"'`]*(?:\([^\s()<>"'`]*\)[^\s()<>"'`]*)?)\)/y;
const ESCAPED = "`*_~[]";
// Not two lines: `__init__` is a name.
const TAGS = { "*": "em", "**": "strong", "***": "strong", _: "em", "~~": "s" };

/** Put a text from the server into `node`, read as Markdown. */
export function putMarkdown(node, shown) {
  const length = textOf(shown).length;
  if (length > MOST) {
    node.dir = "auto";
    putText(node, shown);
    return;
  }
  // Each block has a direction of its own.
  node.removeAttribute("dir");
  const reader = new Reader(shown);
  node.replaceChildren(...reader.blocks(reader.lines(), 0));
}

/** The elements of Markdown that begin a line of their own. */
const APART = "p, pre, hr, blockquote, div, [role=cell], [role=columnheader]";

/** Put a text from the server into `node` as plain text, without the marks of Markdown. */
export function putExcerpt(node, shown) {
  const whole = el("div");
  putMarkdown(whole, shown);
  const made = [];
  flatten(whole, made);
  while (made.at(-1) === "\n") made.pop();
  node.replaceChildren(...joined(made));
}

/** Return a text from the server as a string, without marks of any kind. */
export function excerptOf(shown) {
  const node = el("p");
  putExcerpt(node, shown);
  return node.textContent;
}

function flatten(node, made) {
  for (const child of node.childNodes) {
    // A mark of the server stays; that of an item only if it is a number.
    if (child.nodeType === Node.TEXT_NODE) made.push(child.data);
    else if (child.className === "hidden-character") made.push(child.cloneNode(true));
    else if (child.className === "marker") made.push(child.textContent === "•" ? "" : `${child.textContent} `);
    else {
      flatten(child, made);
      if (child.matches(APART) && made.length > 0 && made.at(-1) !== "\n") made.push("\n");
    }
  }
}

class Reader {
  #marks = [];
  #text = "";
  #left; // the elements that may still be made

  constructor(shown) {
    for (const part of [shown].flat()) {
      if (!part.shown) this.#text += part;
      else this.#text += String.fromCharCode(MARK + this.#marks.push(part) - 1);
    }
    this.#left = Math.max(ELEMENTS, this.#text.length * ELEMENTS_EACH);
  }

  lines() {
    return this.#text.split("\n");
  }

  /** Return the elements of some lines. */
  blocks(lines, depth) {
    const made = [];
    let words = [];
    const end = () => {
      if (words.some((line) => line.trim() !== ""))
        made.push(this.#block("p", {}, this.#inline(trimmed(words).join("\n"))));
      words = [];
    };
    for (let at = 0; at < lines.length; ) {
      const line = lines[at];
      if (this.#left <= 0) {
        words = words.concat(lines.slice(at));
        break;
      }
      const next = this.#special(lines, at, depth, words.length > 0);
      if (next) {
        end();
        made.push(next.node);
        at = next.at;
      } else {
        if (line.trim() === "") end();
        else words.push(line);
        at += 1;
      }
    }
    end();
    return made;
  }

  /** Return the element that begins at a line, and the line after its end; null for a paragraph. */
  #special(lines, at, depth, inParagraph) {
    const line = lines[at];
    const fence = fenceOf(line);
    if (fence) return this.#code(lines, at, fence);
    const heading = HEADING.exec(line);
    if (heading) {
      const text = line.slice(heading[0].length);
      return { node: this.#heading(text, heading[1].length), at: at + 1 };
    }
    if (RULE.test(line)) return { node: this.#make("hr"), at: at + 1 };
    if (depth < DEPTH && QUOTE.test(line)) return this.#quote(lines, at, depth);
    const item = depth < DEPTH && ITEM.exec(line);
    // A number at the beginning of a line within a paragraph is part of a sentence.
    if (item && !(inParagraph && /\d/.test(item[2]) && !/^1[.)]/.test(item[2])))
      return this.#list(lines, at, depth);
    if (line.includes("|") && DELIMITER_ROW.test(lines[at + 1] ?? "")) return this.#table(lines, at);
    return null;
  }

  #code(lines, at, fence) {
    const language = LANGUAGE.exec(fence.rest.trim())[0];
    const closes = (line) => {
      const found = fenceOf(line);
      return found?.marks.startsWith(fence.marks) && found.rest.trim() === "";
    };
    let end = at + 1;
    while (end < lines.length && !closes(lines[end])) end += 1;
    const code = this.#make("code", {}, this.#plain(lines.slice(at + 1, end).join("\n")));
    const node = this.#make("pre", { tabIndex: 0 }, [code]);
    if (language) node.dataset.language = language;
    return { node, at: end + 1 };
  }

  #heading(text, level) {
    const node = this.#block("p", { className: "heading" }, this.#inline(withoutClosing(text.trim())));
    node.setAttribute("role", "heading");
    node.setAttribute("aria-level", String(Math.min(6, level + 3)));
    return node;
  }

  #quote(lines, at, depth) {
    const inner = [];
    while (at < lines.length && QUOTE.test(lines[at])) inner.push(lines[at++].replace(QUOTE, ""));
    return { node: this.#make("blockquote", {}, this.blocks(inner, depth + 1)), at };
  }

  // Lists are no `ul` and `li`: press_guard.js looks after those. Markers stay as they were written.
  #list(lines, at, depth) {
    const list = this.#make("div", { className: "list" });
    list.setAttribute("role", "list");
    for (let item = ITEM.exec(lines[at]); item && this.#left > 0; item = ITEM.exec(lines[at] ?? "")) {
      if (RULE.test(lines[at])) break;
      const inner = [lines[at].slice(item[0].length)];
      const least = item[1].length + 2;
      const most = Math.max(least, item[0].length);
      at += 1;
      for (; at < lines.length; at += 1) {
        const indent = lines[at].length - lines[at].trimStart().length;
        if (lines[at].trim() === "") {
          const next = lines[at + 1] ?? "";
          if (next.trim() === "" || next.length - next.trimStart().length < least) break;
          inner.push("");
        } else if (indent >= least) inner.push(lines[at].slice(Math.min(indent, most)));
        else if (ITEM.test(lines[at]) || this.#begins(lines[at])) break;
        else inner.push(lines[at].trimStart());
      }
      const marker = this.#make("span", { className: "marker" }, [/\d/.test(item[2]) ? item[2] : "•"]);
      const body = this.#make("div", {}, this.blocks(inner, depth + 1));
      const node = this.#make("div", {}, [marker, body]);
      node.setAttribute("role", "listitem");
      list.append(node);
      // One blank line may separate the items of a list.
      if ((lines[at] ?? "x").trim() === "" && ITEM.test(lines[at + 1] ?? "")) at += 1;
    }
    return { node: list, at };
  }

  #begins(line) {
    return fenceOf(line) !== null || HEADING.test(line) || RULE.test(line) || QUOTE.test(line);
  }

  // No `table` either, for the same reason as lists.
  #table(lines, at) {
    const count = cells(lines[at]).length;
    if (cells(lines[at + 1]).length !== count || count > COLUMNS || !lines[at + 1].includes("-"))
      return null;
    const table = this.#make("div", { className: "table", tabIndex: 0 });
    table.setAttribute("role", "table");
    const head = at;
    for (; at < lines.length && lines[at].includes("|") && this.#left > 0; at += 1) {
      if (at === head + 1) continue;
      const row = this.#make("div");
      row.setAttribute("role", "row");
      for (const text of cells(lines[at]).slice(0, count)) {
        const cell = this.#block("span", {}, this.#inline(text.trim()));
        cell.setAttribute("role", at === head ? "columnheader" : "cell");
        row.append(cell);
      }
      table.append(row);
    }
    return { node: table, at };
  }

  /** Return the nodes of a text within a block. */
  #inline(text) {
    const made = []; // nodes and strings
    const open = []; // the openers of emphasis and links that may still be closed
    const counts = {};
    const ticks = new Ticks(text);
    let done = 0;
    const put = (from, to) => made.push(...this.#plain(text.slice(from, to)));
    const drop = (opener) => (counts[opener.key] -= 1);
    const close = (key, make) => {
      while (open.at(-1).key !== key) drop(open.pop());
      const opener = open.pop();
      drop(opener);
      const inner = made.splice(opener.at);
      inner.shift(); // the opener itself
      made.push(make(inner));
    };
    const opens = (key, mark) => {
      if (open.length === OPENERS) drop(open.shift());
      open.push({ key, at: made.length });
      counts[key] = (counts[key] ?? 0) + 1;
      made.push(mark);
    };
    SPECIAL.lastIndex = 0;
    for (let found; this.#left > 0 && (found = SPECIAL.exec(text)); SPECIAL.lastIndex = done) {
      const at = found.index;
      put(done, at);
      const first = text[at];
      if (first === "h") {
        const address = addressAt(text, at);
        done = at + address.length;
        made.push(...this.#link(address, null));
      } else if (first === "\\") {
        done = at + (ESCAPED.includes(text[at + 1] ?? " ") ? 2 : 1);
        made.push(text.slice(done === at + 2 ? at + 1 : at, done));
      } else if (first === "`") {
        const { end, length } = ticks.from(at);
        done = end;
        if (length === 0) made.push(text.slice(at, end));
        else {
          const code = text.slice(at + length, end - length);
          const isPadded = code.startsWith(" ") && code.endsWith(" ") && code.trim() !== "";
          made.push(this.#make("code", {}, this.#plain(isPadded ? code.slice(1, -1) : code)));
        }
      } else if (first === "[") {
        done = at + 1;
        opens("[", "[");
      } else if (first === "]") {
        done = at + 1;
        TARGET.lastIndex = done;
        const target = counts["["] > 0 && TARGET.exec(text);
        if (target) {
          done = TARGET.lastIndex;
          close("[", (inner) => this.#span(this.#link(target[1], inner)));
        } else made.push("]");
      } else {
        let end = at + 1;
        while (text[end] === first && end < at + 3) end += 1;
        const key = text.slice(at, end);
        done = end;
        const before = text[at - 1] ?? " ";
        const after = text[end] ?? " ";
        const inWord = key.length === 1 && WORD.test(before) && WORD.test(after);
        if (!(key in TAGS) || after === first || inWord) {
          while (text[done] === first) done += 1;
          made.push(text.slice(at, done));
        } else if (counts[key] > 0 && !SPACE.test(before))
          close(key, (inner) => this.#make(TAGS[key], {}, inner));
        else if (!SPACE.test(after)) opens(key, key);
        else made.push(key);
      }
    }
    put(done, text.length);
    return made;
  }

  /** Return the nodes of a link: its text, if it has one, and its address. Both lead there, if they may. */
  #link(address, inner) {
    const href = this.#target(address);
    if (!href) return inner ? [...inner, " <", ...this.#plain(address), ">"] : this.#plain(address);
    const to = (children) =>
      this.#make("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, children);
    if (!inner) return [to([address])];
    const own = inner.find((part) => part.tagName === "A" || part.querySelector?.("a"));
    if (own) return own.href === href && inner.length === 1 ? inner : [...inner, " ", to([address])];
    return [to([...inner, " ", el("span", { className: "address" }, address)])];
  }

  /** Return the address to which a link may lead, or an empty string. */
  #target(address) {
    if (this.#marks.length > 0 && this.#isMarked(address)) return "";
    if (!URL.canParse(address)) return "";
    const url = new URL(address);
    const isOther = url.origin !== location.origin && !url.username && !url.password;
    return isOther && ["http:", "https:"].includes(url.protocol) ? url.href : "";
  }

  #isMarked(text) {
    for (const letter of text) if (this.#marks[letter.charCodeAt(0) - MARK]) return true;
    return false;
  }

  #span(nodes) {
    return nodes.length === 1 ? nodes[0] : el("span", {}, ...joined(nodes));
  }

  /** Return a text as nodes, with the server's marks. */
  #plain(text) {
    if (this.#marks.length === 0) return text === "" ? [] : [text];
    const made = [];
    let from = 0;
    for (let at = 0; at < text.length; at += 1) {
      const mark = this.#marks[text.charCodeAt(at) - MARK];
      if (!mark) continue;
      if (from < at) made.push(text.slice(from, at));
      const node = el("span");
      putText(node, [mark]);
      made.push(node.firstChild);
      from = at + 1;
    }
    if (from < text.length) made.push(text.slice(from));
    return made;
  }

  /** Make an element of text, which has the direction of its first letter. */
  #block(tag, properties = {}, children = []) {
    const node = this.#make(tag, properties, children);
    // Not before: a browser looks for that letter again with each child that comes.
    node.dir = "auto";
    return node;
  }

  #make(tag, properties = {}, children = []) {
    this.#left -= 1;
    return el(tag, properties, ...joined(children));
  }
}

/** Return nodes and strings with all strings joined that follow each other. */
function joined(nodes) {
  const made = [];
  for (const node of nodes)
    if (typeof node === "string" && typeof made.at(-1) === "string") made[made.length - 1] += node;
    else made.push(node);
  return made;
}

/** Return the fence of a block of code that begins or ends with a line, and what follows it; or null. */
function fenceOf(line) {
  const found = FENCE.exec(line);
  if (!found) return null;
  const rest = line.slice(found[0].length);
  return found[1][0] === "`" && rest.includes("`") ? null : { marks: found[1], rest };
}

/** Return the text of a heading without the number signs that may close it. */
function withoutClosing(text) {
  let end = text.length;
  while (text[end - 1] === "#") end -= 1;
  return end < text.length && text[end - 1] === " " ? text.slice(0, end).trimEnd() : text;
}

/** The runs of backticks in a text. Looking for the end of code does not look at a place twice. */
class Ticks {
  #ends = new Map(); // the places of all runs of a length, the last one first

  constructor(text) {
    this.text = text;
    const runs = [...text.matchAll(/`+/g)].reverse();
    for (const run of runs) {
      const length = run[0].length;
      if (!this.#ends.has(length)) this.#ends.set(length, []);
      this.#ends.get(length).push(run.index);
    }
  }

  /** Return the end of the code that begins at `at`, and the length of its delimiter; 0 for none. */
  from(at) {
    let after = at;
    while (this.text[after] === "`") after += 1;
    const length = after - at;
    const places = this.#ends.get(length) ?? [];
    while (places.length > 0 && places.at(-1) < after) places.pop();
    if (places.length === 0) return { end: after, length: 0 };
    return { end: places.at(-1) + length, length };
  }
}

/** Return the address that begins at a place, without what ends the sentence around it. */
function addressAt(text, at) {
  ADDRESS.lastIndex = at;
  const found = ADDRESS.exec(text)[0];
  let surplus = 0; // brackets that close and were not opened
  for (const letter of found) surplus += letter === ")" ? 1 : letter === "(" ? -1 : 0;
  let end = found.length;
  for (; end > 0; end -= 1) {
    const last = found[end - 1];
    if (last === ")" && surplus > 0) surplus -= 1;
    else if (!".,;:!?*_~]}|".includes(last)) break;
  }
  return found.slice(0, end);
}

/** Return the cells of a row of a table; a bar in code or after a backslash is text. */
function cells(line) {
  const found = [""];
  let isCode = false;
  for (let at = 0; at < line.length; at += 1) {
    const letter = line[at];
    if (letter === "`") isCode = !isCode;
    if (letter === "|" && !isCode) found.push("");
    else if (letter === "\\" && line[at + 1] === "|") found[found.length - 1] += line[++at];
    else found[found.length - 1] += letter;
  }
  if (found[0].trim() === "") found.shift();
  if (found.length > 1 && found.at(-1).trim() === "") found.pop();
  return found;
}

/** Return lines without the blank ones at both ends. */
function trimmed(lines) {
  let [first, last] = [0, lines.length];
  while (first < last && lines[first].trim() === "") first += 1;
  while (first < last && lines[last - 1].trim() === "") last -= 1;
  return lines.slice(first, last);
}
