// Charts of an agent's days: bars in SVG, and the same figures as a table.

import { el } from "./dom.js";
import { exactly, money, span, tokens } from "./figures.js";
import { plural, putText, spelled, textOf } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 120;
const MOST_TOOLS = 5;
const LEAST = 14; // days that a chart shows
const DAY_MS = 86_400_000;
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/** Put the charts of some days, oldest first, into `box`. */
export function putCharts(box, days) {
  const all = withoutGaps(days);
  box.replaceChildren(
    chart("Cost", all, [series("cost", (day) => day.cost)], money),
    chart(
      "Tokens",
      all,
      [series("input", (day) => day.input_tokens), series("output", (day) => day.output_tokens)],
      tokens,
    ),
    chart("Average turn", all, [series("seconds", (day) => day.seconds / Math.max(1, day.turns))], span, false),
    chart("Calls of tools", all, tools(all), exactly),
    table(all),
  );
}

const series = (name, of, text = name) => ({ name, text, of });

// The tools that were called most, one series each; the others together.
function tools(days) {
  const totals = new Map();
  for (const day of days)
    for (const { tool, calls } of day.tools) {
      const name = textOf(tool);
      const known = totals.get(name);
      totals.set(name, { text: tool, calls: (known?.calls ?? 0) + calls });
    }
  const most = [...totals].sort(([, a], [, b]) => b.calls - a.calls).slice(0, MOST_TOOLS);
  const named = new Set(most.map(([name]) => name));
  const calls = (day, fits) => sum(day.tools.filter(({ tool }) => fits(textOf(tool))).map((one) => one.calls));
  const found = most.map(([name, { text }]) => series(spelled(text), (day) => calls(day, (tool) => tool === name), text));
  if (totals.size > most.length) found.push(series("others", (day) => calls(day, (tool) => !named.has(tool))));
  return found;
}

function chart(title, days, parts, show, isTotal = true) {
  const values = days.map((day) => parts.map((part) => part.of(day)));
  const sums = values.map(sum);
  const most = Math.max(...sums, 0);
  const total = isTotal ? `${show(sum(sums))} in ${plural(days.length, "day")}` : `at most ${show(most)}`;
  const caption = el("figcaption", {}, el("strong", {}, title), el("span", { className: "muted" }, ` ${total}`));
  if (parts.length > 1)
    caption.append(
      ...parts.map((part, index) => {
        const key = el("span", { className: `key series-${index}`, dir: "auto" });
        putText(key, part.text);
        return key;
      }),
    );
  const axis = el(
    "p",
    { className: "axis muted", ariaHidden: "true" },
    el("span", {}, label(days[0])),
    el("span", {}, `highest: ${show(most)}`),
    el("span", {}, label(days.at(-1))),
  );
  return el("figure", { className: "chart" }, caption, bars(`${title}: ${total}`, days, values, parts, most, show), axis);
}

function bars(name, days, values, parts, most, show) {
  const svg = svgElement("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  svg.setAttribute("aria-label", `${name}, a bar for each day; the table below has the figures`);
  const step = WIDTH / days.length;
  for (const [index, day] of days.entries()) {
    const group = svgElement("g");
    let y = HEIGHT;
    for (const [number, value] of values[index].entries()) {
      const height = most ? (value / most) * (HEIGHT - 2) : 0;
      if (height <= 0) continue;
      y -= height;
      const bar = { x: index * step + step * 0.1, y, width: step * 0.8, height, class: `series-${number}` };
      group.append(svgElement("rect", bar));
    }
    const details = parts.length > 1 ? parts.map((part, number) => `${part.name} ${show(values[index][number])}`) : [];
    const hint = svgElement("title");
    hint.textContent = [`${label(day)}: ${show(sum(values[index]))}`, ...details].join("\n");
    // The whole column shows the figures, not only the part with the bar.
    group.prepend(hint, svgElement("rect", { x: index * step, y: 0, width: step, height: HEIGHT, class: "column" }));
    svg.append(group);
  }
  return svg;
}

function table(days) {
  const head = ["day", "turns", "average turn", "cost", "input", "output", "calls of tools"];
  const rows = [...days].reverse().filter((day) => day.turns > 0).map((day) => {
    const cells = [
      exactly(day.turns),
      span(day.seconds / day.turns),
      money(day.cost),
      tokens(day.input_tokens),
      tokens(day.output_tokens),
      exactly(sum(day.tools.map((one) => one.calls))),
    ];
    const name = el("th", { scope: "row" }, label(day));
    return el("tr", {}, name, ...cells.map((cell) => el("td", {}, cell)));
  });
  const titles = head.map((text) => el("th", { scope: "col" }, text));
  const body = el("table", {}, el("thead", {}, el("tr", {}, ...titles)), el("tbody", {}, ...rows));
  const scroller = el("div", { className: "wide-table", tabIndex: 0 }, body);
  scroller.setAttribute("role", "region");
  scroller.setAttribute("aria-label", "Figures of each day");
  return el("details", {}, el("summary", {}, "Figures of each day"), scroller);
}

/** Return the days with those between them that have no turns. */
function withoutGaps(days) {
  const known = new Map(days.map((day) => [day.day, day]));
  const empty = { turns: 0, seconds: 0, cost: 0, input_tokens: 0, output_tokens: 0, tools: [] };
  const end = Date.parse(days.at(-1).day);
  const start = Math.max(Math.min(Date.parse(days[0].day), end - (LEAST - 1) * DAY_MS), end - 89 * DAY_MS);
  const all = [];
  for (let at = start; at <= end; at += DAY_MS) {
    const day = new Date(at).toISOString().slice(0, 10);
    all.push(known.get(day) ?? { ...empty, day });
  }
  return all;
}

const label = ({ day }) => DAY.format(new Date(day));

function svgElement(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}
