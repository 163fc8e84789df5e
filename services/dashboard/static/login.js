// The login. The token in the address is posted and never used by a GET, so that a preview or a
// prefetch of the link does not use it up.

const form = document.getElementById("with-link");
const how = document.getElementById("how");
const error = document.getElementById("error");
const token = new URLSearchParams(location.search).get("token");

async function logIn(token) {
  form.querySelector("button").disabled = true;
  try {
    const response = await fetch("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token }),
    });
    if (response.ok) {
      location.replace("/");
      return;
    }
    fail((await response.json()).error);
  } catch {
    fail("The dashboard does not answer. Run `systemctl status hive-dashboard` to see why.");
  }
}

function fail(sentence) {
  form.hidden = true;
  how.hidden = false;
  error.hidden = false;
  const parts = sentence.split("`"); // as setSentence of dom.js, which needs a session
  error.replaceChildren(...parts.map((part, index) => (index % 2 ? code(part) : part)));
}

function code(command) {
  const node = document.createElement("code");
  node.textContent = command;
  return node;
}

// A browser that comes from another site does not send its session cookie with this first request
// (SameSite=Strict), but it does with a request of our own page.
async function enterIfLoggedIn() {
  const response = await fetch("/api/session");
  if (response.ok) location.replace("/");
}

if (token) {
  history.replaceState(null, "", "/login"); // the history must not keep the token
  form.hidden = false;
  how.hidden = true;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    logIn(token);
  });
  form.querySelector("button").focus();
} else {
  enterIfLoggedIn().catch(() => {});
}
