// The addresses of the dashboard's workers, as Trusted Types want them. The content security policy allows
// this one policy, and it takes no other address.

const WORKERS = ["/static/stream_worker.js", "/worker.js"];

const policy = globalThis.trustedTypes?.createPolicy("hyperhive-worker", { createScriptURL: known });

function known(path) {
  if (WORKERS.includes(path)) return path;
  throw new TypeError(`${path} is not a worker of the dashboard.`);
}

/** Return the address of a worker, for `new SharedWorker` and `navigator.serviceWorker.register`. */
export const workerAddress = (path) => (policy ? policy.createScriptURL(path) : known(path));
