/** The part of the bench that runs in Chromium; `Tidegate` is imported from where the page says. */
import { GrowthBookClient } from '@growthbook/growthbook';

import { byHand, byHandAsData, growthBook, tidegate } from './contenders.mjs';
import { agree, measure, share } from './measure.mjs';

window.bench = async (sdk) => {
  const { Tidegate } = await import(sdk);
  const ours = await tidegate(Tidegate, 'tg_sdk-browser_bench_bench');
  const contenders = { ours, hand: byHand({ clock: true }), handWithoutClock: byHand({ clock: false }), handAsData: byHandAsData(), growthBook: growthBook({ GrowthBookClient }) };
  const all = Object.values(contenders);
  const { medians } = await measure(all);
  return { names: Object.keys(contenders), medians, shares: await Promise.all(all.map(share)), agrees: agree(ours, contenders.hand) && agree(ours, contenders.handAsData) };
};
