// Figures about turns in a readable form: tokens, money, lengths of time.

const COUNT = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Return a number of tokens in a short form. */
export function tokens(count) {
  if (count < 1000) return String(Math.round(count));
  if (count < 1e6) return `${(count / 1000).toFixed(count < 10_000 ? 1 : 0)} k`;
  if (count < 1e9) return `${(count / 1e6).toFixed(count < 1e8 ? 1 : 0)} M`;
  return `${(count / 1e9).toFixed(1)} G`;
}

/** Return a number with its thousands apart. */
export const exactly = (count) => COUNT.format(count);

/** Return an amount of US dollars. */
export function money(dollars) {
  if (dollars === 0) return "$0";
  return `$${dollars.toFixed(dollars < 0.01 ? 4 : 2)}`;
}

/** Return a length of time. */
export function span(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** Return how long ago a time in microseconds was, roughly. */
export function age(microseconds) {
  const seconds = Math.max(0, Date.now() / 1000 - microseconds / 1e6);
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}
