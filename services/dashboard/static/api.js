// Requests to the dashboard. Every failure is an Error whose message is a sentence.

/** Go to the login page when the session has ended. */
export function leaveUnlessLoggedIn(status) {
  if (status === 401) location.replace("/login");
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The dashboard does not answer. Run `systemctl status hive-dashboard` to see why.");
  }
  leaveUnlessLoggedIn(response.status);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

export const get = (path) => request(path);

export const post = (path, body = {}) =>
  request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
