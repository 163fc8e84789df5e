// Logging in. The token in the address is posted, never used by a GET, so that whoever only
// looks at the link (a preview, a prefetch) does not use it up.

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
    fail("The dashboard does not answer: see `systemctl status hive-dashboard`.");
  }
}

function fail(sentence) {
  form.hidden = true;
  how.hidden = false;
  error.hidden = false;
  error.textContent = sentence;
}

// Whoever comes here from another site has a session that this first request did not show
// (SameSite=Strict): asking again from our own page shows it.
async function enterIfLoggedIn() {
  const response = await fetch("/api/session");
  if (response.ok) location.replace("/");
}

if (token) {
  history.replaceState(null, "", "/login"); // a used token has no place in the history
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
