// The page of the network: the hosts that agents have reached through their gateways, or were refused.

import { get } from "./api.js";
import { openMirror } from "./common.js";
import { el, keyed, showError } from "./dom.js";
import { renderRefused } from "./egress.js";
import { exactly } from "./figures.js";
import { guardPresses } from "./press_guard.js";
import { bytes, putText, putTime, textOf } from "./text.js";

const here = document.getElementById("hosts");
const filters = here.querySelector("form");
const error = here.querySelector(":scope > .error");
const STATES = { none: "", pending: "waits for you", once: "allowed once", denied: "denied", allowed: "allowed" };

let hosts = [];
let load = 0; // the number of the current load; the answer to an older one is not used
let isLoading = false;
let isStale = false;

const mirror = openMirror(changed);

function changed(tables) {
  if (["egress", "services"].some((name) => tables.has(name))) renderRefused(mirror, document.getElementById("refused"));
  if (tables.has("agents")) renderNames();
  // A refusal or a decision, the start of the page, or a connection that was lost.
  if (tables.has("egress")) refresh();
}

// Changes that come while an answer is outstanding cause one more request.
async function refresh() {
  if (isLoading) {
    isStale = true;
    return;
  }
  isLoading = true;
  const number = ++load;
  showError(error);
  try {
    const wanted = ["agent", "state", "hours"].map((name) => [name, filters[name].value]);
    const query = new URLSearchParams(wanted.filter(([, value]) => value !== ""));
    const found = (await get(`/api/egress?${query}`)).hosts;
    if (number === load) hosts = found;
    render();
  } catch (failure) {
    showError(error, failure.message);
  }
  isLoading = false;
  if (isStale) {
    isStale = false;
    await refresh();
  }
}

function renderNames() {
  const names = new Set([...Object.keys(mirror.tables.agents), ...hosts.map(({ agent }) => agent)]);
  const wanted = [...names].sort();
  keyed(filters.agent, ["", ...wanted], String, (name) => el("option", { value: name }, name || "all"));
}

function render() {
  const text = filters.host.value.trim().toLowerCase();
  const order = filters.order.value;
  const shown = hosts
    .filter((entry) => entry.rule.toLowerCase().includes(text) || textOf(entry.reason).toLowerCase().includes(text))
    .sort((a, b) => b[order] - a[order] || b.last - a.last);
  renderTotals(shown);
  here.querySelector(".wide-table").hidden = shown.length === 0;
  here.querySelector(":scope > .empty").hidden = shown.length > 0;
  // On a phone, a figure that is 0 is left out.
  const number = (title, count, show = exactly) =>
    el("td", { className: count ? "number" : "number none", data: { title } }, show(count));
  const at = (title, value) => {
    const node = el("time");
    putTime(node, value);
    return el("td", { data: { title } }, node);
  };
  keyed(here.querySelector("tbody"), shown, ({ agent, host, port }) => `${agent} ${host} ${port}`, (entry) => {
    const reason = el("td", { className: "reason-cell", dir: "auto" });
    putText(reason, entry.reason);
    const link = el("a", { href: `/agents/${encodeURIComponent(entry.agent)}` }, entry.agent);
    return el(
      "tr",
      { data: { state: entry.state } },
      el("th", { scope: "row" }, link),
      el("td", {}, el("code", {}, entry.rule)),
      el("td", { className: `state-${entry.state}` }, STATES[entry.state]),
      number("connections", entry.allowed),
      number("refused", entry.refused),
      number("failed", entry.failed),
      number("sent", entry.sent, bytes),
      number("received", entry.received, bytes),
      at("first", entry.first),
      at("last", entry.last),
      at("decided", entry.decided),
      reason,
    );
  });
}

function renderTotals(shown) {
  const total = (key) => shown.reduce((count, entry) => count + entry[key], 0);
  const figures = [
    ["Hosts", exactly(shown.length)],
    ["Connections", exactly(total("allowed"))],
    ["Refused", exactly(total("refused"))],
    ["Failed", exactly(total("failed"))],
    ["Sent", bytes(total("sent"))],
    ["Received", bytes(total("received"))],
  ];
  const list = here.querySelector(".totals");
  list.replaceChildren(...figures.map(([word, text]) => el("div", {}, el("dt", {}, word), el("dd", {}, text))));
}

filters.addEventListener("submit", (event) => {
  event.preventDefault();
  refresh();
});
filters.addEventListener("change", ({ target }) => {
  if (["host", "order"].includes(target.name)) render();
  else refresh();
});
filters.host.addEventListener("input", render);

document.title = "Network · Hyperhive";
guardPresses();
mirror.connect();
