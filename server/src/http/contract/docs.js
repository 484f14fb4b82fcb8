// Shows the description at /openapi.json. Everything is made as text nodes and elements: nothing in it can become markup.
"use strict";

const make = (name, about, ...children) => {
  const { className, ...attributes } = about || {};
  const element = document.createElement(name);
  if (className) element.className = className;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

// `code`, **bold** and [links](/to/pages) of the descriptions.
const marked = (text) => {
  const parts = String(text).split(/(`[^`]*`|\*\*[^*]*\*\*|\[[^\]]*\]\([^)]*\))/);
  return parts.map((part) => {
    const link = /^\[([^\]]*)\]\((\/[^)]*)\)$/.exec(part);
    if (link) return make("a", { href: link[2] }, ...marked(link[1]));
    if (part.startsWith("`") && part.endsWith("`") && part.length > 1) return make("code", null, part.slice(1, -1));
    if (part.startsWith("**") && part.length > 4) return make("strong", null, part.slice(2, -2));
    return part;
  });
};
const paragraphs = (text) => (text || "").split("\n\n").filter(Boolean).map((part) => make("p", null, ...marked(part)));
const json = (value) => make("pre", null, typeof value === "string" ? value : JSON.stringify(value, null, 2));
const nameOf = (reference) => reference.split("/").pop();

// A schema in a few words, with links to those that have names.
const type = (schema) => {
  if (!schema || schema === true) return ["anything"];
  if (schema.$ref) return [make("a", { href: `#schema-${nameOf(schema.$ref)}` }, nameOf(schema.$ref))];
  if ("const" in schema) return [make("code", null, JSON.stringify(schema.const))];
  if (schema.enum) return schema.enum.flatMap((one, at) => [at ? " | " : "", make("code", null, JSON.stringify(one))]);
  const either = schema.anyOf || schema.oneOf;
  if (either) return either.flatMap((one, at) => [at ? " or " : "", ...type(one)]);
  if (schema.allOf) return schema.allOf.flatMap((one, at) => [at ? " and " : "", ...type(one)]);
  if (schema.type === "array") return ["list of ", ...type(schema.items)];
  if (schema.type === "object" && schema.properties) return ["object"];
  if (schema.type === "object" && typeof schema.additionalProperties === "object") {
    return ["object of ", ...type(schema.additionalProperties)];
  }
  const bounds = [];
  if (schema.format) bounds.push(schema.format);
  if (schema.pattern) bounds.push(schema.pattern);
  if ("minimum" in schema) bounds.push(`from ${schema.minimum}`);
  if ("maximum" in schema) bounds.push(`to ${schema.maximum}`);
  const words = Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type || "anything";
  return [words, ...(bounds.length ? [" (", make("code", null, bounds.join(", ")), ")"] : [])];
};

const row = (name, required, schema, about) => make("tr", null,
  make("td", null, make("code", null, name), required ? " *" : ""),
  make("td", null, ...type(schema)),
  make("td", null, ...marked(about || (schema && schema.description) || "")));
const table = (rows) => make("div", { className: "scroll" }, make("table", null, make("tbody", null, ...rows)));

// The members of an object, and the alternatives of what may be one of several.
const members = (schema) => {
  const shown = [];
  if (schema.properties) {
    const required = schema.required || [];
    shown.push(table(Object.entries(schema.properties).map(([name, one]) => row(name, required.includes(name), one))));
  } else if (!(schema.oneOf || schema.anyOf)) {
    shown.push(make("p", null, ...type(schema)));
  }
  for (const one of schema.oneOf || schema.anyOf || []) {
    shown.push(...paragraphs(one.description), ...(one.properties ? members(one) : [make("p", null, ...type(one))]));
  }
  return shown;
};

const operation = (method, path, told) => {
  const parts = [...paragraphs(told.description)];
  if (told.parameters) {
    const rows = told.parameters.map((one) => row(`${one.name} (${one.in})`, one.required, one.schema, one.description));
    parts.push(make("h3", null, "Parameters"), table(rows));
  }
  const body = told.requestBody && Object.values(told.requestBody.content)[0];
  if (body) {
    parts.push(make("h3", null, told.requestBody.required ? "Body" : "Body (may be left out)"),
      make("p", null, ...type(body.schema)), json(body.example));
  }
  parts.push(make("h3", null, "Answers"));
  for (const [status, answer] of Object.entries(told.responses)) {
    const content = answer.content && Object.values(answer.content)[0];
    const headers = Object.keys(answer.headers || {});
    const next = Object.keys(answer.links || {}).flatMap((id, at) => [at ? ", " : "", make("a", { href: `#operation-${id}` }, id)]);
    const [verdict, first, ...rest] = [Number(status) < 400 ? "ok" : "no", ...answer.description.split("\n\n")];
    parts.push(make("p", null, make("strong", { className: verdict }, status), " ", ...marked(first || ""),
      ...rest.flatMap((line) => [make("br"), ...marked(line)]),
      ...(content && Number(status) < 400 ? [" ", ...type(content.schema)] : []),
      headers.length ? make("br") : null, headers.length ? make("small", null, `Headers: ${headers.join(", ")}`) : null,
      next.length ? make("br") : null, next.length ? make("small", null, "Then: ", ...next) : null));
    if (content && content.example !== undefined) parts.push(json(content.example));
  }
  const id = `operation-${told.operationId}`;
  const text = [method, path, told.summary, told.description, told.operationId, told.tags].join(" ");
  return make("details", { id, "data-text": text.toLowerCase() },
    make("summary", null, make("span", { className: "verb" }, method.toUpperCase()), " ",
      make("span", { className: "path" }, path), make("span", { className: "says" }, told.summary)),
    make("div", null, ...parts));
};

const section = (title, about, entries) => make("section", null, make("h2", null, title), ...paragraphs(about), ...entries);

const show = (api) => {
  document.getElementById("about").replaceChildren(...paragraphs(api.info.description));
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, told]) => [told.tags[0], operation(method, path, told)]));
  const sections = api.tags.map(({ name, description }) =>
    section(name, description, operations.filter(([tag]) => tag === name).map(([, shown]) => shown)));
  const schemas = Object.entries(api.components.schemas).sort(([a], [b]) => a.localeCompare(b)).map(([name, schema]) =>
    make("details", { id: `schema-${name}`, "data-text": `${name} ${schema.description || ""}`.toLowerCase() },
      make("summary", null, make("code", null, name)),
      make("div", null, ...paragraphs(schema.description), ...members(schema),
        ...(schema.examples ? [json(schema.examples[0])] : []))));
  const problems = Object.entries(api.components.examples).map(([code, { summary, value }]) =>
    make("p", { "data-text": `${code} ${summary} ${value.status}`.toLowerCase() },
      make("a", { href: `/problems/${code}` }, make("code", null, code)), ` ${value.status} · ${summary}`));
  sections.push(section("Schemas", "", schemas), section("Problems", "", problems));
  document.getElementById("operations").replaceChildren(...sections);
  open();
};

// Whatever the address names is opened.
const open = () => {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!named) return;
  search.value = "";
  filter();
  if (named instanceof HTMLDetailsElement) named.open = true;
  named.scrollIntoView();
};

const search = document.getElementById("search");
const filter = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let any = false;
  for (const part of document.querySelectorAll("#operations > section")) {
    let shown = false;
    for (const entry of part.querySelectorAll("[data-text]")) {
      entry.hidden = !words.every((word) => entry.dataset.text.includes(word));
      shown = shown || !entry.hidden;
    }
    part.hidden = !shown;
    any = any || shown;
  }
  document.getElementById("nothing").hidden = any;
};
search.addEventListener("input", filter);
addEventListener("hashchange", open);

fetch("/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`the server answered ${answer.status}`))))
  .then(show)
  .catch((error) => {
    document.getElementById("operations").replaceChildren(make("p", null, `The description cannot be read: ${error.message}`));
  });
