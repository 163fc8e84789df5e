// A list that stays at its end while it grows, until the reader scrolls away; then a button counts what is
// new and leads back. The list scrolls in an element of its own, or with the page on a phone.
//
// Only the reader leaves the end, by scrolling up. What takes room from the list (a notice, a keyboard, a
// font) leaves the place as it is, and what makes the list shorter leads to its end.

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
  #room = 0; // the height of what scrolls, when its place was last looked at
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
    this.#top = 0;
    this.#settle();
  }

  /** Leave the end: the reader has unfolded something. */
  leave() {
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
    this.#place(box);
  }

  #box() {
    this.#pages = getComputedStyle(this.#scroller).overflowY === "visible";
    return this.#pages ? document.scrollingElement : this.#scroller;
  }

  #settle() {
    if (!this.#scroller.checkVisibility()) return;
    const box = this.#box();
    // On a phone, the overview scrolls as a whole, and the flow is a part of it.
    if (this.#pages && !this.#scroller.closest("main.flowing")) {
      this.#pill.hidden = true;
      return;
    }
    this.#look(box);
    if (this.#isAtEnd) {
      box.scrollTop = box.scrollHeight;
      this.#remember();
    }
    this.#place(box);
    this.#count();
  }

  #scrolled() {
    const box = this.#box();
    const isNear = this.#look(box);
    if (isNear) this.#remember();
    else if (this.#isAtEnd) this.#settle();
    this.#place(box);
    this.#count();
  }

  /** Find out whether the reader has left the end, or is back; return whether the end is near. */
  #look(box) {
    const isNear = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    // The event of a scroll comes later than the scroll.
    if (isNear) this.#isAtEnd = true;
    // More room moves the place up, and it stays there if the room is taken again in the same frame.
    else if (box.scrollTop < this.#top && box.clientHeight === this.#room) this.leave();
    return isNear;
  }

  #place(box) {
    this.#top = box.scrollTop;
    this.#room = box.clientHeight;
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

const keysOf = (list) => [...list.children].map((node) => node.dataset.key);

/** Return how many keys at the end of a list are not known. */
function countNew(keys, known) {
  let count = 0;
  while (count < keys.length && !known.has(keys[keys.length - 1 - count])) count += 1;
  return count;
}
