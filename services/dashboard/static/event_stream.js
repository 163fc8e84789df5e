// Server-Sent Events over fetch, because an EventSource cannot send the header with the session. As an
// EventSource does, a stream connects again by itself, and names the last event that it has seen.

import { sentenceOf } from "./api.js";
import { fetchAs } from "./session.js";

const RETRY = 500; // milliseconds until the first retry; each further one waits twice as long
const LONGEST_RETRY = 8_000;
const PATIENCE = 10_000; // for an answer; the browser may have sent the request on a dead connection
const LONG_HIDDEN = 60_000;
/** The milliseconds after which a tab that is not shown gives up its connection, if its page allows that. */
export const RELEASE_MS = 15_000;

export class EventStream {
  #path;
  #listener;
  #lastId = "";
  #request = null; // aborts the current request
  #timer = 0;
  #failures = 0;
  #hiddenSince = Date.now();
  #releases;
  #releasing = 0; // the timer after which a hidden tab gives up its connection
  #isReleased = false;
  #end = new AbortController(); // removes the listeners below

  /**
   * @param path returns the path to request
   * @param listener has `opened()`, `received(type, id, data)`, `lost()` when the stream ends and will
   *   connect again, and `refused(sentence)` when it will not
   * @param releases whether a tab that is not shown gives up its connection: a browser has only six for
   *   all pages of the dashboard, and a page of one agent is of no use in the background
   */
  constructor(path, listener, releases = false) {
    this.#path = path;
    this.#listener = listener;
    this.#releases = releases;
    // A connection may be dead without a sign of it, after the computer has slept or the tab was frozen.
    const again = () => this.#connect();
    const options = { signal: this.#end.signal };
    window.addEventListener("online", again, options);
    window.addEventListener("pageshow", (event) => event.persisted && again(), options);
    document.addEventListener("resume", again, options);
    document.addEventListener("visibilitychange", () => this.#shown(), options);
    this.#connect();
    if (document.hidden) this.#releaseSoon();
  }

  close() {
    this.#end.abort();
    this.#request?.abort();
    this.#cancel();
    clearTimeout(this.#releasing);
  }

  #shown() {
    clearTimeout(this.#releasing);
    if (document.hidden) {
      this.#hiddenSince = Date.now();
      this.#releaseSoon();
    } else if (this.#isReleased || this.#timer || Date.now() - this.#hiddenSince > LONG_HIDDEN) this.#connect();
  }

  #releaseSoon() {
    if (!this.#releases) return;
    this.#releasing = setTimeout(() => {
      this.#isReleased = true;
      this.#request?.abort();
      this.#cancel();
      this.#listener.lost();
    }, RELEASE_MS);
  }

  async #connect() {
    if (document.hidden && this.#isReleased) return;
    this.#isReleased = false;
    this.#request?.abort();
    const request = new AbortController();
    this.#request = request;
    this.#connectIn(PATIENCE);
    try {
      const headers = this.#lastId ? { "Last-Event-ID": this.#lastId } : {};
      const response = await fetchAs(this.#path(), { headers, signal: request.signal });
      if (request.signal.aborted) return;
      this.#cancel();
      if (response.ok) {
        this.#failures = 0;
        this.#listener.opened();
        await this.#read(response.body);
      } else if (response.status < 500) {
        const sentence = await sentenceOf(response);
        if (request.signal.aborted) return;
        this.close();
        this.#listener.refused(sentence);
      }
    } catch {
      // The connection is broken, or closed.
    }
    if (request.signal.aborted) return;
    this.#listener.lost();
    this.#connectIn(Math.min(RETRY * 2 ** this.#failures++, LONGEST_RETRY));
  }

  #connectIn(milliseconds) {
    this.#cancel();
    this.#timer = setTimeout(() => this.#connect(), milliseconds);
  }

  #cancel() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  async #read(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const events = (text + part.value).split("\n\n");
      text = events.pop();
      for (const event of events) this.#dispatch(event);
    }
  }

  #dispatch(event) {
    const fields = Object.fromEntries(
      event.split("\n").map((line) => {
        const colon = line.indexOf(": ");
        return [line.slice(0, colon), line.slice(colon + 2)];
      }),
    );
    this.#lastId = fields.id ?? this.#lastId; // as an EventSource does
    try {
      this.#listener.received(fields.event ?? "message", fields.id, fields.data);
    } catch (error) {
      reportError(error); // the stream goes on
    }
  }
}
