// Requests to the dashboard. Whatever goes wrong arrives as an Error whose message is a sentence.

/** Leave for the login page when the session is over. */
export function leaveUnlessLoggedIn(status) {
  if (status === 401) location.replace("/login");
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The dashboard does not answer. Is hive-dashboard.service running?");
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
