/**
 * One flag, as each SDK evaluates it in its own process: on for those with a gold plan, and for 30 % of the others. It ends on a
 * date, as every flag of ours does.
 */

export const FLAG = 'checkout';
const SHARE = 30;
const GOLD = ['gold', 'platinum'];
const EXPIRES = '2099-01-01T00:00:00.000Z';

/** The flag as it is sent to those who evaluate it. */
const SNAPSHOT = {
  v: 1,
  log: 'bench',
  revision: 7,
  body: {
    snapshot: {
      app: 'shop',
      environment: 'live',
      flags: [
        {
          key: FLAG,
          type: 'boolean',
          variants: [{ key: 'on', value: true }, { key: 'off', value: false }],
          off_variant: 'off',
          targeting: {
            on: true,
            exposure: SHARE,
            serve: { variant: 'on' },
            rules: [{ id: 'gold', when: { attribute: 'plan', op: 'in', values: GOLD }, serve: { variant: 'on' } }],
          },
          expires_at: EXPIRES,
          targeting_revision: 3,
          revision: 3,
        },
      ],
    },
  },
};

/** A server that says this once, and is then silent. */
async function answer(address) {
  const url = String(address);
  const frame = JSON.stringify(SNAPSHOT);
  if (url.endsWith('/v1/page')) return Response.json({ stream: '/v1/page/stream?token=t', renew_in_ms: 150_000, tag: 't', frame });
  if (!url.includes('/v1/feed?') && !url.includes('/stream')) return Response.json({}, { status: 202 });
  const said = url.includes('/stream') ? ': hb\n\n' : `event: snapshot\nid: bench:7\ndata: ${frame}\n\n`;
  const body = new ReadableStream({ start: (stream) => stream.enqueue(new TextEncoder().encode(said)) });
  return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
}

/** Ours. `key` is a page's or a server's. */
export async function tidegate(Tidegate, key, more = {}) {
  const client = await Tidegate.start({ url: 'http://127.0.0.1:1', key, fetch: answer, silenceMs: 3_600_000, shareTabs: false, storage: false, waitMs: 10_000, ...more });
  if (client.status().state !== 'live') throw new Error(JSON.stringify(client.status()));
  return {
    check: (context) => client.bool(FLAG, context, false),
    context: (targetingKey, plan, country) => ({ targetingKey, plan, country }),
    close: () => client.close(),
  };
}

/** The same rule as somebody would write it out by hand, with the same hash. */
export function byHand({ clock }) {
  const gold = new Set(GOLD);
  const expires = Date.parse(EXPIRES);
  const check = clock
    ? (context) => Date.now() < expires && (gold.has(context.plan) || isIn(context.targetingKey))
    : (context) => gold.has(context.plan) || isIn(context.targetingKey);
  return { check, context: (targetingKey, plan, country) => ({ targetingKey, plan, country }) };
}

function isIn(unit) {
  return bucket(FLAG, unit) < SHARE * 1_000;
}

/** Where a unit is among the thousandths of a percent. */
function bucket(flag, unit) {
  return Math.floor((murmur3(flag + unit + '#exp') * 100_000) / 2 ** 32);
}

/**
 * The load test's floor. The same rule by hand, but as data, which is what a flag is: nobody knows beforehand which flags there are,
 * what they look at, and of what type that will be. So flags are found by key, attributes by name, and the clock is read for each check.
 */
export function byHandAsData() {
  const rules = [{ attribute: 'plan', op: 'in', values: new Set(GOLD) }];
  const flags = new Map([[FLAG, { key: FLAG, on: true, expires: Date.parse(EXPIRES), share: SHARE * 1_000, rules }]]);
  return {
    check: (context) => isOn(flags.get(FLAG), context),
    context: (targetingKey, plan, country) => ({ targetingKey, plan, country }),
  };
}

function isOn(flag, context) {
  if (flag === undefined || !flag.on || Date.now() >= flag.expires) return false;
  for (const { attribute, op, values } of flag.rules) {
    if (holds(op, values, context[attribute])) return true;
  }
  const unit = context.targetingKey;
  return flag.share > 0 && typeof unit === 'string' && bucket(flag.key, unit) < flag.share;
}

function holds(op, values, value) {
  switch (op) {
    case 'in':
      return (typeof value === 'string' || typeof value === 'number') && values.has(value);
    case 'ends_with':
      return typeof value === 'string' && values.some((end) => value.endsWith(end));
    case 'num_gte':
      return typeof value === 'number' && values.some((least) => value >= least);
    default:
      return false;
  }
}

function scramble(block) {
  const mixed = Math.imul(block, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}

/** Of a text of ASCII. */
function murmur3(text) {
  const { length } = text;
  const whole = length & ~3;
  let hash = 0;
  for (let i = 0; i < whole; i += 4) {
    hash ^= scramble(text.charCodeAt(i) | (text.charCodeAt(i + 1) << 8) | (text.charCodeAt(i + 2) << 16) | (text.charCodeAt(i + 3) << 24));
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  let rest = 0;
  for (let i = length - 1; i >= whole; i--) rest = (rest << 8) | text.charCodeAt(i);
  hash ^= scramble(rest) ^ length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** GrowthBook, with the payload that its server would send. */
export function growthBook({ GrowthBookClient }) {
  const rules = [
    { condition: { plan: { $in: GOLD } }, force: true },
    { force: true, coverage: SHARE / 100, hashAttribute: 'id', seed: FLAG },
  ];
  const client = new GrowthBookClient().initSync({ payload: { features: { [FLAG]: { defaultValue: false, rules } } } });
  return {
    check: (user) => client.isOn(FLAG, user),
    context: (id, plan, country) => ({ attributes: { id, plan, country } }),
    close: () => client.destroy(),
  };
}

/** Unleash, from its bootstrap. */
export async function unleash({ Unleash, InMemStorageProvider }) {
  const constraints = [{ contextName: 'plan', operator: 'IN', values: GOLD, inverted: false, caseInsensitive: false }];
  const strategies = [
    { name: 'default', parameters: {}, constraints },
    { name: 'flexibleRollout', parameters: { rollout: String(SHARE), stickiness: 'userId', groupId: FLAG }, constraints: [] },
  ];
  const feature = { name: FLAG, type: 'release', enabled: true, stale: false, impressionData: false, variants: [], strategies };
  const client = new Unleash({
    url: 'http://127.0.0.1:1/api/',
    appName: 'bench',
    disableMetrics: true,
    refreshInterval: 0,
    skipInstanceCountWarning: true,
    bootstrap: { data: [feature] },
    storageProvider: new InMemStorageProvider(),
  });
  client.on('error', () => {});
  await new Promise((resolve) => client.once('ready', resolve));
  return {
    check: (context) => client.isEnabled(FLAG, context),
    context: (userId, plan, country) => ({ userId, properties: { plan, country } }),
    close: () => client.destroy(),
  };
}

/** LaunchDarkly, from its own source of test data. Its checks are promises. */
export async function launchDarkly({ init }, { TestData }) {
  const data = new TestData();
  const rollout = { kind: 'rollout', contextKind: 'user', variations: [{ variation: 0, weight: SHARE * 1_000 }, { variation: 1, weight: 100_000 - SHARE * 1_000 }] };
  const clauses = [{ contextKind: 'user', attribute: 'plan', op: 'in', values: GOLD, negate: false }];
  data.usePreconfiguredFlag({
    key: FLAG,
    version: 1,
    on: true,
    salt: 'bench',
    prerequisites: [],
    targets: [],
    contextTargets: [],
    rules: [{ id: 'gold', variation: 0, clauses }],
    fallthrough: { rollout },
    offVariation: 1,
    variations: [true, false],
  });
  const quiet = { error() {}, warn() {}, info() {}, debug() {} };
  const client = init('sdk-bench', { updateProcessor: data.getFactory(), sendEvents: false, logger: quiet });
  await client.waitForInitialization({ timeout: 5 });
  return {
    later: (context) => client.boolVariation(FLAG, context, false),
    context: (key, plan, country) => ({ kind: 'user', key, plan, country }),
    close: () => client.close(),
  };
}
