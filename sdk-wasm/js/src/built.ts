/** What the build puts in. */
declare const TIDEGATE_VERSION: string;

/** The name and version of this package, as servers see it. */
export const SDK = `tidegate-js/${typeof TIDEGATE_VERSION === "string" ? TIDEGATE_VERSION : "0.0.0"}`;
