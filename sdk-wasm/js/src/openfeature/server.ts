/** The provider for OpenFeature's server SDK: the rules are here, and each evaluation brings its own context. */
import type { EvaluationContext, JsonValue, Provider, ResolutionDetails, TrackingEventDetails } from "@openfeature/server-sdk";
import { OpenFeatureEventEmitter } from "@openfeature/server-sdk";

import type { Client, Context, Options } from "../types.js";
import { ClientLife, METADATA, outcomeOf } from "./shared.js";
import type { Starter } from "./shared.js";

export type { Starter } from "./shared.js";

/** `new TidegateServerProvider(Tidegate, { url, key })`. */
export class TidegateServerProvider implements Provider {
  readonly runsOn = "server";
  readonly metadata = METADATA;
  readonly hooks = [];
  readonly events = new OpenFeatureEventEmitter();
  readonly #life: ClientLife;

  constructor(starter: Starter, options: Omit<Options, "context">) {
    this.#life = new ClientLife(starter, options, (event, said) => this.events.emit(event as never, said));
  }

  /** The client, where more is asked of it than OpenFeature knows; none before `initialize`, and after `onClose`. */
  get client(): Client | undefined {
    return this.#life.client;
  }

  /** The SDK adds its context to that of each evaluation itself. */
  initialize(): Promise<void> {
    return this.#life.begin(undefined);
  }

  onClose(): Promise<void> {
    return this.#life.close();
  }

  async resolveBooleanEvaluation(key: string, fallback: boolean, context: EvaluationContext): Promise<ResolutionDetails<boolean>> {
    return this.#life.resolve(fallback, (client) => client.boolDetail(key, context as Context, fallback));
  }

  async resolveStringEvaluation(key: string, fallback: string, context: EvaluationContext): Promise<ResolutionDetails<string>> {
    return this.#life.resolve(fallback, (client) => client.stringDetail(key, context as Context, fallback));
  }

  async resolveNumberEvaluation(key: string, fallback: number, context: EvaluationContext): Promise<ResolutionDetails<number>> {
    return this.#life.resolve(fallback, (client) => client.numberDetail(key, context as Context, fallback));
  }

  async resolveObjectEvaluation<T extends JsonValue>(
    key: string,
    fallback: T,
    context: EvaluationContext,
  ): Promise<ResolutionDetails<T>> {
    return this.#life.resolveObject(fallback, (client) => client.jsonDetail(key, context as Context, fallback));
  }

  /**
   * How something ended: `bad`, `latencyMs` and `costMicros` are read. It counts for the app as a whole; what is to count for the
   * flags of one request is asked of `client.scope(context)`.
   */
  track(name: string, _: EvaluationContext, details: TrackingEventDetails): void {
    this.client?.track(name, outcomeOf(details));
  }
}
