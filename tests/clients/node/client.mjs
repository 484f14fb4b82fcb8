// A line in, a line out: evaluates flags through the OpenFeature server SDK and its OFREP provider.
//
// Reads BASE_URL and TOKEN from the environment, then one question a line from standard input
// ({"key", "type", "context"}), and answers each with one line of what the SDK handed back.
import { createInterface } from 'node:readline';
import { OFREPProvider } from '@openfeature/ofrep-provider';
import { OpenFeature } from '@openfeature/server-sdk';

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const provider = new OFREPProvider({
  baseUrl: process.env.BASE_URL,
  headers: [['Authorization', `Bearer ${process.env.TOKEN}`]],
});
await OpenFeature.setProviderAndWait(provider);
const client = OpenFeature.getClient();

const ask = {
  boolean: (key, context) => client.getBooleanDetails(key, false, context),
  string: (key, context) => client.getStringDetails(key, 'code default', context),
  integer: (key, context) => client.getNumberDetails(key, -1, context),
  float: (key, context) => client.getNumberDetails(key, -1.5, context),
  object: (key, context) => client.getObjectDetails(key, { code: 'default' }, context),
};

say({ event: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  const { key, type, context = {} } = JSON.parse(line);
  const details = await ask[type](key, context);
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
