/** Flags in React with the React that they are for, in one bundle. */
export { createElement as element } from "react";
export { renderToString } from "react-dom/server.edge";

export * from "../src/react.js";
