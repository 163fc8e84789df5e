// The page of one turn: the messages that woke the agent, the figures, and the events.

import { get, sentenceOf } from "./api.js";
import { openMirror } from "./common.js";
import { el, setSentence, setText, showError } from "./dom.js";
import { EventItems } from "./event_items.js";
import { fetchAs } from "./session.js";
import { turnFacts } from "./turn_list.js";

const PAGE = 100;
const MOST = 2000; // events on the page; the export has all of them

const [, , agentInPath, , turnInPath] = location.pathname.split("/");
const name = decodeURIComponent(agentInPath);
const turn = Number(turnInPath);
const path = `/api/agents/${encodeURIComponent(name)}`;
const byId = (id) => document.getElementById(id);

const items = new EventItems(name, async (seq) => (await get(`${path}/events/${seq}`)).event);
const list = document.querySelector(".events");
let last = 0; // the number of the last event on the page

async function loadFacts() {
  const error = byId("turn").querySelector(".error");
  try {
    const found = (await get(`${path}/turns/${turn}`)).turn;
    const pairs = turnFacts(found).flatMap(([term, value]) => {
      const bad = term === "error" || (term === "outcome" && !["done", "running"].includes(value));
      return [el("dt", {}, term), el("dd", { className: bad ? "bad" : "" }, ...[value].flat())];
    });
    byId("turn-facts").replaceChildren(...pairs);
    showError(error);
    byId("refresh").hidden = found.ended > 0;
  } catch (failure) {
    showError(error, failure.message);
  }
}

async function loadEvents() {
  const error = byId("events").querySelector(".error");
  try {
    // An answer has fewer events than asked for when they are long: only an empty one is the last.
    for (let rows = [{}]; rows.length > 0 && list.childElementCount < MOST; ) {
      const { events } = await get(`${path}/events?turn=${turn}&after=${last}&limit=${PAGE}`);
      rows = events.filter((row) => row.seq > last);
      list.append(...rows.map((row) => items.make(row)));
      last = rows.at(-1)?.seq ?? last;
    }
    byId("events").querySelector(".empty").hidden = list.childElementCount > 0;
    byId("events").querySelector(".cut").hidden = list.childElementCount < MOST;
    showError(error);
  } catch (failure) {
    showError(error, failure.message);
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

async function download(button) {
  button.disabled = true;
  const said = byId("exported");
  setText(said, "Reading the events…");
  try {
    const response = await fetchAs(`${path}/turns/${turn}/export?form=${button.dataset.form}`);
    if (!response.ok) throw new Error(await sentenceOf(response));
    const [, file] = /filename="([^"/]+)"/u.exec(response.headers.get("Content-Disposition"));
    save(await response.blob().catch(() => null), file);
    setText(said, "Saved.");
  } catch (failure) {
    setSentence(said, failure.message);
  }
  button.disabled = false;
}

function save(blob, file) {
  if (!blob) throw new Error("The export was cut off: the agent's harness, or the dashboard, has stopped. Try again.");
  const address = URL.createObjectURL(blob);
  el("a", { href: address, download: file }).click();
  URL.revokeObjectURL(address);
}

document.title = `Turn ${turn} of ${name} · Hyperhive`;
setText(byId("turn-name"), `Turn ${turn} of ${name}`);
byId("agent-link").href = `/agents/${encodeURIComponent(name)}`;
setText(byId("agent-link"), name);
byId("refresh").addEventListener("click", () => {
  loadFacts();
  loadEvents();
});
for (const button of document.querySelectorAll("[data-form]"))
  button.addEventListener("click", () => download(button));
openMirror(() => {}).connect();
loadFacts();
loadEvents();
