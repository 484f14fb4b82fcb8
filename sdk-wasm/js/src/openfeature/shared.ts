/**
 * What both OpenFeature providers are made of: the life of a client, what the SDK is told of it, and answers in OpenFeature's
 * words. The SDK itself says READY, ERROR and CONTEXT_CHANGED when what it asked for is done; said here too, each handler would
 * hear them twice. So this says only what the SDK does not know: what comes and goes by itself.
 */
import {
  AllProviderEvents,
  ErrorCode,
  InvalidContextError,
  OpenFeatureError,
  ProviderFatalError,
  ProviderNotReadyError,
  StandardResolutionReasons,
} from "@openfeature/core";
import type { FlagMetadata, ResolutionDetails, TrackingEventDetails } from "@openfeature/core";

import { messageOf } from "../guard.js";
import type { Change, Client, Context, Detail, Options, Outcome, Problem, Status } from "../types.js";

/** Makes clients: `Tidegate`. */
export interface Starter {
  start(options: Options): Promise<Client>;
}

/** Events that come by themselves. */
export type Spontaneous =
  | AllProviderEvents.Ready
  | AllProviderEvents.Stale
  | AllProviderEvents.Error
  | AllProviderEvents.ConfigurationChanged;

/** What an event says besides its name. */
export type Said = {
  message?: string;
  errorCode?: ErrorCode;
  flagsChanged?: string[];
  metadata?: FlagMetadata;
};

/** How the SDK believes that the provider stands. */
type Standing = "none" | "ready" | "stale" | "error" | "fatal";

export const METADATA = Object.freeze({ name: "tidegate" });

/** A client from the moment that the SDK asks for it until it is closed. */
export class ClientLife {
  client: Client | undefined;
  #told: Standing = "none";
  /** Which of the clients that were asked for is the last. */
  #number = 0;
  /** Requests of the SDK that are not done yet: what it says at their end comes first. */
  #asked = 0;

  constructor(
    private readonly starter: Starter,
    private readonly options: Options,
    private readonly emit: (event: Spontaneous, said: Said) => void,
  ) {}

  /** Done when there are flags; rejects if there are none within `waitMs`. Flags that come later make it ready all the same. */
  begin(context: Context | undefined): Promise<void> {
    return this.#request(() => this.#start(context));
  }

  /** Done when the flags of another context are in place. */
  change(context: Context): Promise<void> {
    const { client } = this;
    // One that could not begin with the context before may with this.
    if (client === undefined) return this.begin(context);
    return this.#request(async () => {
      try {
        await client.setContext(context);
      } catch (error) {
        throw new InvalidContextError(messageOf(error));
      }
      if (this.client === client) expectFlags(client.status());
    });
  }

  /** What the client answers. */
  resolve<T>(fallback: T, ask: (client: Client) => Detail<T>): ResolutionDetails<T> {
    const { client } = this;
    return client === undefined ? failure(fallback, "not_ready") : resolution(ask(client), fallback);
  }

  /** The same for objects: flags of the other types are none. */
  resolveObject<T>(fallback: T, ask: (client: Client) => Detail<T>): ResolutionDetails<T> {
    return this.resolve(fallback, (client) => {
      const detail = ask(client);
      const isObject = typeof detail.value === "object" && detail.value !== null;
      return isObject ? detail : { error: "type_mismatch", ...detail };
    });
  }

  /** May be called again and again, and at any time. */
  async close(): Promise<void> {
    this.#number++;
    this.#told = "none";
    const { client } = this;
    this.client = undefined;
    await client?.close();
  }

  async #start(context: Context | undefined): Promise<void> {
    const before = this.close();
    const number = this.#number;
    await before;
    let client: Client;
    try {
      client = await this.starter.start(context === undefined ? this.options : { ...this.options, context });
    } catch (error) {
      const why = messageOf(error);
      throw isKeyed(context) ? new ProviderFatalError(why) : new InvalidContextError(why);
    }
    if (number !== this.#number) {
      await client.close();
      throw new ProviderNotReadyError("the provider was closed before it was ready");
    }
    this.client = client;
    client.on("status", () => this.#say());
    client.on("change", (change) => this.#changed(change));
    expectFlags(client.status());
  }

  /** The SDK asks for something, and says itself how that ended. */
  #request(run: () => Promise<void>): Promise<void> {
    this.#asked++;
    const done = run();
    const ended = (told: Standing) => {
      this.#asked--;
      this.#told = told;
      this.#say();
    };
    // The SDK listens as soon as it has this promise: what is said in here is said after what the SDK says.
    queueMicrotask(() => void done.then(() => ended("ready"), (error: unknown) => ended(isFatal(error) ? "fatal" : "error")));
    return done;
  }

  /** Tells the SDK how the provider stands, if that is not what it believes. */
  #say(): void {
    if (this.#asked > 0 || this.client === undefined) return;
    const status = this.client.status();
    const now = standingOf(status);
    if (now === "none" || now === this.#told) return;
    this.#told = now;
    if (now === "ready") return this.emit(AllProviderEvents.Ready, {});
    const message = whyOf(status);
    if (now === "stale") return this.emit(AllProviderEvents.Stale, { message });
    const errorCode = now === "fatal" ? ErrorCode.PROVIDER_FATAL : ErrorCode.PROVIDER_NOT_READY;
    this.emit(AllProviderEvents.Error, { message, errorCode });
  }

  #changed({ flags, killIds, revision }: Change): void {
    // That everything is another's is what the SDK is about to say; of kills it knows nothing.
    if (this.#asked > 0 && flags === "all" && killIds.length === 0) return;
    const metadata: FlagMetadata = { "tidegate.revision": revision };
    if (killIds.length > 0) metadata["tidegate.kill_ids"] = killIds.join(" ");
    const said: Said = { metadata };
    if (flags !== "all") said.flagsChanged = [...flags];
    this.emit(AllProviderEvents.ConfigurationChanged, said);
  }
}

/** A flag that is for a part of all units is off for who has none, which OpenFeature calls an error. */
type Failure = Problem | "targeting_key_missing";

const CODES: Record<Failure, ErrorCode> = {
  not_ready: ErrorCode.PROVIDER_NOT_READY,
  flag_not_found: ErrorCode.FLAG_NOT_FOUND,
  type_mismatch: ErrorCode.TYPE_MISMATCH,
  invalid_context: ErrorCode.INVALID_CONTEXT,
  targeting_key_missing: ErrorCode.TARGETING_KEY_MISSING,
  other_context: ErrorCode.GENERAL,
  internal: ErrorCode.GENERAL,
};

const MESSAGES: Record<Failure, string> = {
  not_ready: "there are no flags yet",
  flag_not_found: "there is no such flag in this environment, or it is not for pages",
  type_mismatch: "the flag is of another type",
  invalid_context: "the context cannot be read: it goes in circles, is too large, or its targeting key is no text",
  targeting_key_missing: "the context has no targeting key",
  other_context: "the flag's values are those of another context",
  internal: "something went wrong inside; the client goes on",
};

/** A client's answer in OpenFeature's words. */
function resolution<T>(detail: Detail<T>, fallback: T): ResolutionDetails<T> {
  const { value, variant, reason, standard, revision, split, error } = detail;
  if (error !== undefined) return failure(fallback, error);
  if (reason === "no_unit") return failure(fallback, "targeting_key_missing");
  const flagMetadata: FlagMetadata = { "tidegate.reason": reason };
  if (revision !== undefined) flagMetadata["tidegate.revision"] = revision;
  if (split !== undefined) flagMetadata["tidegate.split"] = split;
  const details: ResolutionDetails<T> = { value, reason: standard, flagMetadata };
  if (variant !== undefined) details.variant = variant;
  return details;
}

/** The answer when there is none. */
function failure<T>(value: T, problem: Failure): ResolutionDetails<T> {
  return { value, reason: StandardResolutionReasons.ERROR, errorCode: CODES[problem], errorMessage: MESSAGES[problem] };
}

/** Of what is tracked, what says how something ended. */
export function outcomeOf(details: TrackingEventDetails): Outcome & { value?: number } {
  const outcome: Outcome & { value?: number } = {};
  const { bad, value, latencyMs, costMicros } = details ?? {};
  if (typeof bad === "boolean") outcome.bad = bad;
  if (typeof value === "number") outcome.value = value;
  if (typeof latencyMs === "number") outcome.latencyMs = latencyMs;
  if (typeof costMicros === "number") outcome.costMicros = costMicros;
  return outcome;
}

function standingOf(status: Status): Standing {
  switch (status.state) {
    case "live":
      return "ready";
    case "cached":
    case "stale":
      return "stale";
    case "offline":
      return status.unauthorized ? "fatal" : "error";
    case "starting":
      return "none";
  }
}

/** Rejects for a client without flags. */
function expectFlags(status: Status): void {
  const standing = standingOf(status);
  if (standing === "fatal") throw new ProviderFatalError(whyOf(status));
  if (standing === "error" || standing === "none") throw new ProviderNotReadyError(whyOf(status));
}

function whyOf(status: Status): string {
  const why = "why" in status ? status.why : undefined;
  if (status.state === "cached") return `flags are those that were kept: the server was not heard yet${why ? ` (${why})` : ""}`;
  return why || "the server was not heard in time";
}

function isKeyed(context: Context | undefined): boolean {
  const key = context?.targetingKey as unknown;
  return key === undefined || key === null || typeof key === "string";
}

function isFatal(error: unknown): boolean {
  return error instanceof OpenFeatureError && error.code === ErrorCode.PROVIDER_FATAL;
}
