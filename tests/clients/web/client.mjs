// A line in, lines out: the OpenFeature web SDK and its OFREP provider, as a page would run them.
//
// Reads BASE_URL and TOKEN from the environment and the first context from CONTEXT; POLL_MS turns
// polling on and the event stream off. Takes one command a line from standard input:
//   {"key", "type"}      evaluate from what the provider holds
//   {"context": {...}}   change the context, which fetches anew
// and says what it sees: each answer, each event of the provider, and each bulk request with its status.
import { createInterface } from 'node:readline';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';
import { EventSource } from 'eventsource';

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

class WatchedEventSource extends EventSource {
  constructor(url) {
    super(url);
    this.addEventListener('open', () => say({ event: 'stream open', url: String(url) }));
    this.addEventListener('message', ({ data }) => say({ event: 'stream message', data: JSON.parse(data) }));
  }
}
globalThis.EventSource = WatchedEventSource;

const watchedFetch = async (request, ...rest) => {
  const sent = new Request(request, ...rest);
  const response = await fetch(sent);
  say({
    event: 'fetched',
    query: Object.fromEntries(new URL(sent.url).searchParams),
    ifNoneMatch: sent.headers.get('if-none-match'),
    status: response.status,
    etag: response.headers.get('etag'),
  });
  return response;
};

for (const [name, kind] of Object.entries({
  changed: ProviderEvents.ConfigurationChanged,
  stale: ProviderEvents.Stale,
  error: ProviderEvents.Error,
})) {
  OpenFeature.addHandler(kind, (details) => say({ event: name, flags: details?.flagsChanged ?? null, message: details?.message ?? null }));
}

const pollMs = Number(process.env.POLL_MS ?? 0);
const provider = new OFREPWebProvider({
  baseUrl: process.env.BASE_URL,
  headers: [['Authorization', `Bearer ${process.env.TOKEN}`]],
  fetchImplementation: watchedFetch,
  cacheMode: 'disabled',
  pollInterval: pollMs,
  changeDetection: pollMs > 0 ? 'polling' : 'sse',
});
await OpenFeature.setContext(JSON.parse(process.env.CONTEXT ?? '{}'));
try {
  await OpenFeature.setProviderAndWait(provider);
  say({ event: 'ready' });
} catch (error) {
  say({ event: 'failed', code: error.code ?? null, message: String(error.message) });
}
const client = OpenFeature.getClient();

const ask = {
  boolean: (key) => client.getBooleanDetails(key, false),
  string: (key) => client.getStringDetails(key, 'code default'),
  integer: (key) => client.getNumberDetails(key, -1),
  float: (key) => client.getNumberDetails(key, -1.5),
  object: (key) => client.getObjectDetails(key, { code: 'default' }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.context) {
    await OpenFeature.setContext(command.context);
    say({ event: 'context set' });
    continue;
  }
  const details = ask[command.type](command.key);
  say({
    value: details.value,
    variant: details.variant ?? null,
    reason: details.reason,
    errorCode: details.errorCode ?? null,
    errorMessage: details.errorMessage ?? null,
    metadata: details.flagMetadata,
  });
}
await OpenFeature.close();
process.exit(0);
