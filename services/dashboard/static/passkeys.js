// Passkeys: the browser's part of WebAuthn. The dashboard makes the challenges and verifies the answers.

import { ask, post } from "./api.js";

/** Return the reason why this browser has no passkeys; empty if it has some. */
export const missing = () =>
  globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON
    ? ""
    : "This browser has no passkeys for this address: it needs TLS, or is too old.";

/** Make a passkey and register it. */
export async function makePasskey(name) {
  const { options } = await post("/api/passkeys/begin");
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  const credential = await chosen(navigator.credentials.create({ publicKey }));
  return post("/api/passkeys", { credential: credential.toJSON(), name });
}

/** Log in with a passkey, and return the secret of the new session and its role. */
export async function logInWithPasskey() {
  const { options } = await ask("/login/passkey/begin", {});
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  const credential = await chosen(navigator.credentials.get({ publicKey }));
  return ask("/login/passkey", { credential: credential.toJSON() });
}

async function chosen(asking) {
  try {
    return await asking;
  } catch (failure) {
    if (failure.name === "InvalidStateError") throw new Error("This device has a passkey for the hive already.");
    if (failure.name === "NotAllowedError") throw new Error("No passkey was chosen.");
    throw new Error(`The browser did not use a passkey: ${failure.message}`);
  }
}
