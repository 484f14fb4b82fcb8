/** Requests to a server that follow no stream: acknowledgements, counts, outcomes. */
import { refusal } from "./link.js";

/** How long one may take. */
const TIMEOUT_MS = 10_000;

export interface ServerOptions {
  base: string;
  key: string;
  fetch: typeof fetch;
}

/** Posts JSON; the answer, which may be empty. Throws a `LossError` for a refusal. */
export async function post({ base, key, fetch }: ServerOptions, path: string, body: string): Promise<string> {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const answer = await fetch(base + path, { method: "POST", headers, body, signal });
  const text = await answer.text();
  if (!answer.ok) throw await refusal(answer);
  return text;
}
