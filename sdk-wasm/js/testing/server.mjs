/**
 * A server that says what a test tells it to, over real HTTP: pages with their streams, the feed, and what clients tell. What it
 * was asked is in `requests`.
 */
import { createHash } from "node:crypto";
import { createServer } from "node:http";

import { event, LOG } from "./frames.mjs";

export class Server {
  requests = [];
  streams = new Set();
  /** What a page is opened with; a function gets the context. */
  snapshot;
  /** Answers instead of what follows, for requests that it gives an answer to. */
  script = () => undefined;
  tokens = 0;
  grants = new Map();
  renewInMs = 150_000;
  waiting = [];

  static async start(snapshot) {
    const server = new Server();
    server.snapshot = snapshot;
    await server.listen(0);
    return server;
  }

  async listen(port) {
    this.http = createServer((request, response) => void this.answer(request, response));
    this.http.keepAliveTimeout = 1;
    await new Promise((resolve) => this.http.listen(port, "127.0.0.1", resolve));
    this.port = this.http.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
  }

  async stop() {
    this.cut();
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
  }

  /** Sends a frame, or text as it is, to all that listen. */
  push(said) {
    const text = typeof said === "string" ? said : event(said);
    for (const stream of this.streams) stream.write(text);
  }

  /** Ends all streams. */
  cut() {
    for (const stream of this.streams) stream.destroy();
    this.streams.clear();
  }

  /** The requests of one kind, as `POST /v1/page`. */
  asked(kind) {
    return this.requests.filter((request) => `${request.method} ${request.path}` === kind);
  }

  /** Done when there is a request for which this holds. */
  async until(holds) {
    for (;;) {
      const found = this.requests.find(holds);
      if (found !== undefined) return found;
      await new Promise((resolve) => this.waiting.push(resolve));
    }
  }

  /** Done when so many requests of a kind have come. */
  async askedTimes(kind, times) {
    await this.until(() => this.asked(kind).length >= times);
  }

  frameFor(context) {
    return typeof this.snapshot === "function" ? this.snapshot(context) : this.snapshot;
  }

  grant(context) {
    const token = `t${++this.tokens}`;
    this.grants.set(token, context);
    return {
      stream: `/v1/page/stream?token=${token}`,
      outcomes: `/v1/page/outcomes?token=${token}`,
      renew_in_ms: this.renewInMs,
      now: new Date().toISOString(),
      tag: this.tagOf(context),
    };
  }

  tagOf(context) {
    const said = JSON.stringify([this.frameFor(context), context]);
    return createHash("sha256").update(said).digest("hex").slice(0, 16);
  }

  async answer(request, response) {
    const url = new URL(request.url, this.url);
    let body = "";
    for await (const piece of request) body += piece;
    const asked = { method: request.method, path: url.pathname, query: url.searchParams, headers: request.headers, body };
    this.requests.push(asked);
    const scripted = await this.script(asked);
    this.waiting.splice(0).forEach((wake) => wake());
    if (scripted !== undefined) return this.say(response, scripted);
    switch (`${asked.method} ${asked.path}`) {
      case "POST /v1/page":
        return this.open(JSON.parse(body), response);
      case "GET /v1/page/stream":
        return this.stream(asked, response);
      case "GET /v1/feed":
        return this.feed(asked, response);
      case "POST /v1/feed/ack":
        return this.say(response, { status: 204 });
      case "POST /v1/exposures":
      case "POST /v1/outcomes":
      case "POST /v1/page/outcomes":
        return this.say(response, { status: 202, json: { added: 1, refused: [], now: new Date().toISOString() } });
      default:
        return this.say(response, { status: 404 });
    }
  }

  say(response, { status, json, headers = {}, hang }) {
    if (hang) return;
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(json === undefined ? "" : JSON.stringify(json));
  }

  open({ context, tag }, response) {
    const grant = this.grant(context);
    const frame = tag === grant.tag ? null : JSON.stringify(this.frameFor(context));
    this.say(response, { status: 200, json: { ...grant, frame } });
  }

  stream({ query }, response) {
    const context = this.grants.get(query.get("token"));
    if (context === undefined) return this.say(response, { status: 410 });
    const frame = this.frameFor(context);
    this.begin(response, query.get("seen") === `${LOG}:${frame.revision}` ? `id: ${query.get("seen")}\n\n` : event(frame));
  }

  feed({ headers }, response) {
    const frame = this.frameFor(undefined);
    this.begin(response, headers["last-event-id"] === `${LOG}:${frame.revision}` ? ": hb\n\n" : event(frame));
  }

  begin(response, first) {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(first);
    this.streams.add(response);
    response.on("close", () => this.streams.delete(response));
  }
}
