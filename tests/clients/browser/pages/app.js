/* `Tidegate` and `app` come from the site. What was shown when is kept for the test. */
const seen = { shown: [], statuses: [], changes: [], problems: [] };
window.seen = seen;
window.addEventListener('error', ({ message }) => seen.problems.push(message));
window.addEventListener('unhandledrejection', ({ reason }) => seen.problems.push(String(reason)));
document.addEventListener('securitypolicyviolation', ({ blockedURI, violatedDirective }) => seen.problems.push(`${violatedDirective} ${blockedURI}`));

const cells = new Map(app.flags.map(({ key }) => [key, document.querySelector(`[data-flag="${key}"]`)]));
const at = () => performance.timeOrigin + performance.now();

new MutationObserver((mutations) => {
  const now = at();
  for (const { target } of mutations) {
    if (target.dataset?.flag !== undefined) seen.shown.push({ flag: target.dataset.flag, text: target.textContent, at: now });
  }
}).observe(document.querySelector('table'), { subtree: true, childList: true });

const began = performance.now();
seen.beganAt = began;
const client = await Tidegate.start(app.options);
window.client = client;
seen.startMs = performance.now() - began;

function check({ key, fallback = false }) {
  if (typeof fallback === 'boolean') return client.bool(key, undefined, fallback);
  return typeof fallback === 'number' ? client.number(key, undefined, fallback) : client.string(key, undefined, fallback);
}

function show() {
  for (const flag of app.flags) {
    const text = String(check(flag));
    const cell = cells.get(flag.key);
    if (cell.textContent !== text) cell.textContent = text;
  }
}

function tell() {
  const status = client.status();
  seen.statuses.push(status.state);
  document.getElementById('status').textContent = `${status.state}${status.why ? `: ${status.why}` : ''}`;
}

client.on('change', (change) => {
  seen.changes.push(change);
  show();
});
client.on('status', tell);
client.on('error', ({ where, message }) => seen.problems.push(`${where}: ${message}`));
window.show = show;
/* Later, since nothing is refused to those who debug. */
window.tryEval = () => new Promise((resolve) => setTimeout(() => {
  try {
    new Function('return 1')();
  } catch {
    seen.problems.push('eval is refused');
  }
  setTimeout(resolve);
}));
show();
seen.firstCheckAt = performance.now();
tell();
seen.ready = true;
