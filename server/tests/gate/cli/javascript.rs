//! Which tests of JavaScript and TypeScript count for a file, and which do not.

use super::{found, tests_of};

const PRICE: (&str, &str) = (
    "src/price.js",
    "export function price(n) { return n }\nexport const twice = (n) => 2 * n\nexport default class Cart { total() { return 1 } }\n",
);

fn counted(test: &str) -> Vec<String> {
    tests_of(&[PRICE, ("test/price.test.js", test)], PRICE.0)
}

/// Whether a test with this body counts, in a file that imports what it needs.
fn body_counts(body: &str) -> bool {
    let head = "import test from 'node:test'\nimport assert, { strictEqual, ok } from 'node:assert/strict'\nimport { price } from '../src/price.js'\n";
    let counted = counted(&format!("{head}test('prices', async (t) => {{\n{body}\n}})\n"));
    assert!(counted.is_empty() || counted == ["prices"], "{counted:?}");
    !counted.is_empty()
}

#[test]
fn a_test_counts_if_it_asserts_something_that_can_fail() {
    for (body, counts) in [
        ("assert.equal(price(1), 1)", true),
        ("assert(price(1) === 1)", true),
        ("strictEqual(price(1), 1)", true),
        ("ok(price(1))", true),
        ("assert.throws(() => price(-1))", true),
        ("await assert.rejects(price(-1))", true),
        ("t.is(price(1), 1)", true),
        ("t.assert.equal(price(1), 1)", true),
        ("expect(price(1)).toBe(1)", true),
        ("expect(price(1)).not.toBe(2)", true),
        ("await expect(price(1)).resolves.toEqual(1)", true),
        ("expect(() => price(-1)).toThrow()", true),
        ("expect(price(1)).to.be.true", true),
        ("expect(price(1)).to.equal(1)", true),
        ("expect(price(1)).to.have.property('a').that.equals(1)", true),
        ("price(1).should.equal(1)", true),
        ("await request(price).get('/').expect(200)", true),
        ("if (price(1) !== 1) { throw new Error('no') }", true),
        ("const check = (n) => assert.equal(price(n), n)\ncheck(1)", true),
        ("for (const n of [1, 2]) { assert.equal(price(n), n) }", true),
        ("[1, 2].forEach((n) => { assert.equal(price(n), n) })", true),
        ("try { price(1) } catch (error) { assert.fail(error) }", true),
        // Nothing is asserted.
        ("", false),
        ("price(1)", false),
        ("console.log(price(1) === 1)", false),
        ("expect(price(1))", false),
        ("expect(price(1)).toBe", false),
        ("expect.assertions(1); price(1)", false),
        ("const check = (n) => assert.equal(price(n), n)", false),
        ("t.pass(price(1))", false),
        // It is always true.
        ("price(1); expect(true).toBe(true)", false),
        ("price(1); expect(1).toEqual(1)", false),
        ("const x = price(1); expect(x).toBe(x)", false),
        ("price(1); assert.ok(true)", false),
        ("price(1); assert(true)", false),
        ("price(1); assert.equal(1, 1)", false),
        ("const x = price(1); assert.equal(x, x)", false),
        ("const x = price(1); assert.ok(x || true)", false),
        ("const x = price(1); assert.ok(x === x)", false),
        ("price(1); t.true(true)", false),
        ("price(1); ok(true, 'why')", false),
        // What fails is caught and forgotten.
        ("try { assert.equal(price(1), 2) } catch {}", false),
        ("await check(price).then(() => assert.equal(price(1), 2)).catch(() => {})", false),
        ("await check(price).catch((error) => { assert.equal(error.code, 2) })", true),
        // Nobody waits for it.
        ("expect(price(1)).resolves.toBe(2)", false),
        ("assert.rejects(price(1))", false),
        ("return expect(price(1)).resolves.toBe(2)", true),
        // What is imported is always there.
        ("expect(price).toBeDefined()", false),
        ("expect(price).not.toBeNull()", false),
        ("expect(typeof price).toBe('function')", false),
        ("assert(price)", false),
        ("assert.ok(price)", false),
        ("const found = price(1); expect(found).toBeDefined()", true),
        ("for (const found of price(1)) { assert.ok(found) }", true),
        ("try { assert.equal(price(1), 2) } catch (error) { console.log(error) }", false),
        ("try { assert.equal(price(1), 2) } catch (error) { throw error }", true),
        // Nothing comes so far.
        ("price(1); return; assert.equal(price(1), 1)", false),
        ("t.skip('later'); assert.equal(price(1), 1)", false),
        ("t.todo(); assert.equal(price(1), 1)", false),
        // It does not use the file.
        ("assert.equal(Math.max(1, 2), 2)", false),
        ("const price = (n) => n; assert.equal(price(1), 1)", false),
    ] {
        assert_eq!(body_counts(body), counts, "{body}");
    }
}

#[test]
fn a_test_that_is_skipped_put_off_or_meant_to_fail_does_not_count() {
    let body = "() => { expect(price(1)).toBe(1) }";
    for (test, counts) in [
        ("it('x', BODY)", true),
        ("test('x', BODY)", true),
        ("test.only('x', BODY)", true),
        ("it.concurrent('x', BODY)", true),
        ("test('x', { timeout: 5 }, BODY)", true),
        ("test('x', { skip: false }, BODY)", true),
        ("it.each([1, 2])('x', BODY)", true),
        ("test.each`n\n${1}`('x', BODY)", true),
        ("describe('', () => { it('x', BODY) })", true),
        ("test('x', function () { expect(price(1)).toBe(1) })", true),
        ("it.skip('x', BODY)", false),
        ("test.skip('x', BODY)", false),
        ("test.todo('x')", false),
        ("test.todo('x', BODY)", false),
        ("it('x')", false),
        ("xit('x', BODY)", false),
        ("xtest('x', BODY)", false),
        ("it.skip.each([1])('x', BODY)", false),
        ("test.fails('x', BODY)", false),
        ("it.failing('x', BODY)", false),
        ("test.skipIf(true)('x', BODY)", false),
        ("test.runIf(false)('x', BODY)", false),
        ("test('x', { skip: true }, BODY)", false),
        ("test('x', { skip: 'later' }, BODY)", false),
        ("test('x', { todo: true }, BODY)", false),
        ("describe.skip('', () => { it('x', BODY) })", false),
        ("describe.skip('', () => { describe('', () => { it('x', BODY) }) })", false),
        ("xdescribe('', () => { it('x', BODY) })", false),
        ("describe('', { skip: true }, () => { it('x', BODY) })", false),
        ("describe.todo('', () => { it('x', BODY) })", false),
        ("it('x', function () { this.skip(); expect(price(1)).toBe(1) })", false),
    ] {
        let file = format!("import {{ price }} from '../src/price'\n{}\n", test.replace("BODY", body));
        assert_eq!(!counted(&file).is_empty(), counts, "{test}");
    }
}

#[test]
fn a_name_is_followed_to_its_file_however_it_is_imported() {
    for (import, call) in [
        ("import { price } from '../src/price'", "price(1)"),
        ("import { price as p } from '../src/price.js'", "p(1)"),
        ("import * as shop from '../src/price'", "shop.price(1)"),
        ("import Cart from '../src/price'", "new Cart().total()"),
        ("import Cart, { price } from '../src/price'", "price(1)"),
        ("import { price } from '@/price'", "price(1)"),
        ("const { price } = require('../src/price')", "price(1)"),
        ("const { price: p } = require('../src/price')", "p(1)"),
        ("const shop = require('../src/price')", "shop.price(1)"),
        ("const price = require('../src/price').price", "price(1)"),
        ("", "require('../src/price').price(1)"),
    ] {
        let test = format!("{import}\ntest('x', () => {{ expect({call}).toBe(1) }})\n");
        assert_eq!(counted(&test), ["x"], "{import}");
    }
    let late = "test('x', async () => { const { price } = await import('../src/price.js'); expect(price(1)).toBe(1) })";
    assert_eq!(counted(late), ["x"]);
    let other = "import { price } from '../src/cost'\ntest('x', () => { expect(price(1)).toBe(1) })\n";
    assert_eq!(counted(other), [""; 0]);
    let outside = "import { price } from '../../src/price'\ntest('x', () => { expect(price(1)).toBe(1) })\n";
    assert_eq!(counted(outside), [""; 0]);
}

#[test]
fn an_index_that_passes_a_name_on_does_not_hide_its_file() {
    let module = ("src/shop/price.ts", "export const price = (n: number): number => n\n");
    let test =
        ("src/shop/shop.spec.ts", "import { price } from '.'\nit('x', () => { expect(price(1)).toBe(1) })\n");
    for index in [
        "export { price } from './price'",
        "export * from './price'",
        "import { price } from './price'\nexport { price }",
    ] {
        assert_eq!(tests_of(&[module, ("src/shop/index.ts", index), test], module.0), ["x"], "{index}");
    }
}

#[test]
fn components_routes_and_typescript_are_source_too() {
    let view = ("src/View.tsx", "export const View = ({ name }: { name: string }) => <p>{name}</p>\n");
    let test = "import { View } from './View'\nit('shows', () => { render(<View name=\"a\" />); expect(screen.getByText('a')).toBeTruthy() })\n";
    assert_eq!(tests_of(&[view, ("src/View.test.tsx", test)], view.0), ["shows"]);
    let routes = (
        "app.js",
        "const app = require('express')()\napp.get('/', (req, res) => { res.send('ok') })\nmodule.exports = app\n",
    );
    let test = "const request = require('supertest')\nconst app = require('./app')\ntest('answers', async () => { await request(app).get('/').expect(200) })\n";
    assert_eq!(tests_of(&[routes, ("app.test.js", test)], routes.0), ["answers"]);
    for (path, text, functions) in [
        (
            "a.ts",
            "export class A { constructor() {} f(): number { return 1 } private g = () => 2 }\n",
            Some(2),
        ),
        ("a.cjs", "exports.f = function () { return 1 }\n", Some(1)),
        ("a.mjs", "export default () => 1\n", Some(1)),
        ("a.js", "const xs = [1].map((x) => x + 1)\n", None),
        ("a.js", "app.get('/', (asked, answer) => answer.send('ok'))\n", Some(1)),
        ("a.jsx", "export default memo((x) => <p>{x.a}</p>)\n", Some(1)),
        ("a.js", "const Page = lazy(() => import('./Page'))\n", None),
        ("a.ts", "export interface A { f(): number }\n", None),
        ("a.d.ts", "export function f(): number\n", None),
        ("vite.config.ts", "export default defineConfig(() => { return {} })\n", None),
    ] {
        let found = found(&[(path, text)]);
        assert_eq!(found.problems, []);
        assert_eq!(found.report.files.first().map(|file| file.functions), functions, "{text}");
    }
}

#[test]
fn titles_are_the_groups_and_the_test_with_spaces_between() {
    let test = "\
import { describe, it, before } from 'node:test'
import assert from 'node:assert'
import Cart, { price } from '../src/price.js'
let cart
describe('cart', () => {
  const twice = (n) => price(n) * 2
  before(() => { cart = new Cart() })
  it('sums up', () => { assert.equal(cart.total(), 1) })
  describe('of many', () => { it('it\\'s more', () => { assert.equal(twice(1), 2) }) })
})
it('has parts', async (t) => {
  await t.test('one', () => { assert.equal(price(1), 1) })
})
";
    assert_eq!(counted(test), ["cart of many it's more", "cart sums up", "has parts", "has parts one"]);
}

#[test]
fn a_title_that_is_made_when_it_runs_says_what_stands_before_it_or_in_which_file_it_is() {
    for (declared, name) in [
        ("describe('cart', () => { BODY })", "cart adds"),
        ("describe(Cart, () => { BODY })", "Cart adds"),
        ("describe(Cart.name, () => { BODY })", "Cart adds"),
        (
            "describe('cart', () => { it(row.title, () => { expect(price(1)).toBe(1) }) })",
            "cart ${row.title}",
        ),
        ("it('adds ' + x + ' up', () => { expect(price(1)).toBe(1) })", "adds ${x} up"),
        ("it(`adds ${x}`, () => { expect(price(1)).toBe(1) })", "adds ${x}"),
        ("it(row.title, () => { expect(price(1)).toBe(1) })", "price.test.js ${row.title}"),
        ("it.each(rows)('%i + %i', () => { expect(price(1)).toBe(1) })", "price.test.js %i + %i"),
        ("it('50% off', () => { expect(price(1)).toBe(1) })", "50% off"),
    ] {
        let declared = declared.replace("BODY", "it('adds', () => { expect(price(1)).toBe(1) })");
        let test = format!("import Cart, {{ price }} from '../src/price'\n{declared}\n");
        assert_eq!(counted(&test), [name], "{declared}");
    }
}

#[test]
fn names_that_the_apps_settings_give_to_its_files_are_followed() {
    for (settings, text, module) in [
        ("package.json", r##"{"imports":{"#src/*":"./src/*.js"}}"##, "#src/price"),
        (
            "package.json",
            r##"{"imports":{"#price":{"types":"./x.d.ts","default":"./src/price.js"}}}"##,
            "#price",
        ),
        ("package.json", r#"{"name":"@me/shop"}"#, "@me/shop/price"),
        ("package.json", r#"{"name":"shop","main":"src/price.js"}"#, "shop"),
        (
            "tsconfig.json",
            "{ // of the app\n\"compilerOptions\": { \"paths\": { \"@app/*\": [\"./src/*\"], }, /* all */ } }",
            "@app/price",
        ),
        ("tsconfig.base.json", r#"{"compilerOptions":{"baseUrl":"src"}}"#, "price"),
    ] {
        let test =
            format!("import {{ price }} from '{module}'\ntest('x', () => {{ expect(price(1)).toBe(1) }})\n");
        let files = [PRICE, (settings, text), ("test/price.test.js", test.as_str())];
        assert_eq!(tests_of(&files, PRICE.0), ["x"], "{settings}: {module}");
        let elsewhere = format!("other/{settings}");
        let files = [PRICE, (elsewhere.as_str(), text), ("test/price.test.js", test.as_str())];
        assert_eq!(tests_of(&files, PRICE.0), [""; 0], "settings of another folder: {module}");
    }
    let lib = ("src/lib/price.ts", "export const price = (n: number) => n\n");
    let test = "import { price } from '$lib/price'\ntest('x', () => { expect(price(1)).toBe(1) })\n";
    assert_eq!(tests_of(&[lib, ("src/routes/page.test.ts", test)], lib.0), ["x"]);
}

#[test]
fn an_import_that_leads_nowhere_is_told() {
    let test = "import { price } from '#shop/price'\nimport './page.css'\nimport logo from './logo.svg'\nimport fs from 'node:fs'\nimport { cost } from '../src/cost'\nimport { twice } from '../src/price'\ntest('x', () => { expect(price(1)).toBe(1) })\n";
    let found = found(&[PRICE, ("test/price.test.js", test)]);
    let told: Vec<&str> = found.not_found.iter().map(|it| it.module.as_str()).collect();
    assert_eq!(told, ["#shop/price", "../src/cost"]);
    let text = found.not_found[0].to_string();
    assert!(text.starts_with("test/price.test.js imports `#shop/price`, and no source file"), "{text}");
}
