// The page of a terminal in an agent's container. The container is hostile: its output draws cells, and
// does nothing else. It sets no title, makes no links, and reaches no clipboard.

import { post } from "./api.js";
import { setText, showError } from "./dom.js";

const name = decodeURIComponent(location.pathname.split("/")[2]);
const page = `/agents/${encodeURIComponent(name)}`;
const state = document.getElementById("state");
const error = document.getElementById("error");
const again = document.getElementById("again");
const close = document.getElementById("close");
const screen = document.getElementById("screen");

/** The commands (OSC) that do more than draw: titles, directories, links, clipboard, notifications, files. */
const IGNORED = [0, 1, 2, 3, 6, 7, 8, 9, 22, 52, 133, 633, 777, 1337];
const ACKNOWLEDGED = 32 * 1024; // the bytes after which the page says that it has drawn them
const USER_MS = 250; // an answer of the terminal itself does not come after a key

const encoder = new TextEncoder();

/** Return the colours of the page, which follow its theme. */
function theme() {
  const probe = document.createElement("span"); // the value of a variable may be an expression
  screen.append(probe);
  const colour = (variable) => {
    probe.style.color = `var(${variable})`;
    return getComputedStyle(probe).color;
  };
  const colours = {
    background: colour("--panel"),
    foreground: colour("--text"),
    cursor: colour("--accent"),
    cursorAccent: colour("--panel"),
    selectionBackground: colour("--line-strong"),
  };
  probe.remove();
  return colours;
}

class Session {
  #terminal;
  #fit;
  #socket = null;
  #drawn = 0;
  #used = -Infinity; // when the operator has last done something here
  #why = "The connection was lost.";

  constructor(Terminal, FitAddon) {
    this.#terminal = new Terminal({
      allowProposedApi: false,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
      fontSize: 13,
      linkHandler: { activate: () => {} },
      logLevel: "off",
      minimumContrastRatio: 4.5,
      screenReaderMode: false,
      scrollback: 5000,
      theme: theme(),
      windowOptions: {},
    });
    this.#fit = new FitAddon();
    this.#terminal.loadAddon(this.#fit);
    for (const command of IGNORED) this.#terminal.parser.registerOscHandler(command, () => true);
    this.#terminal.attachCustomKeyEventHandler((event) => !this.#leaves(event));
    this.#terminal.open(screen);
    this.#terminal.textarea?.setAttribute("aria-label", `Terminal of ${name}`);
    for (const kind of ["keydown", "paste", "input", "compositionend", "pointerdown", "wheel"])
      screen.addEventListener(kind, () => (this.#used = performance.now()), { capture: true, passive: true });
    this.#terminal.onData((text) => this.#send(text));
    this.#terminal.onBinary((text) => this.#bytes(Uint8Array.from(text, (one) => one.charCodeAt(0) & 255)));
    this.#terminal.onResize(({ rows, cols }) => this.#say({ rows, columns: cols }));
    new ResizeObserver(() => this.#fit.fit()).observe(screen);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour());
    new MutationObserver(() => this.recolour()).observe(document.documentElement, { attributes: true });
  }

  recolour() {
    this.#terminal.options.theme = theme();
  }

  /** Open none until the reader presses the button. */
  wait() {
    this.#ended("Another site has led to this page. “Open another” opens the terminal.");
  }

  /** Open a terminal in place of the one that has ended. */
  async open() {
    showError(error);
    show("connecting", "Connecting");
    this.#why = "The connection was lost.";
    let path;
    try {
      ({ path } = await post(`/api${page}/terminal`));
    } catch (failure) {
      this.#ended(failure.message);
      return;
    }
    this.#terminal.reset();
    this.#drawn = 0;
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.addEventListener("open", () => {
      this.#fit.fit();
      this.#say({ rows: this.#terminal.rows, columns: this.#terminal.cols });
      show("live", "Live");
      this.#terminal.focus();
    });
    socket.addEventListener("message", ({ data }) => {
      if (typeof data === "string") this.#why = JSON.parse(data).ended ?? this.#why;
      else this.#draw(new Uint8Array(data));
    });
    socket.addEventListener("close", () => {
      if (this.#socket === socket) this.#ended(this.#why);
    });
  }

  close() {
    this.#why = "You have closed it.";
    this.#socket?.close();
  }

  #draw(data) {
    this.#terminal.write(data, () => {
      this.#drawn += data.length;
      if (this.#drawn < ACKNOWLEDGED) return;
      this.#say({ drawn: this.#drawn });
      this.#drawn = 0;
    });
  }

  // The terminal also sends what a program asks for, such as the place of the cursor. That is no key.
  #send(text) {
    if (performance.now() - this.#used < USER_MS) this.#bytes(encoder.encode(text));
    else this.#say({ reply: text });
  }

  #bytes(data) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    const most = 32 * 1024;
    for (let at = 0; at < data.length; at += most) this.#socket.send(data.subarray(at, at + most));
  }

  #say(word) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(word));
  }

  #leaves(event) {
    if (event.key !== "Escape" || !event.shiftKey) return false;
    if (event.type === "keydown") close.focus();
    return true;
  }

  #ended(sentence) {
    this.#socket = null;
    show("lost", "Closed");
    showError(error, sentence);
    again.hidden = false;
    close.hidden = true;
  }
}

function show(link, text) {
  state.dataset.state = link;
  setText(state, text);
  again.hidden = true;
  close.hidden = false;
}

document.title = `Terminal of ${name} · Hyperhive`;
setText(document.getElementById("title"), `Terminal of ${name}`);
const link = document.getElementById("agent-link");
link.href = page;
setText(link, name);

try {
  const [{ Terminal }, { FitAddon }] = await Promise.all([import("./xterm.js"), import("./xterm-addon-fit.js")]);
  const session = new Session(Terminal, FitAddon);
  again.addEventListener("click", () => session.open());
  close.addEventListener("click", () => session.close());
  // Another site must not decide when a shell runs, and where the next keys go.
  if ("linked" in document.querySelector("main").dataset) session.wait();
  else await session.open();
} catch {
  show("lost", "Closed");
  close.hidden = true;
  showError(error, "This installation has no terminal, because the files of xterm.js are missing. `make install` fetches them.");
}
