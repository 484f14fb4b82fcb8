/** Nanoseconds for a check, of several contenders in turns: what disturbs one round disturbs all of them alike. */

const ROUNDS = 15;
const USERS = 4_096;
const PLANS = ['free', 'silver', 'bronze', 'gold'];
/** Of all checks one in four is of somebody with a gold plan. */
const CHECKS = 100_000;
const WARM_UP = 3;

const users = Array.from({ length: USERS }, (_, i) => `user-${i * 7919}`);
let answers = 0;

/** Somebody new at each check. */
function fresh({ check, context }, checks) {
  for (let i = 0; i < checks; i++) {
    if (check(context(users[i % USERS], PLANS[i & 3], 'at'))) answers++;
  }
}

/** One and the same all the time. */
function again({ check, context }, checks) {
  const somebody = context('user-1', 'silver', 'at');
  for (let i = 0; i < checks; i++) if (check(somebody)) answers++;
}

async function freshLater({ later, context }, checks) {
  for (let i = 0; i < checks; i++) {
    if (await later(context(users[i % USERS], PLANS[i & 3], 'at'))) answers++;
  }
}

async function againLater({ later, context }, checks) {
  const somebody = context('user-1', 'silver', 'at');
  for (let i = 0; i < checks; i++) if (await later(somebody)) answers++;
}

/** How many of the users a contender's flag is on for. */
export async function share({ check, later, context }) {
  let on = 0;
  for (const [i, user] of users.entries()) {
    const asked = context(user, PLANS[i & 3], 'at');
    if (check === undefined ? await later(asked) : check(asked)) on++;
  }
  return on / USERS;
}

/** Whether two answer the same to everybody. */
export function agree(one, other) {
  return users.every((user, i) => one.check(one.context(user, PLANS[i & 3], 'at')) === other.check(other.context(user, PLANS[i & 3], 'at')));
}

/** The median of the rounds, for each contender, by a clock that tells milliseconds; of fifteen rounds, or as many as are wanted. */
export async function measure(contenders, now = () => performance.now(), count = ROUNDS) {
  const rounds = contenders.map(() => ({ fresh: [], again: [] }));
  for (let round = -WARM_UP; round < count; round++) {
    // In every other round the order is turned round: whoever is first would always find the machine as the last left it.
    const order = [...contenders.entries()];
    if (round % 2 !== 0) order.reverse();
    for (const [i, contender] of order) {
      // Promises are slow: fewer of them say as much.
      const checks = contender.later === undefined ? CHECKS : CHECKS / 10;
      const runs = contender.later === undefined ? { fresh, again } : { fresh: freshLater, again: againLater };
      for (const kind of ['fresh', 'again']) {
        const began = now();
        await runs[kind](contender, checks);
        const ns = ((now() - began) * 1e6) / checks;
        if (round >= 0) rounds[i][kind].push(ns);
      }
    }
  }
  const median = (all) => all.toSorted((a, b) => a - b)[all.length >> 1];
  return { answers, rounds, medians: rounds.map(({ fresh, again }) => ({ fresh: median(fresh), again: median(again) })) };
}
