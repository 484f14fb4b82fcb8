/** The providers with the SDKs that they are for, in one bundle: there is one of each, as in an app. */
export * as core from "@openfeature/core";
export * as server from "@openfeature/server-sdk";
export * as web from "@openfeature/web-sdk";

export { TidegateServerProvider } from "../src/openfeature/server.js";
export { TidegateWebProvider } from "../src/openfeature/web.js";
