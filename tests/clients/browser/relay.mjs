/** Stands between pages and the server, and can fall silent or refuse, which is all that a page sees of a network. */
import { connect, createServer } from 'node:net';

export class Relay {
  pairs = new Set();
  /** All that pages sent, one text for each connection. */
  sent = [];
  isSilent = false;

  static async to(port) {
    const relay = new Relay();
    relay.target = port;
    await relay.listen(0);
    return relay;
  }

  async listen(port) {
    this.listening = createServer((page) => this.join(page));
    await new Promise((resolve) => this.listening.listen(port, '127.0.0.1', resolve));
    this.port = this.listening.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
  }

  join(page) {
    const server = connect(this.target, '127.0.0.1');
    const pair = { page, server, isSilent: false };
    this.pairs.add(pair);
    const end = () => {
      this.pairs.delete(pair);
      page.destroy();
      server.destroy();
    };
    const at = this.sent.push('') - 1;
    page.on('data', (bytes) => (this.sent[at] += bytes.toString('latin1')));
    for (const [from, to] of [[page, server], [server, page]]) {
      from.on('data', (bytes) => pair.isSilent || to.write(bytes));
      from.on('error', end);
      from.on('close', end);
    }
  }

  /** The JSON that pages posted to a path. */
  posted(path) {
    const requests = this.sent.flatMap((text) => text.split(/(?=(?:POST|GET|OPTIONS) \/)/));
    const bodies = requests.filter((request) => request.startsWith(`POST ${path}`)).map((request) => request.split('\r\n\r\n')[1]);
    return bodies.filter((body) => body?.endsWith('}')).map((body) => JSON.parse(body));
  }

  /** What is open passes nothing on any more; what is opened from now on does. */
  silence() {
    for (const pair of this.pairs) pair.isSilent = true;
  }

  /** Ends all that is open. */
  cut() {
    for (const { page, server } of this.pairs) {
      page.destroy();
      server.destroy();
    }
  }

  /** Nothing listens any more. */
  async refuse() {
    const closed = new Promise((resolve) => this.listening.close(resolve));
    this.cut();
    await closed;
  }

  /** As before. */
  async accept() {
    await this.listen(this.port);
  }
}
