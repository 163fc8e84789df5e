// The sentence of a refused request. This module imports nothing: the worker of the event stream uses it, too.

/** Return the sentence of an error. A proxy's own error has none. */
export async function sentenceOf(response) {
  return (await refusalIn(response)).sentence;
}

/** Return the sentence of an error, and its name on the bus. */
export async function refusalIn(response) {
  try {
    const { error, name } = await response.json();
    return { sentence: error, name };
  } catch {
    return { sentence: `The dashboard does not answer: ${response.status} ${response.statusText}.`, name: "" };
  }
}
