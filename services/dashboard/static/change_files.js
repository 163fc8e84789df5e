// The files of a change: a list of all of them, and the diff of each. A file that the diff does not reach is
// fetched when it is chosen.

import { MAX_LINES, showDiff } from "./diff.js";
import { el, setSentence, setText } from "./dom.js";
import { bytes, plural, putText, textOf } from "./text.js";

const WORDS = { A: "added", D: "deleted", M: "changed", R: "renamed", T: "of another type" };
const SUBMODULE = "160000";
const NOTHING = "000000";
/** The files of a list that is unfolded. */
const FEW = 20;

export class ChangeFiles {
  #list;
  #summary;
  #diff;
  #fetch;
  #command;
  #shown = new Map(); // the element of each file that the diff shows, by its path
  #paths = new Map(); // the paths of all files, as they are shown
  #number = 0; // the number of the diff that is shown

  /**
   * @param section has the list and the diff
   * @param fetch returns a promise of the diff of one file
   * @param command prints the whole diff
   */
  constructor(section, fetch, command) {
    this.#list = section.querySelector(".files");
    this.#summary = section.querySelector(".file-list > summary");
    this.#diff = section.querySelector(".diff");
    this.#fetch = fetch;
    this.#command = command;
  }

  /**
   * Show a diff.
   * @param found as the server sends it
   * @param isWhole whether it is all of a revision, whose files are listed
   */
  show(found, isWhole) {
    this.#number += 1;
    this.#shown.clear();
    this.#paths = new Map(found.files.map(({ path }) => [textOf(path), path]));
    this.#put(this.#diff, found.diff);
    if (found.cut || found.diff.length > MAX_LINES) {
      // The last file may end early.
      this.#shown.delete([...this.#shown.keys()].at(-1));
      const rest = el("p", { className: "by" });
      setSentence(rest, "The diff is too long, and ends here. Choose a file above to see all of it.");
      this.#diff.append(rest);
    }
    const box = this.#list.parentElement;
    box.hidden = !isWhole || found.files.length === 0;
    if (box.hidden) return;
    const sum = (name) => found.files.reduce((total, one) => total + one[name], 0);
    const counted = `${plural(found.files.length, "file")}, +${sum("added")} −${sum("removed")}`;
    setText(this.#summary, found.more_files ? `${counted}, and ${plural(found.more_files, "more file")}` : counted);
    box.open = found.files.length <= FEW;
    this.#list.replaceChildren(...found.files.map((file) => this.#makeEntry(file)));
  }

  #put(node, diff) {
    showDiff(node, diff, this.#command, "Nothing is different.", (file, path) => {
      if (path === "") return;
      this.#shown.set(path, file);
      // git quotes some paths; the list has them as they are shown.
      if (this.#paths.has(path)) putText(file.querySelector("summary code"), this.#paths.get(path));
    });
  }

  /** Return the element of a file in the diff; undefined if the diff does not show it. */
  find(path) {
    return this.#shown.get(path);
  }

  /** Return the path of the file that has `node` in its diff; undefined if it is not known. */
  pathOf(node) {
    const file = node.closest("details.file");
    return [...this.#shown].find(([, one]) => one === file)?.[0];
  }

  /** Unfold a file, fetch it if need be, and move the focus to it. */
  async reveal(path) {
    if (!this.#shown.has(path)) {
      const number = this.#number;
      const { diff } = await this.#fetch(path);
      if (number !== this.#number) return;
      const more = el("div");
      this.#put(more, diff);
      this.#diff.append(more);
    }
    const file = this.#shown.get(path);
    if (!file) return;
    file.open = true;
    file.querySelector("summary").focus();
    file.scrollIntoView({ block: "start" });
  }

  #makeEntry(file) {
    const { path, old_path: before, old_mode: oldMode, new_mode: newMode } = file;
    const name = el("button", { type: "button", className: "quiet" }, el("code"));
    putText(name.firstElementChild, path);
    name.addEventListener("click", async () => {
      try {
        await this.reveal(textOf(path));
      } catch (failure) {
        setSentence(said, failure.message);
      }
    });
    const old = el("code");
    putText(old, before);
    const moved = textOf(before) === textOf(path) ? [] : [el("span", { className: "by" }, "was ", old)];
    const isMode = oldMode !== newMode && oldMode !== NOTHING && newMode !== NOTHING;
    const mode = isMode ? [el("span", { className: "chip" }, `mode ${oldMode} → ${newMode}`)] : [];
    const said = el("span", { className: "by" });
    return el("li", {}, el("span", { className: "by how" }, WORDS[file.status] ?? file.status), name, ...moved, ...mode, ...countsOf(file), said);
  }
}

function countsOf({ binary, added, removed, old_size: before, new_size: now, old_mode: oldMode, new_mode: newMode }) {
  if ([oldMode, newMode].includes(SUBMODULE)) return [el("span", { className: "chip" }, "submodule")];
  if (binary) return [el("span", { className: "by" }, `binary, ${bytes(before)} → ${bytes(now)}`)];
  return [
    ...(added ? [el("span", { className: "added" }, `+${added}`)] : []),
    ...(removed ? [el("span", { className: "removed" }, `−${removed}`)] : []),
  ];
}
