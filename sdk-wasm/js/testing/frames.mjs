/** Frames as a server sends them. */

export const NEVER = "9999-12-31T23:59:59.999Z";
export const LOG = "log-1";

/** A flag that serves `on` to all, unless something else is said. */
export function flag(key, { value = true, off = false, type = typeof value, revision = 3, told, guarded, expires, ...more } = {}) {
  const flag = {
    key,
    type: type === "object" ? "object" : type,
    variants: [
      { key: "on", value },
      { key: "off", value: off },
    ],
    off_variant: "off",
    targeting: { on: true, exposure: 100, serve: { variant: "on" } },
    expires_at: expires ?? NEVER,
    targeting_revision: revision,
    revision,
    ...more,
  };
  if (told !== undefined) flag.told = told;
  if (guarded !== undefined) flag.guarded_until = guarded;
  return flag;
}

/** A flag whose answer was found by the server: exposed, and part of its split. */
export function toldFlag(key, options = {}) {
  return flag(key, { told: { variant: "on", steps: [{ reason: "exposed", split: ".exposure" }], targeted: true }, ...options });
}

function frame(revision, body, v = 1) {
  return { v, log: LOG, revision, body };
}

function versionOf(flags) {
  return flags.some((one) => one?.told !== undefined || one?.guarded_until !== undefined) ? 2 : 1;
}

/** Everything. */
export function snapshot(revision, flags, more = {}) {
  return frame(revision, { snapshot: { app: "shop", environment: "production", flags, ...more } }, versionOf(flags));
}

/** What changed. */
export function change(revision, ops, { follows = 0, kill_id } = {}) {
  const flags = ops.map((op) => op.put_flag);
  return frame(revision, { change: { follows, ...(kill_id === undefined ? {} : { kill_id }), ops } }, versionOf(flags));
}

/** A flag is killed, or with no id revived. */
export function kill(revision, key, id = "kill-1") {
  const at = "2026-01-01T00:00:00Z";
  return change(revision, [{ flag_kills: { flag: key, killed: { id, at }, revision } }], { kill_id: id });
}

/** As it goes over the stream. */
export function event(frame) {
  const name = Object.keys(frame.body)[0];
  const id = name === "overlay" ? "" : `id: ${frame.log}:${frame.revision}\n`;
  return `event: ${name}\n${id}data: ${JSON.stringify(frame)}\n\n`;
}
