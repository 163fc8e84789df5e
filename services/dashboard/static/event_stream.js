// Server-Sent Events over fetch, because an EventSource cannot send the header with the session. As an
// EventSource does, a stream connects again by itself, and names the last event that it has seen.
//
// It runs in the worker that all tabs share, or in a page: it uses neither window nor document.

const RETRY = 500; // milliseconds until the first retry; each further one waits twice as long
const LONGEST_RETRY = 8_000;
const PATIENCE = 10_000; // for an answer; the browser may have sent the request on a dead connection
const SHORTEST = 500; // milliseconds between two requests that `again` asks for: each tab may ask

export class EventStream {
  #send;
  #listener;
  #lastId = "";
  #request = null; // aborts the current request
  #timer = 0;
  #failures = 0;
  #began = -Infinity; // the time of the last request
  #isClosed = false;

  /**
   * @param send sends the request, with the id of the last event and a signal; returns the response
   * @param listener has `opened()`, `received(type, id, data)`, `lost()` when the stream ends and will
   *   connect again, and `refused(response)` when it will not
   */
  constructor(send, listener) {
    this.#send = send;
    this.#listener = listener;
    this.#connect();
  }

  /** The id of the last event that has arrived; empty before the first one. */
  get lastId() {
    return this.#lastId;
  }

  /** Connect again, at once: the connection may be dead without a sign of it. */
  again() {
    const left = this.#began + SHORTEST - performance.now();
    if (left > 0) this.#connectIn(left);
    else this.#connect();
  }

  /** Send the request again, which has changed. */
  renew() {
    this.#connect();
  }

  close() {
    this.#isClosed = true;
    this.#request?.abort();
    this.#cancel();
  }

  async #connect() {
    if (this.#isClosed) return;
    this.#request?.abort();
    const request = new AbortController();
    this.#request = request;
    this.#began = performance.now();
    this.#connectIn(PATIENCE);
    try {
      const response = await this.#send(this.#lastId, request.signal);
      if (request.signal.aborted) return;
      this.#cancel();
      if (response.ok) {
        this.#failures = 0;
        this.#listener.opened();
        await this.#read(response.body, request.signal);
      } else if (response.status < 500) {
        this.close();
        this.#listener.refused(response);
        return;
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

  async #read(body, signal) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const events = (text + part.value).split("\n\n");
      text = events.pop();
      for (const event of events) {
        if (signal.aborted) return; // the next connection brings the rest
        this.#dispatch(event);
      }
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
