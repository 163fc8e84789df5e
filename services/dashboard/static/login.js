// The login. The token is in the fragment of the address, which the browser sends to nobody. A button
// posts the token, so that opening the link alone does not use it up.

import { logIn } from "./api.js";
import { setSentence } from "./dom.js";
import { offerWays } from "./ways.js";
import { checkStorage, keepSession, landing, onSession, session } from "./session.js";

const form = document.getElementById("with-link");
const how = document.getElementById("how");
const error = document.getElementById("error");
const button = form.querySelector("button");
let token = null;

// Also called when another link is opened in this tab: only the fragment changes then.
function takeToken() {
  token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(null, "", "/login"); // the history must not keep the token
  show(true);
  button.focus();
}

function show(hasToken, sentence = "") {
  form.hidden = !hasToken;
  how.hidden = hasToken;
  error.hidden = !sentence;
  setSentence(error, sentence);
}

// Log in with a function that answers the session and its role.
async function enter(logInSomehow) {
  try {
    checkStorage(); // before the token is used up
    const begun = await logInSomehow();
    keepSession(begun.session, begun.role);
    location.replace(landing());
  } catch (failure) {
    show(false, failure.message);
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  await enter(() => logIn(token));
  button.disabled = false;
});

window.addEventListener("hashchange", takeToken);
takeToken();
// A login in one tab is good for all of them: each goes back to its page.
onSession((secret) => secret && !token && location.replace(landing()));
if (!token && session())
  fetch("/api/session", { headers: { "Hyperhive-Session": session() } }).then(
    (response) => response.ok && location.replace(landing()),
    () => {}, // the login page stays
  );
offerWays(enter).catch(() => {}); // a link works all the same
