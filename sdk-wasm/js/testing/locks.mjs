/** Locks as browsers have them: one holder for each name, the others wait in order. */
export function locks() {
  const queues = new Map();
  const next = async (name) => {
    const queue = queues.get(name);
    const first = queue[0];
    if (first === undefined || first.held) return;
    first.held = true;
    await first.run();
    queue.shift();
    first.done();
    void next(name);
  };
  return {
    request(name, { signal }, run) {
      const queue = queues.get(name) ?? [];
      queues.set(name, queue);
      return new Promise((done, fail) => {
        const one = { run, done, held: false };
        queue.push(one);
        signal.addEventListener("abort", () => {
          if (one.held) return;
          queue.splice(queue.indexOf(one), 1);
          fail(new DOMException("aborted", "AbortError"));
        });
        queueMicrotask(() => void next(name));
      });
    },
    holders: () => [...queues.values()].filter(([first]) => first?.held).length,
  };
}

/** What is seen of a page: it can be hidden, shown, and left. */
export class Sight extends EventTarget {
  document = Object.assign(new EventTarget(), { visibilityState: "visible", readyState: "complete" });
  performance = { getEntriesByType: () => [{ loadEventEnd: 812 }] };
  fetch = (...request) => globalThis.fetch(...request);

  hide() {
    this.document.visibilityState = "hidden";
    this.document.dispatchEvent(new Event("visibilitychange"));
  }

  show() {
    this.document.visibilityState = "visible";
    this.document.dispatchEvent(new Event("visibilitychange"));
  }

  leave() {
    this.dispatchEvent(new Event("pagehide"));
  }
}
