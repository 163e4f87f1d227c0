/** Asks the page's own server, which adds the API key and passes the gateway's stream through. */

/**
 * @param {{messages: object[], user: string, n: number}} request
 * @param {(choice: number, words: string) => void} hear  called as the words come
 * @returns {Promise<object>} the last chunk, which says what feedback needs to know
 */
export async function ask(request, hear) {
  const response = await fetch("/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...request, model: "heliotrope", stream: true }),
  });
  if (!response.ok) throw new Error((await response.json().catch(() => null))?.error?.message ?? "No answer came.");
  let last;
  for await (const chunk of readEvents(response.body)) {
    if (chunk.error) throw new Error(chunk.error.message);
    for (const { index, delta } of chunk.choices ?? []) if (delta?.content) hear(index, delta.content);
    last = chunk;
  }
  return last;
}

/** The JSON of server-sent events, until `[DONE]`. */
async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part; !(part = await reader.read()).done; ) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line === "data: [DONE]") return;
      if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
    }
  }
}
