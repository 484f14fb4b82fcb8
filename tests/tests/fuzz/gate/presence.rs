//! Source files, in which the command looks for tests: those of an app in one text, each after a line with its path.

use tidegate::cli::gate::presence::{MAX_TESTS_PER_FILE, SourceText, presence_of};

use super::{features, reshape, text};
use crate::mutate::Chance;
use crate::run::{Outcome, Target};

/// What stands before each file, with its path.
const HEAD: &str = "=== ";
/// Most files of one input.
const MAX_FILES: usize = 8;

const TOKENS: &[&str] = &[
    "=== src/app.py\n",
    "=== tests/test_app.py\n",
    "=== src/app.test.ts\n",
    "=== conftest.py\n",
    "def test_x():\n    assert f(1) == 2\n",
    "@pytest.mark.skip\n",
    "import app as a\n",
    "from . import app\n",
    "from src.app import *\n",
    "assert True\n",
    "    ",
    "\t",
    "(((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!",
    "not not not not not not not not not not not not not not not not not not not ",
    "test('x', () => { expect(f(1)).toBe(2); });\n",
    "it.skip(",
    "describe(",
    "export default ",
    "require('./app')",
    "import * as a from './app';\n",
    "`${",
    "\"\"\"",
    "<T>",
    "é",
    "\u{0}",
    "\r\n",
];

const PYTHON: &[&str] = &[
    "=== src/app.py\ndef total(prices):\n    return sum(prices)\n=== tests/test_app.py\nimport pytest\nfrom src.app import total\n\n@pytest.fixture\ndef prices():\n    return [1, 2]\n\nclass TestTotal:\n    @pytest.mark.parametrize('n', [1, 2])\n    def test_sum(self, prices, n):\n        assert total(prices) == 3\n",
    "=== shop/cart.py\nclass Cart:\n    def add(self, item):\n        self.items.append(item)\n=== tests/conftest.py\nimport pytest\nfrom shop.cart import Cart\n@pytest.fixture\ndef cart():\n    return Cart()\n=== tests/test_cart.py\ndef check(cart):\n    with pytest.raises(KeyError):\n        cart.add(None)\ndef test_add(cart):\n    check(cart)\n",
    "=== app.py\ndef f(x):\n    return x\n=== test_app.py\nimport unittest\nimport app\nclass T(unittest.TestCase):\n    @unittest.skip('later')\n    def test_a(self):\n        self.assertEqual(app.f(1), 1)\n    def test_b(self):\n        self.assertTrue(True)\n",
    "=== app.py\nasync def f(x: int) -> int:\n    match x:\n        case 1: return 2\n        case _: return (y := x)\n=== tests/test_a.py\nfrom app import f as g\nh = g\ndef test_a():\n    assert [h(i) for i in range(3)] and not None or 0\n",
];

const SCRIPTS: &[&str] = &[
    "=== src/cart.js\nexport function total(prices) { return prices.reduce((a, b) => a + b, 0); }\nexport default class Cart { add(i) {} }\n=== test/cart.test.js\nimport Cart, { total } from '../src/cart.js';\ndescribe('cart', () => {\n  it('sums', () => { expect(total([1, 2])).toBe(3); });\n  it.skip('later', () => { expect(new Cart()).toBeTruthy(); });\n});\n",
    "=== lib/a.cjs\nmodule.exports = { f: x => x, g() { return 1; } };\n=== a.test.cjs\nconst test = require('node:test');\nconst assert = require('assert');\nconst { f, g: h } = require('./lib/a.cjs');\ntest('f', t => { assert.strictEqual(f(1), 1); });\ntest('empty', () => {});\ntest('always', () => { assert(true); });\n",
    "=== src/a.ts\nexport const f = <T,>(x: T): T => x;\nexport namespace N { export function g(this: void) {} }\nabstract class B { abstract h(): void; #p = 1; get q() { return this.#p; } }\n=== src/a.spec.ts\nimport { f, N } from './a';\nimport type { X } from './x';\nfunction check(v: number) { expect(v).toEqual(1); }\ndescribe.each([1, 2])('n %i', (n) => { test(`f ${n}`, async () => { await Promise.all([check(f(n) as number)]); }); });\n",
    "=== src/b.tsx\nexport function View({ a }: { a: string }) { return <div className={a}>{a && <b/>}</div>; }\n=== src/b.test.tsx\nimport { View } from './b';\nit('draws', () => { const v = View({ a: 'x' }); expect(v).not.toBeNull(); });\n",
    "=== src/d.js\nexports.f = function () { label: for (;;) { break label; } };\n=== src/d.test.js\nconst d = require('./d');\nbeforeEach(() => d.f());\ntest.each`a\n${1}`('x', ({ a }) => { expect(a + d.f()).toBe(1 ? 2 : 3); });\n",
];

fn golden() -> Vec<Vec<u8>> {
    let app = |kind: &str| {
        let paths = ["src/app.py", "src/discount.py", "tests/test_discount.py"];
        let file = |path: &str| format!("{HEAD}{path}\n{}", text(&format!("{kind}/app/{path}")));
        paths.map(file).concat()
    };
    let apps = ["clean", "faulty"].map(app);
    let own = PYTHON.iter().chain(SCRIPTS).map(ToString::to_string);
    apps.into_iter().chain(own).map(String::into_bytes).collect()
}

fn sources(text: &str) -> Vec<SourceText> {
    let mut found: Vec<SourceText> = Vec::new();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix(HEAD) {
            Some(path) if found.len() < MAX_FILES => {
                found.push(SourceText { path: path.trim_end().to_owned(), text: String::new() });
            }
            _ => {
                if let Some(source) = found.last_mut() {
                    source.text.push_str(line);
                }
            }
        }
    }
    // An app has one file of each path.
    let mut paths = std::collections::BTreeSet::new();
    found.retain(|source| paths.insert(source.path.clone()));
    found
}

#[test]
fn whatever_source_files_hold_it_is_said_which_have_tests() {
    let read = |bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::Refused("not text".to_owned()) };
        let sources = sources(text);
        if sources.is_empty() {
            return Outcome::Refused("no file".to_owned());
        }
        let found = presence_of(&sources);
        if bytes.len().is_multiple_of(4) {
            let turned: Vec<SourceText> = sources.iter().rev().cloned().collect();
            let mut other = presence_of(&turned);
            let mut files = found.report.files.clone();
            files.sort_by(|one, other| one.path.cmp(&other.path));
            other.report.files.sort_by(|one, other| one.path.cmp(&other.path));
            assert_eq!(
                (other.report.files, other.problems),
                (files, found.problems.clone()),
                "the order of files matters"
            );
        }
        for file in &found.report.files {
            assert!(file.functions > 0 && file.tests.len() <= MAX_TESTS_PER_FILE, "{file:?}");
            assert!(sources.iter().any(|source| source.path == file.path), "nobody has `{}`", file.path);
            let is_unread = found.problems.iter().any(|problem| problem.path == file.path);
            assert!(!is_unread || file.tests.is_empty(), "what cannot be read has no tests: {file:?}");
        }
        let mut told = features("presence", &found.report);
        let kinds = found.problems.iter().map(|problem| problem.kind);
        told.extend(kinds.map(|kind| format!("{kind:?}").chars().filter(|c| !c.is_ascii_digit()).collect()));
        let tested = found
            .report
            .files
            .iter()
            .map(|file| format!("{} {}", file.functions.min(6), file.tests.len().min(4)));
        told.extend(tested);
        Outcome::Taken(told)
    };
    let restructure = |bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance| reshape(bytes, other, chance);
    Target {
        name: "presence",
        golden: golden(),
        tokens: TOKENS,
        restructure: &restructure,
        inputs: 1_500,
        read: &read,
    }
    .run();
}
