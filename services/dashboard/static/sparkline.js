// Small charts in a row: the last values of something, as a line without axes.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 44;
const HEIGHT = 14;

/** Make a chart for `putLine`. */
export function makeLine(className) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `spark ${className}`);
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("role", "img");
  svg.append(document.createElementNS(SVG, "title"), document.createElementNS(SVG, "path"), document.createElementNS(SVG, "path"));
  return svg;
}

/**
 * Show values, oldest first.
 * @param most the value at the top
 * @param words what the chart says, for those who point at it or do not see it
 */
export function putLine(svg, values, most, words) {
  const [title, area, line] = svg.children;
  if (title.textContent !== words) {
    title.textContent = words;
    svg.setAttribute("aria-label", words);
  }
  const step = WIDTH / Math.max(1, values.length - 1);
  const y = (value) => (HEIGHT - 1 - (HEIGHT - 2) * Math.min(1, value / (most || 1))).toFixed(1);
  const shown = values.length === 1 ? [values[0], values[0]] : values;
  const width = values.length === 1 ? WIDTH : step;
  const points = shown.map((value, index) => `${(index * width).toFixed(1)} ${y(value)}`);
  line.setAttribute("d", values.length ? `M${points.join("L")}` : "");
  area.setAttribute("d", values.length ? `M0 ${HEIGHT}L${points.join("L")}L${WIDTH} ${HEIGHT}Z` : "");
}
