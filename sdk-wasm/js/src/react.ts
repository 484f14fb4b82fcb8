/**
 * Flags in React: a component that uses one is rendered again when its answer changes, a kill included.
 * `<TidegateProvider client={client}>` around the app, `useFlag("checkout", false)` in it.
 */
"use client";

import { createContext, createElement, useCallback, useContext, useSyncExternalStore } from "react";
import type { ReactElement, ReactNode } from "react";

import type { Client, Status } from "./types.js";

const Given = createContext<Client | undefined>(undefined);

/** Gives all below it a client. Without one, as before `Tidegate.start` is done, flags answer their fallbacks. */
export function TidegateProvider({ client, children }: { client: Client | undefined; children?: ReactNode }): ReactElement {
  return createElement(Given.Provider, { value: client }, children);
}

/** The client, for all that is no flag. */
export function useTidegate(): Client | undefined {
  return useContext(Given);
}

/**
 * A flag's value for the page's context, of the type of the fallback; the fallback, if there is none. What is rendered on a
 * server is rendered with fallbacks, and so is the first rendering in the page, which has to be the same.
 */
export function useFlag(key: string, fallback: boolean): boolean;
export function useFlag(key: string, fallback: string): string;
export function useFlag(key: string, fallback: number): number;
export function useFlag<T extends object>(key: string, fallback: T): T;
export function useFlag(key: string, fallback: unknown): unknown {
  const client = useContext(Given);
  return useSyncExternalStore(
    useListening(client),
    () => check(client, key, fallback),
    () => fallback,
  );
}

const STARTING: Status = { state: "starting" };

/** How the client stands with its server, as for a note that says so. */
export function useStatus(): Status {
  const client = useContext(Given);
  return useSyncExternalStore(
    useListening(client),
    () => client?.status() ?? STARTING,
    () => STARTING,
  );
}

/** Listens to all that may change an answer, as long as the client is the same. */
function useListening(client: Client | undefined): (run: () => void) => () => void {
  return useCallback(
    (run) => {
      const ends = [client?.on("change", run), client?.on("status", run)];
      return () => ends.forEach((end) => end?.());
    },
    [client],
  );
}

function check(client: Client | undefined, key: string, fallback: unknown): unknown {
  if (client === undefined) return fallback;
  switch (typeof fallback) {
    case "boolean":
      return client.bool(key, undefined, fallback);
    case "string":
      return client.string(key, undefined, fallback);
    case "number":
      return client.number(key, undefined, fallback);
    default: {
      const value = client.json(key, undefined, fallback);
      return typeof value === "object" && value !== null ? value : fallback;
    }
  }
}
