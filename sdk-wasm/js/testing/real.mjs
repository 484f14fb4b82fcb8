/** A real server: the binary that `TIDEGATE_BIN` names, or the one that was built last here. */
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { root } from "./built.mjs";

const run = promisify(execFile);

/** Where the binary is, if there is one. */
export const binary = [process.env.TIDEGATE_BIN, ...["release", "debug"].map((profile) => join(root, "../target", profile, "tidegate"))].find(
  (path) => path !== undefined && existsSync(path),
);

export class RealServer {
  static async start() {
    const server = new RealServer();
    server.data = await mkdtemp(join(tmpdir(), "tidegate-data-"));
    await server.serve("127.0.0.1:0");
    return server;
  }

  /** Starts the process; done when it says where it listens. */
  async serve(listen) {
    this.process = spawn(binary, ["serve", "--listen", listen, "--data-dir", this.data], { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    await new Promise((resolve, reject) => {
      const hear = (piece) => {
        said += piece;
        this.admin ??= /tg_admin_\S+/.exec(said)?.[0];
        const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1];
        if (this.admin === undefined || port === undefined) return;
        this.url = `http://127.0.0.1:${port}`;
        resolve();
      };
      this.process.stdout.on("data", hear);
      this.process.stderr.on("data", hear);
      this.process.on("exit", (code) => reject(new Error(`the server ended with ${code}: ${said}`)));
    });
  }

  /** Runs a command of the command line; what it prints as JSON. */
  async command(...words) {
    const env = { ...process.env, TIDEGATE_URL: this.url, TIDEGATE_TOKEN: this.admin, TIDEGATE_APP: "shop" };
    const { stdout } = await run(binary, [...words, "--json"], { env });
    return stdout.trim() === "" ? undefined : JSON.parse(stdout);
  }

  /** Makes a token; its secret. */
  async token(scope, ...words) {
    const { secret, token } = await this.command("token", "create", "--scope", scope, "--env", "sandbox", "--service", "web", ...words);
    return secret ?? token;
  }

  async end() {
    const ended = new Promise((resolve) => this.process.on("exit", resolve));
    this.process.kill();
    await ended;
  }

  async stop() {
    if (this.process.exitCode === null) await this.end();
    await rm(this.data, { recursive: true, force: true });
  }
}
