/** A real server of its own, with an app whose flags are for pages. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const APP = 'shop';
/** Where what is raised needs no gate: these are no tests of it. */
const ENVIRONMENT = 'trial';
/** Answers, and what else comes, later than this are too late. */
export const PATIENCE_MS = 30_000;

export class Server {
  static async start(settings = {}) {
    const server = new Server();
    server.folder = await mkdtemp(join(tmpdir(), 'tidegate-browser-'));
    server.settings = settings;
    await server.serve('127.0.0.1:0');
    await server.send('POST', '/v1/apps', { key: APP, environments: [{ key: ENVIRONMENT, kind: 'sandbox' }] });
    return server;
  }

  /** Starts the process; done when it says where it listens. */
  async serve(listen) {
    const binary = process.env.TIDEGATE_BIN;
    if (binary === undefined) throw new Error('TIDEGATE_BIN has to name the server');
    const env = { PATH: process.env.PATH, ...this.settings };
    const words = ['serve', '--listen', listen, '--data-dir', join(this.folder, 'data')];
    this.process = spawn(binary, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.said = '';
    await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`the server does not start: ${this.said}`)), PATIENCE_MS);
      const hear = (piece) => {
        this.said += piece;
        this.admin ??= /tg_admin_\S+/.exec(this.said)?.[0];
        const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(this.said)?.[1];
        if (this.admin === undefined || port === undefined) return;
        clearTimeout(late);
        this.port = Number(port);
        this.url = `http://127.0.0.1:${port}`;
        resolve();
      };
      this.process.stdout.on('data', hear);
      this.process.stderr.on('data', hear);
    });
  }

  /** Ends without warning. */
  async kill() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.process.on('exit', resolve));
    this.process.kill('SIGKILL');
    await ended;
  }

  /** Starts again where it was. */
  async restart() {
    await this.kill();
    await this.serve(`127.0.0.1:${this.port}`);
  }

  async stop() {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** One call of the API; throws for what is refused. */
  async send(method, path, body, headers = {}) {
    const all = { authorization: `Bearer ${this.admin}`, ...headers };
    const request = { method, headers: all };
    if (body !== undefined) Object.assign(request, { body: JSON.stringify(body), headers: { ...all, 'content-type': 'application/json' } });
    const answer = await fetch(this.url + path, request);
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return { etag: answer.headers.get('etag'), said: text === '' ? undefined : JSON.parse(text) };
  }

  /** Makes a flag that pages get, on for all. */
  async flag(key, { browser = 'values', on = true, ...more } = {}) {
    await this.send('POST', `/v1/apps/${APP}/flags`, { key, browser, ...more });
    if (on) await this.on(key);
  }

  /** Changes a flag from what it is now. */
  async set(key, patch) {
    const flag = `/v1/apps/${APP}/flags/${encodeURIComponent(key)}`;
    const { etag } = await this.send('GET', flag);
    await this.send('PATCH', `${flag}/environments/${ENVIRONMENT}`, patch, { 'if-match': etag });
  }

  async on(key) {
    await this.set(key, { on: true, exposure: 100, serve: { variant: 'on' } });
  }

  async killFlag(key) {
    await this.send('POST', `/v1/apps/${APP}/flags/${encodeURIComponent(key)}/kill`, {});
  }

  /** On again after a kill. */
  async reviveFlag(key) {
    await this.send('POST', `/v1/apps/${APP}/flags/${encodeURIComponent(key)}/revive`, { reason: 'the test goes on' });
    await this.on(key);
  }

  /** Kills all flags of the app at once. */
  async killApp() {
    await this.send('POST', `/v1/apps/${APP}/kill`, {});
  }

  /** A key for pages of these sites. */
  async pageKey(...origins) {
    const wanted = { scope: 'sdk-browser', app: APP, environment: ENVIRONMENT, origins };
    // What becomes of requests is taken where the sites are named.
    if (!origins.includes('*')) wanted.outcomes = true;
    return (await this.send('POST', '/v1/tokens', wanted)).said.secret;
  }

  /** How many pages follow the server. */
  async pages() {
    const { said } = await this.send('GET', `/v1/clients?app=${APP}&environment=${ENVIRONMENT}`);
    return said;
  }
}
