/** An app's own site: a page, its script, and the files of the SDK as the app would host them. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
export const DIST = join(here, '../../../sdk-wasm/dist');
const MEDIA = { '.js': 'text/javascript; charset=utf-8', '.wasm': 'application/wasm', '.html': 'text/html; charset=utf-8' };

export class Site {
  /** What is answered besides what every site has: path to text. */
  files = new Map();
  headers = {};

  static async open() {
    const site = new Site();
    site.http = createServer((request, response) => void site.answer(request, response));
    await new Promise((resolve) => site.http.listen(0, '127.0.0.1', resolve));
    site.origin = `http://127.0.0.1:${site.http.address().port}`;
    return site;
  }

  /** A page that shows flags. `options` are those of `Tidegate.start`. */
  page({ options, flags, sdk = '/sdk/tidegate.js', integrity, script = 'app.js', note = '' }) {
    const app = JSON.stringify({ options, flags });
    const shown = flags.map(({ key }) => `<tr><th>${key}</th><td data-flag="${key}">…</td></tr>`).join('');
    const preload = integrity === undefined ? '' : `<link rel="modulepreload" href="${sdk}" integrity="${integrity}" crossorigin>`;
    this.files.set('/', `<!doctype html><meta charset="utf-8"><title>Shop</title><link rel="icon" href="data:,">${preload}
<link rel="stylesheet" href="/app.css">
<h1>Shop</h1><table>${shown}</table><p id="status"></p><p>${note}</p>
<script type="module" src="/app.js"></script>`);
    this.files.set('/app.js', async () => `import { Tidegate } from ${JSON.stringify(sdk)};\nconst app = ${app};\n${await own(script)}`);
    this.files.set('/app.css', () => own('app.css'));
    return `${this.origin}/`;
  }

  close() {
    this.http.closeAllConnections();
    this.http.close();
  }

  async answer(request, response) {
    const { pathname } = new URL(request.url, this.origin);
    try {
      const file = this.files.get(pathname);
      const body = file === undefined ? await sdkFile(pathname) : typeof file === 'function' ? await file() : file;
      const type = MEDIA[extname(pathname)] ?? (pathname.endsWith('.css') ? 'text/css' : MEDIA['.html']);
      const cache = pathname.startsWith('/sdk/') ? 'public, max-age=31536000, immutable' : 'no-store';
      response.writeHead(200, { 'content-type': type, 'cache-control': cache, ...this.headers });
      response.end(body);
    } catch {
      response.writeHead(404);
      response.end();
    }
  }
}

function own(file) {
  return readFile(join(here, 'pages', file));
}

async function sdkFile(path) {
  if (!path.startsWith('/sdk/') && !path.endsWith('.wasm')) throw new Error('no such file');
  return readFile(join(DIST, basename(path)));
}
