// A list that stays at its end while it grows, until the reader scrolls away; then a button counts what is
// new and leads back. The list scrolls in an element of its own, or with the page on a phone.
//
// Only the reader leaves the end. What changes the room or the content (a notice, a keyboard, a font) also
// makes the browser report a scroll, so each one is compared with the sizes that were known before.

import { plural } from "./text.js";
import { setText } from "./dom.js";

const NEAR = 40;

export class StickyEnd {
  #scroller;
  #list;
  #pill;
  #noun;
  #isAtEnd = true;
  #top = 0;
  #sizes = "";
  #known = new Set(); // the keys of the items when the reader was at the end
  #pages; // whether the page scrolls, when that was last looked at

  /**
   * @param scroller the element that scrolls, unless the page does
   * @param list contains the items; each has a `data-key`
   * @param pill the button that leads to the end
   * @param noun names one item
   */
  constructor(scroller, list, pill, noun = "new message") {
    this.#scroller = scroller;
    this.#list = list;
    this.#pill = pill;
    this.#noun = noun;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    addEventListener("scroll", () => this.#box() !== scroller && this.#scrolled(), { passive: true });
    pill.addEventListener("click", () => this.toEnd());
    const room = new ResizeObserver(() => this.#settle());
    room.observe(scroller);
    room.observe(list);
    addEventListener("resize", () => this.#settle());
  }

  get isAtEnd() {
    return this.#isAtEnd;
  }

  /** Go to the end, and stay there. */
  toEnd() {
    this.#isAtEnd = true;
    this.#settle();
  }

  /** Leave the end: the reader has unfolded something. */
  leave() {
    if (!this.#isAtEnd) return;
    this.#remember();
    this.#isAtEnd = false;
  }

  /** Take note of a change of the items: stay at the end, or count what is new. */
  changed() {
    this.#settle();
  }

  /** Change the items above those that are in view, which stay where they are. */
  prepend(change) {
    const box = this.#box();
    const before = box.scrollHeight - box.scrollTop;
    change();
    box.scrollTop = box.scrollHeight - before;
    this.#note(box);
  }

  #box() {
    this.#pages = getComputedStyle(this.#scroller).overflowY === "visible";
    return this.#pages ? document.scrollingElement : this.#scroller;
  }

  #settle() {
    const box = this.#box();
    // On a phone, the list that has no scroller is followed by the message box, and by nothing else.
    if (this.#pages && !this.#scroller.closest("main.flowing")) {
      this.#pill.hidden = true;
      return;
    }
    if (this.#isAtEnd) {
      box.scrollTop = box.scrollHeight;
      this.#remember();
    }
    this.#note(box);
    this.#count();
  }

  #scrolled() {
    const box = this.#box();
    const sizes = sizesOf(box);
    const isNear = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    if (isNear) this.#isAtEnd = true;
    else if (sizes === this.#sizes && box.scrollTop < this.#top) this.leave();
    if (this.#isAtEnd && !isNear) this.#settle();
    else this.#note(box);
    if (isNear) this.#remember();
    this.#count();
  }

  #note(box) {
    this.#top = box.scrollTop;
    this.#sizes = sizesOf(box);
  }

  #remember() {
    this.#known = new Set(keysOf(this.#list));
  }

  #count() {
    const fresh = this.#isAtEnd ? 0 : countNew(keysOf(this.#list), this.#known);
    this.#pill.hidden = fresh === 0;
    if (fresh) setText(this.#pill, `${plural(fresh, this.#noun)} ↓`);
  }
}

const sizesOf = (box) => `${box.scrollHeight} ${box.clientHeight}`;
const keysOf = (list) => [...list.children].map((node) => node.dataset.key);

/** Return how many keys at the end of a list are not known. */
function countNew(keys, known) {
  let count = 0;
  while (count < keys.length && !known.has(keys[keys.length - 1 - count])) count += 1;
  return count;
}
