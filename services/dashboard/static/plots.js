// Charts of days: drawn by uPlot, which the setup brings, and as a table, which is always there.

import { el } from "./dom.js";
import { onTheme } from "./theme.js";
import { plural } from "./text.js";

const HEIGHT = 170;
const DAY_MS = 86_400_000;
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });

let loading = null;
const drawn = new Map(); // from each box to what it shows

/** Load uPlot once; null if the setup has not brought it. */
function load() {
  loading ??= import("/static/uplot.js").then(
    (module) => {
      document.head.append(el("link", { rel: "stylesheet", href: "/static/uplot.css" }));
      return module.default;
    },
    () => null,
  );
  return loading;
}

/** Return the names of the last days, oldest first, such as 2026-11-29; `last` is the newest. */
export function daysUntil(last, count) {
  const end = Date.parse(last);
  return Array.from({ length: count }, (_, index) =>
    new Date(end - (count - 1 - index) * DAY_MS).toISOString().slice(0, 10),
  );
}

const label = (day) => DAY.format(new Date(day));
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/**
 * Make a chart: a bar for each day, of one part for each series.
 * @param title of the chart
 * @param days the names of the days, oldest first
 * @param series each with a `name` and its `values`, one for each day
 * @param show returns a value in words
 */
export function plot(title, days, series, show) {
  const totals = days.map((_, index) => sum(series.map(({ values }) => values[index])));
  const caption = el("figcaption", {}, el("strong", {}, title));
  caption.append(el("span", { className: "muted" }, `${show(sum(totals))} in ${plural(days.length, "day")}`));
  if (series.length > 1)
    for (const [index, { name }] of series.entries())
      caption.append(el("span", { className: `key series-${index % 7}` }, name));
  const box = el("div", { className: "canvas" });
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", `${title}, a bar for each day; the table below has the figures`);
  const hint = el("p", { className: "axis muted", ariaHidden: "true" }, "\u00a0");
  const figure = el("figure", { className: "plot" }, caption, box, hint, table(title, days, series, totals, show));
  draw(box, { days, series, totals, show, hint });
  return figure;
}

async function draw(box, shown) {
  const UPlot = await load();
  if (UPlot === null) {
    box.hidden = true;
    box.parentElement?.querySelector("details")?.setAttribute("open", "");
    return;
  }
  drawn.set(box, { ...shown, UPlot, chart: null });
  sizes.observe(box);
}

function render(box) {
  const { days, series, totals, show, hint, UPlot, chart } = drawn.get(box);
  chart?.destroy();
  const [muted, line, ...colours] = colour(box, [
    "--muted",
    "--line",
    ...series.map((_, index) => `--series-${index % 7}`),
  ]);
  // Each bar reaches from 0 to the sum of its part and of those below it; the largest is drawn first.
  const sums = [];
  let below = days.map(() => 0);
  for (const { values } of series) {
    below = below.map((value, index) => value + values[index]);
    sums.unshift(below);
  }
  const bars = UPlot.paths.bars({ size: [0.75, 48], align: 0 });
  const axis = { stroke: muted, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px sans-serif" };
  const options = {
    width: box.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: { x: { time: false, range: [-0.6, days.length - 0.4] }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.05 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, size: 26, values: (_, places) => places.map((at) => (days[at] ? label(days[at]) : "")) },
      { ...axis, size: 64, values: (_, values) => values.map(show) },
    ],
    series: [{}, ...sums.map((_, index) => ({ paths: bars, fill: colours[series.length - 1 - index], points: { show: false } }))],
    hooks: {
      setCursor: [
        ({ cursor: { idx } }) => {
          if (idx === null || idx === undefined) return;
          const parts = series.length > 1 ? series.filter(({ values }) => values[idx] > 0) : [];
          const words = parts.map(({ name, values }) => `${name} ${show(values[idx])}`);
          hint.textContent = `${label(days[idx])}: ${show(totals[idx])}${words.length ? ` (${words.join(", ")})` : ""}`;
        },
      ],
    },
  };
  drawn.get(box).chart = new UPlot(options, [days.map((_, index) => index), ...sums], box);
}

// Draws a chart when it has its size, and again when that changes.
const sizes = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const known = drawn.get(target);
    if (!target.isConnected) {
      known?.chart?.destroy();
      drawn.delete(target);
      sizes.unobserve(target);
    } else if (!known.chart) render(target);
    else if (known.chart.width !== contentRect.width) known.chart.setSize({ width: contentRect.width, height: HEIGHT });
  }
});

onTheme(() => {
  for (const [box, { chart }] of drawn) if (chart && box.isConnected) render(box);
});

/** Return the colours of some variables as a canvas takes them. */
function colour(box, names) {
  const probe = el("span", { hidden: true });
  box.append(probe);
  const found = names.map((name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  return found;
}

function table(title, days, series, totals, show) {
  const many = series.length > 1;
  const head = ["Day", ...(many ? ["all"] : []), ...series.map(({ name }) => name)];
  const number = (text) => el("td", { className: "number" }, text);
  const rows = days
    .map((day, index) => {
      const values = [...(many ? [totals[index]] : []), ...series.map(({ values: all }) => all[index])];
      return el("tr", {}, el("th", { scope: "row" }, label(day)), ...values.map((value) => number(show(value))));
    })
    .filter((_, index) => totals[index] > 0)
    .reverse();
  const titles = head.map((text, index) => el("th", { scope: "col", className: index ? "number" : "" }, text));
  const body = el("table", {}, el("thead", {}, el("tr", {}, ...titles)), el("tbody", {}, ...rows));
  const scroller = el("div", { className: "wide-table", tabIndex: 0 }, body);
  scroller.setAttribute("role", "region");
  scroller.setAttribute("aria-label", `${title}: the figures of each day`);
  return el("details", {}, el("summary", {}, "Figures"), scroller);
}
