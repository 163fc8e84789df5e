// A page's end of the event stream that all tabs of this browser share. A browser without shared workers
// (some phones) has a stream for each tab; there, a tab that is not shown gives up its connection.

import { leave, session } from "./session.js";
import { Hub } from "./stream_hub.js";
import { version } from "./version.js";
import { workerAddress } from "./worker_address.js";

const WORKER = "/static/stream_worker.js";
const LONG_HIDDEN = 60_000;
/** The milliseconds after which a tab that is not shown gives up a connection of its own. */
export const RELEASE_MS = 15_000;

export class TabStream {
  #listener;
  #tail;
  #port = null;
  #isShared = false;
  #hiddenSince = Date.now();
  #releasing = 0;
  #isReleased = false;
  #end = new AbortController(); // removes the listeners below

  /**
   * @param listener has `opened()`, `received(name, id, data)`, `tailed(item)`, `lost()` when the stream
   *   ends and will connect again, and `refused(sentence)` when it will not
   * @param tail null, or has `agent` and `after()`, the last event of the tail that the page has
   */
  constructor(listener, tail) {
    this.#listener = listener;
    this.#tail = tail;
    // A connection may be dead without a sign of it, after the computer has slept or the tab was frozen.
    const again = () => this.#port.postMessage({ tell: "again" });
    const options = { signal: this.#end.signal };
    addEventListener("online", again, options);
    addEventListener("pagehide", () => this.#port.postMessage({ tell: "leave" }), options);
    addEventListener("pageshow", (event) => event.persisted && (this.#join(), again()), options);
    document.addEventListener("resume", again, options);
    document.addEventListener("visibilitychange", () => this.#shown(), options);
    this.#connect();
    if (document.hidden) this.#releaseSoon();
  }

  close() {
    this.#end.abort();
    clearTimeout(this.#releasing);
    this.#port.postMessage({ tell: "leave" });
    this.#port.onmessage = null;
  }

  #connect() {
    this.#isShared = "SharedWorker" in globalThis;
    if (!this.#isShared) {
      this.#connectAlone();
      return;
    }
    // A worker of an older dashboard goes on as long as a tab of that time is open: it is not used.
    const worker = new SharedWorker(workerAddress(WORKER), { type: "module", name: version });
    worker.addEventListener("error", () => this.#isShared && this.#connectAlone(), { signal: this.#end.signal });
    this.#use(worker.port);
  }

  #connectAlone() {
    this.#isShared = false;
    const { port1, port2 } = new MessageChannel();
    new Hub().add(port2);
    this.#use(port1);
  }

  #use(port) {
    this.#port = port;
    port.onmessage = ({ data }) => this.#told(data);
    this.#join();
  }

  #join() {
    this.#isReleased = false;
    const { agent = null } = this.#tail ?? {};
    this.#port.postMessage({ tell: "join", session: session() ?? "", agent, after: this.#tail?.after() ?? null });
  }

  #told(message) {
    if (this.#isReleased) return;
    if (message.tell === "event") this.#listener.received(message.name, message.id, message.data);
    else if (message.tell === "tail") this.#listener.tailed(message.item);
    else if (message.tell === "opened") this.#listener.opened();
    else if (message.tell === "lost") this.#listener.lost();
    else if (message.tell === "refused") this.#listener.refused(message.sentence);
    else if (message.tell === "unauthorized") {
      // Another tab may have begun a newer session meanwhile.
      if (session() && session() !== message.session) this.#join();
      else leave(message.session);
    }
  }

  #shown() {
    clearTimeout(this.#releasing);
    if (document.hidden) {
      this.#hiddenSince = Date.now();
      this.#releaseSoon();
    } else if (this.#isReleased) this.#join();
    else {
      this.#port.postMessage({ tell: "shown" });
      if (Date.now() - this.#hiddenSince > LONG_HIDDEN) this.#port.postMessage({ tell: "again" });
    }
  }

  #releaseSoon() {
    this.#releasing = setTimeout(() => {
      if (this.#isShared) return;
      this.#isReleased = true;
      this.#port.postMessage({ tell: "leave" });
      this.#listener.lost();
    }, RELEASE_MS);
  }
}
