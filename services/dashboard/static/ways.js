// The ways to log in besides a link: a passkey, and the user whom a proxy has logged in.

import { ask } from "./api.js";
import { logInWithPasskey, missing } from "./passkeys.js";
import { putText } from "./text.js";

const box = document.getElementById("ways");

/**
 * Offer the ways that there are.
 * @param begin called with a function that logs in, when somebody has chosen it
 */
export async function offerWays(begin) {
  const { user, passkeys } = await ask("/login/ways");
  const offer = (name, isThere, logIn) => {
    const button = box.querySelector(`[data-way="${name}"]`);
    button.hidden = !isThere;
    button.addEventListener("click", async () => {
      button.disabled = true;
      await begin(logIn);
      button.disabled = false;
    });
  };
  putText(box.querySelector("[data-way=proxy] span"), user);
  offer("proxy", user !== "", () => ask("/login/proxy", {}));
  offer("passkey", passkeys && !missing(), logInWithPasskey);
  box.hidden = [...box.children].every((button) => button.hidden);
}
