/** The provider for OpenFeature's web SDK: a page has one context, and its flags change while it is open. */
import type { EvaluationContext, JsonValue, Provider, ResolutionDetails, TrackingEventDetails } from "@openfeature/web-sdk";
import { OpenFeatureEventEmitter } from "@openfeature/web-sdk";

import type { Context, Client, Options } from "../types.js";
import { ClientLife, METADATA, outcomeOf } from "./shared.js";
import type { Starter } from "./shared.js";

export type { Starter } from "./shared.js";

/** `new TidegateWebProvider(Tidegate, { url, key })`: the context is the one that the SDK is given. */
export class TidegateWebProvider implements Provider {
  readonly runsOn = "client";
  readonly metadata = METADATA;
  readonly hooks = [];
  readonly events = new OpenFeatureEventEmitter();
  /** A page is open for one context: with two domains there are two providers. */
  readonly domainScoped = true;
  readonly #life: ClientLife;

  constructor(starter: Starter, options: Omit<Options, "context">) {
    this.#life = new ClientLife(starter, options, (event, said) => this.events.emit(event as never, said));
  }

  /** The client, where more is asked of it than OpenFeature knows; none before `initialize`, and after `onClose`. */
  get client(): Client | undefined {
    return this.#life.client;
  }

  initialize(context?: EvaluationContext): Promise<void> {
    return this.#life.begin(context as Context | undefined);
  }

  onContextChange(_: EvaluationContext, context: EvaluationContext): Promise<void> {
    return this.#life.change(context as Context);
  }

  onClose(): Promise<void> {
    return this.#life.close();
  }

  resolveBooleanEvaluation(key: string, fallback: boolean): ResolutionDetails<boolean> {
    return this.#life.resolve(fallback, (client) => client.boolDetail(key, undefined, fallback));
  }

  resolveStringEvaluation(key: string, fallback: string): ResolutionDetails<string> {
    return this.#life.resolve(fallback, (client) => client.stringDetail(key, undefined, fallback));
  }

  resolveNumberEvaluation(key: string, fallback: number): ResolutionDetails<number> {
    return this.#life.resolve(fallback, (client) => client.numberDetail(key, undefined, fallback));
  }

  resolveObjectEvaluation<T extends JsonValue>(key: string, fallback: T): ResolutionDetails<T> {
    return this.#life.resolveObject(fallback, (client) => client.jsonDetail(key, undefined, fallback));
  }

  /** How something ended: `bad` and `latencyMs` are told. It counts for the flags that were checked since the last call. */
  track(name: string, _: EvaluationContext, details: TrackingEventDetails): void {
    this.client?.track(name, outcomeOf(details));
  }
}
