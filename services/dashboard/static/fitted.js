// Text boxes that are as high as their text.

/** Make a text box as high as its text; the style sheet limits the height. */
export function fit(box) {
  // The box shrinks to one line while it is measured. Its parent keeps its height meanwhile: otherwise what
  // scrolls beside them would get the room for a moment, and lose its place.
  const parent = box.parentElement;
  parent.style.minHeight = `${parent.offsetHeight}px`;
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + box.offsetHeight - box.clientHeight}px`;
  parent.style.minHeight = "";
}
