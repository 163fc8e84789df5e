// Helpers that build and update elements. Texts are always inserted as text, never as HTML.

/** Make an element with properties, dataset entries and children (elements or strings). */
export function el(tag, properties = {}, ...children) {
  const { data, ...rest } = properties;
  const node = Object.assign(document.createElement(tag), rest);
  Object.assign(node.dataset, data);
  node.append(...children);
  return node;
}

/** Set a text only when it differs, so that a screen reader does not repeat it. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set a sentence of the hive's own, in which backticks mark a command. */
export function setSentence(node, sentence) {
  const parts = sentence.split("`");
  const nodes = parts.map((part, index) => (index % 2 ? el("code", {}, part) : part));
  node.replaceChildren(...nodes);
}

const versions = new WeakMap(); // the version of the item from which each child was made

/**
 * Make the children of `list` match `items`, in order, by key. A child that stays is neither made
 * again nor moved without need, so its focus, selection and typed text stay, too.
 *
 * @param version returns the part of an item that `update` cannot show; a child is made again when
 *   it changes, so that no child shows one thing and acts on another
 */
export function keyed(list, items, key, make, update, version = update ? () => "" : JSON.stringify) {
  const known = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const wanted = new Set(items.map((item) => String(key(item))));
  for (const [name, node] of known) if (!wanted.has(name)) node.remove();
  let next = list.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let node = known.get(name);
    if (!node || versions.get(node) !== String(version(item))) {
      if (node === next) next = node?.nextElementSibling ?? null;
      node?.remove();
      node = make(item);
      node.dataset.key = name;
      versions.set(node, String(version(item)));
    }
    if (node === next) next = node.nextElementSibling;
    else list.insertBefore(node, next);
    update?.(node, item);
  }
}

/** Show a sentence in an error line, or hide the line. */
export function showError(line, sentence = "") {
  setSentence(line, sentence);
  line.hidden = sentence === "";
}
