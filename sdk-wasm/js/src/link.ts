/**
 * A way to the server, as the driver sees it, and what all ways have in common: requests, their refusals, and streams that
 * are read to their end.
 */
import { messageOf } from "./guard.js";

/** Why there is no connection. `advice`: waiting mends nothing, and this, said after why, says what may. */
export type Loss =
  | { kind: "ended"; advice?: undefined }
  | { kind: "failed"; what: string; advice?: string }
  | { kind: "refused"; status: number; retryAfterMs: number; advice?: string };

const NOT_OURS = "this is no Tidegate server";
const ADVICE = "; check `url` and `key` (`tidegate token create`)";

/** Who is told what comes of a connection. */
export interface Ears {
  connected(): void;
  bytes(chunk: Uint8Array): void;
  lost(loss: Loss): void;
}

/** Opens connections when told to, one at a time. */
export interface Link {
  /** Opens a connection that goes on from this token. */
  connect(resume: string | undefined): void;
  /** Closes it; nothing more of it is told. */
  disconnect(): void;
  /** The server said something that is no frame. */
  said?(name: string, data: string): void;
  /** What the client serves now, where servers want to know. */
  ack?(revision: number, killIds: string[]): void;
  /** The page went out of sight, or came back. */
  rest?(resting: boolean): void;
  close(): void;
}

/** A connection that did not come to be, or broke. */
export class LossError extends Error {
  constructor(readonly loss: Loss) {
    super(loss.kind);
  }
}

/** What went wrong, for the machine. */
export function lossOf(error: unknown): Loss {
  return error instanceof LossError ? error.loss : { kind: "failed", what: messageOf(error) };
}

/** The loss that an answer other than the wanted one is. A `Retry-After` counts if it is a number of seconds. */
export async function refusal(answer: Response): Promise<LossError> {
  const { status, headers } = answer;
  const said = (await answer.json().catch(() => {})) as { detail?: unknown } | undefined;
  const loss: Loss = { kind: "refused", status, retryAfterMs: Number(headers.get("retry-after")) * 1000 || 0 };
  // At 400 what was asked was wrong, not where or by whom.
  if (status < 500 && !/408|41[03]|429/.test(`${status}`)) loss.advice = `: ${said?.detail ?? NOT_OURS}${status === 400 ? "" : ADVICE}`;
  return new LossError(loss);
}

/** Somebody answered, but no Tidegate server. */
export function notOurs(): LossError {
  return new LossError({ kind: "failed", what: NOT_OURS, advice: ADVICE });
}

/** Reads an event stream to its end, piece by piece. Throws a `LossError` when it is over, as it always is some day. */
export async function listen(answer: Response, hear: (chunk: Uint8Array) => void): Promise<never> {
  if (answer.status !== 200) throw await refusal(answer);
  if (!/^\s*text\/event-stream/.test(`${answer.headers.get("content-type")}`)) throw notOurs();
  const reader = (answer.body as NonNullable<typeof answer.body>).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new LossError({ kind: "ended" });
    hear(value);
  }
}

/** An address without a slash at its end. Throws for what can be none of a server. */
export function baseOf(url: string | undefined): string {
  try {
    const { origin, pathname, href } = new URL(url as string, globalThis.document?.baseURI);
    // With a query, a fragment, a password or another protocol it is more than that.
    if (url && /^https?:/.test(origin) && href === origin + pathname) return href.replace(/\/+$/, "");
  } catch {
    // No address at all.
  }
  throw new Error(`\`url\` has to be an address like https://flags.example.org, with no password or query`);
}
