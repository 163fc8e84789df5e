// The shared worker: one event stream for all tabs of this browser.

import { Hub } from "./stream_hub.js";

const hub = new Hub();

addEventListener("connect", ({ ports: [port] }) => hub.add(port));
