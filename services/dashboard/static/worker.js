// The service worker: shows notifications, also when no page is open, and leads to the thing itself. It
// caches nothing and answers no requests; pages work in the same way without it.

const SESSION = "hyperhive-session"; // the cache in which notifications.js keeps the session for this worker

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));

addEventListener("push", (event) => {
  event.waitUntil(pushed(event.data.json()));
});

addEventListener("notificationclick", (event) => {
  const { notification, action } = event;
  notification.close();
  const { choices = [] } = notification.data;
  const choice = choices[Number(action.replace("choice-", ""))];
  event.waitUntil(action && choice !== undefined ? answer(notification, choice) : open(notification.data));
});

// The notification of a hive whose page is in front of the reader would only repeat the page.
async function pushed(news) {
  const windows = await clients.matchAll({ type: "window", includeUncontrolled: true });
  if (windows.some((page) => page.focused)) return;
  await show(news);
}

function show({ event, number, title, text, choices = [], at }) {
  return registration.showNotification(title, {
    body: text,
    tag: `${event}-${number}`,
    timestamp: at / 1000,
    icon: "/static/icon-192.png",
    badge: "/static/icon-192.png",
    data: { event, number, choices },
    actions: choices.map((choice, index) => ({ action: `choice-${index}`, title: choice })),
  });
}

async function open({ event, number }) {
  const address = new URL(`/#${event}-${number}`, location.origin).href;
  const windows = await clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = windows.find((one) => new URL(one.url).pathname === "/");
  if (!page) return clients.openWindow(address);
  page.postMessage({ lead: `#${event}-${number}` });
  return page.focus();
}

async function answer(notification, choice) {
  const { event, number } = notification.data;
  let sentence = "The dashboard does not answer.";
  try {
    const kept = await (await caches.open(SESSION)).match("/");
    const response = await fetch(`/api/questions/${number}/answer`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Hyperhive-Session": (await kept?.text()) ?? "" },
      body: JSON.stringify({ answer: [choice] }),
    });
    if (response.ok) return;
    sentence = (await response.json()).error;
  } catch {
    // The sentence says so.
  }
  await show({ event, number, title: "Your answer was not taken", text: sentence, at: Date.now() * 1000 });
}
