// An event stream of one page alone, such as that of the journal's lines. A browser has six connections for
// all pages of the dashboard, so a page that is not shown gives its stream up.

import { EventStream } from "./event_stream.js";
import { sentenceOf } from "./sentence.js";
import { fetchAs } from "./session.js";
import { RELEASE_MS } from "./tab_stream.js";

export class PageStream {
  #path;
  #listener;
  #stream = null;
  #releasing = 0;
  #end = new AbortController(); // removes the listeners below

  /**
   * @param path returns the path to request
   * @param listener has `opened()`, `received(name, id, data)`, `lost()` when the stream ends and will
   *   connect again, and `refused(sentence)` when it will not
   */
  constructor(path, listener) {
    this.#path = path;
    this.#listener = listener;
    const again = () => this.#stream?.again();
    const options = { signal: this.#end.signal };
    addEventListener("online", again, options);
    addEventListener("pageshow", (event) => event.persisted && again(), options);
    document.addEventListener("resume", again, options);
    document.addEventListener("visibilitychange", () => this.#shown(), options);
    this.#shown();
  }

  close() {
    this.#end.abort();
    clearTimeout(this.#releasing);
    this.#stream?.close();
  }

  #shown() {
    clearTimeout(this.#releasing);
    if (document.hidden) this.#releasing = setTimeout(() => this.#release(), RELEASE_MS);
    else this.#stream ??= this.#open();
  }

  #release() {
    if (!this.#stream) return;
    this.#stream.close();
    this.#stream = null;
    this.#listener.lost();
  }

  #open() {
    const send = (lastId, signal) => {
      const headers = lastId ? { "Last-Event-ID": lastId } : {};
      return fetchAs(this.#path(), { headers, signal });
    };
    return new EventStream(send, {
      opened: () => this.#listener.opened(),
      received: (...event) => this.#listener.received(...event),
      lost: () => this.#listener.lost(),
      refused: async (response) => {
        const sentence = await sentenceOf(response);
        this.close();
        this.#listener.refused(sentence);
      },
    });
  }
}
