//! Which tests of Python count for a file, and which do not.

use super::{found, tests_of};

const PRICE: (&str, &str) = (
    "src/price.py",
    "LIMIT = 9\n\n\ndef price(n):\n    return n\n\n\nclass Cart:\n    def total(self):\n        return 1\n",
);

/// The tests that count for `src/price.py`, of one test file.
fn counted(test: &str) -> Vec<String> {
    tests_of(&[PRICE, ("src/__init__.py", ""), ("tests/test_price.py", test)], PRICE.0)
}

/// The same of a body of `test_x`, in a file that imports what it needs.
fn body_counts(body: &str) -> bool {
    let body = body.replace('\n', "\n    ");
    let head = "import unittest\nimport pytest\nfrom src.price import price, Cart\n\n";
    let counted = counted(&format!("{head}def test_x():\n    {body}\n"));
    assert!(counted.is_empty() || counted == ["tests.test_price.test_x"], "{counted:?}");
    !counted.is_empty()
}

#[test]
fn a_test_counts_if_it_asserts_something_that_can_fail() {
    for (body, counts) in [
        ("assert price(1) == 1", true),
        ("total = Cart().total()\nassert total", true),
        ("with pytest.raises(ValueError):\n    price(-1)", true),
        ("assert price(1) == 1, 'a message'", true),
        ("if price(1) != 1:\n    raise AssertionError('no')", true),
        ("try:\n    price(-1)\n    assert False\nexcept ValueError:\n    pass", true),
        ("try:\n    price(1)\nexcept ValueError:\n    pytest.fail('no')", true),
        ("def check(n):\n    assert price(n) == n\nfor n in range(3):\n    check(n)", true),
        // Nothing is asserted.
        ("pass", false),
        ("...", false),
        ("'price works'", false),
        ("price(1)", false),
        ("print(price(1) == 1)", false),
        ("def check(n):\n    assert price(n) == n", false),
        // It is always true.
        ("price(1)\nassert True", false),
        ("price(1)\nassert 1", false),
        ("price(1)\nassert 1 == 1", false),
        ("price(1)\nassert 'price'", false),
        ("price(1)\nassert not False", false),
        ("x = price(1)\nassert x == x", false),
        ("assert price(1) == price( 1 )", false),
        ("x = price(1)\nassert x is x", false),
        ("x = price(1)\nassert (x == 1, 'why')", false),
        ("x = price(1)\nassert x == 1 or True", false),
        ("x = price(1)\nassert [x]", false),
        ("x = [price(1)]\nassert len(x) >= 0", false),
        // What fails is caught and forgotten.
        ("try:\n    assert price(1) == 2\nexcept Exception:\n    pass", false),
        ("try:\n    assert price(1) == 2\nexcept:\n    pass", false),
        ("with contextlib.suppress(Exception):\n    assert price(1) == 2", false),
        ("with suppress(ValueError, AssertionError):\n    assert price(1) == 2", false),
        ("with contextlib.suppress(ValueError):\n    assert price(1) == 2", true),
        ("try:\n    assert price(1) == 2\nfinally:\n    return", false),
        ("try:\n    assert price(1) == 2\nfinally:\n    print(1)", true),
        // What is imported is always there.
        ("assert price", false),
        ("assert price is not None", false),
        ("assert callable(price)", false),
        ("found = price(1)\nassert found is not None", true),
        ("for found in price(1):\n    assert found", true),
        ("try:\n    assert price(1) == 2\nexcept AssertionError as error:\n    print(error)", false),
        ("try:\n    assert price(1) == 2\nexcept Exception:\n    raise", true),
        // Nothing comes so far.
        ("price(1)\nreturn\nassert price(1) == 1", false),
        ("pytest.skip('later')\nassert price(1) == 1", false),
        ("pytest.xfail('later')\nassert price(1) == 1", false),
        ("raise unittest.SkipTest('later')\nassert price(1) == 1", false),
        // It does not use the file.
        ("assert sum([1]) == 1", false),
        ("price = lambda n: n\nassert price(1) == 1", false),
    ] {
        assert_eq!(body_counts(body), counts, "{body}");
    }
}

#[test]
fn a_test_that_is_marked_as_skipped_or_meant_to_fail_does_not_count() {
    for (mark, counts) in [
        ("@pytest.mark.slow", true),
        ("@pytest.mark.parametrize('n', [1, 2])", true),
        ("@pytest.mark.skipif(sys.platform == 'win32', reason='x')", true),
        ("@pytest.mark.skipif(False, reason='x')", true),
        ("@pytest.mark.skip", false),
        ("@pytest.mark.skip(reason='not written yet')", false),
        ("@mark.skip", false),
        ("@pytest.mark.skipif(True, reason='x')", false),
        ("@pytest.mark.skipif(1, reason='x')", false),
        ("@pytest.mark.skipif(condition=True, reason='x')", false),
        ("@pytest.mark.xfail", false),
        ("@pytest.mark.xfail(strict=True)", false),
        ("@unittest.skip('x')", false),
        ("@unittest.skipIf(True, 'x')", false),
        ("@unittest.skipUnless(False, 'x')", false),
        ("@unittest.expectedFailure", false),
        ("@later", false),
        ("@pytest.mark.slow\n@pytest.mark.skip", false),
    ] {
        let head = "import pytest, sys, unittest\nfrom pytest import mark\nfrom src.price import price\nlater = pytest.mark.skip(reason='x')\n";
        let test = format!("{head}\n{mark}\ndef test_x():\n    assert price(1) == 1\n");
        assert_eq!(!counted(&test).is_empty(), counts, "{mark}");
        let in_class =
            format!("{head}\n{mark}\nclass TestX:\n    def test_x(self):\n        assert price(1) == 1\n");
        assert_eq!(!counted(&in_class).is_empty(), counts, "{mark} on a class");
    }
    for (head, counts) in [
        ("pytestmark = pytest.mark.slow", true),
        ("pytestmark = pytest.mark.skip", false),
        ("pytestmark = [pytest.mark.slow, pytest.mark.skip(reason='x')]", false),
        ("pytest.skip('x', allow_module_level=True)", false),
        ("if windows():\n    pytest.skip('x', allow_module_level=True)", true),
    ] {
        let test = format!(
            "import pytest\nfrom src.price import price\n{head}\ndef test_x():\n    assert price(1) == 1\n"
        );
        assert_eq!(!counted(&test).is_empty(), counts, "{head}");
    }
}

#[test]
fn a_name_is_followed_to_its_file_however_it_is_imported() {
    for (import, call) in [
        ("from src.price import price", "price(1)"),
        ("from src.price import price as p", "p(1)"),
        ("from src.price import *", "price(1)"),
        ("import src.price", "src.price.price(1)"),
        ("import src.price as p", "p.price(1)"),
        ("from src import price", "price.price(1)"),
        ("from price import price", "price(1)"),
        ("from ..src.price import price", "price(1)"),
        ("from src.price import LIMIT", "LIMIT"),
        ("try:\n    from src.price import price\nexcept ImportError:\n    price = None", "price(1)"),
    ] {
        let test = format!("{import}\n\n\ndef test_x():\n    assert {call} == 1\n");
        assert_eq!(counted(&test), ["tests.test_price.test_x"], "{import}");
        let local =
            format!("def test_x():\n    {}\n    assert {call} == 1\n", import.replace('\n', "\n    "));
        if !import.contains('*') {
            assert_eq!(counted(&local), ["tests.test_price.test_x"], "{import} in the test");
        }
    }
    for import in [
        "from other.price import price",
        "import json as price",
        "from src.cost import price",
        "import src.price",
    ] {
        let test = format!("{import}\n\n\ndef test_x():\n    assert price(1) == 1\n");
        assert_eq!(counted(&test), [""; 0], "{import}");
    }
}

#[test]
fn a_package_that_passes_a_name_on_does_not_hide_its_file() {
    let test = ("tests/test_shop.py", "from shop import price\n\ndef test_x():\n    assert price(1) == 1\n");
    let module = ("shop/price.py", "def price(n):\n    return n\n");
    for init in ["from .price import price\n", "from shop.price import price\n", "from .price import *\n"] {
        assert_eq!(
            tests_of(&[module, ("shop/__init__.py", init), test], module.0),
            ["tests.test_shop.test_x"],
            "{init}"
        );
    }
    let whole = ("tests/test_shop.py", "import shop\n\ndef test_x():\n    assert shop.price(1) == 1\n");
    let init = ("shop/__init__.py", "from .price import price\n");
    assert_eq!(tests_of(&[module, init, whole], module.0), ["tests.test_shop.test_x"]);
}

#[test]
fn a_test_uses_a_file_through_fixtures_helpers_and_variables_of_its_own_file() {
    for (what, test) in [
        (
            "fixture",
            "@pytest.fixture\ndef cart():\n    return Cart()\n\ndef test_x(cart):\n    assert cart.total() == 1\n",
        ),
        (
            "fixture by name",
            "@pytest.fixture(name='basket')\ndef make():\n    return Cart()\n\ndef test_x(basket):\n    assert basket.total() == 1\n",
        ),
        (
            "fixture of a fixture",
            "@pytest.fixture\ndef cart():\n    return Cart()\n@pytest.fixture\ndef sum_of(cart):\n    return cart.total()\n\ndef test_x(sum_of):\n    assert sum_of == 1\n",
        ),
        (
            "autouse",
            "@pytest.fixture(autouse=True)\ndef cart():\n    global C\n    C = Cart()\n\ndef test_x():\n    assert C.total() == 1\n",
        ),
        (
            "usefixtures",
            "@pytest.fixture\ndef cart():\n    Cart.one = Cart()\n\n@pytest.mark.usefixtures('cart')\ndef test_x():\n    assert seen == 1\n",
        ),
        ("helper", "def check(n):\n    assert price(n) == n\n\ndef test_x():\n    check(1)\n"),
        ("variable", "cart = Cart()\n\ndef test_x():\n    assert cart.total() == 1\n"),
        ("parameter", "@pytest.mark.parametrize('f', [price])\ndef test_x(f):\n    assert f(1) == 1\n"),
        ("async", "async def test_x():\n    assert await price(1) == 1\n"),
    ] {
        let test = format!("import pytest\nfrom src.price import price, Cart\n\n{test}");
        assert_eq!(counted(&test), ["tests.test_price.test_x"], "{what}");
    }
    let conftest = (
        "tests/conftest.py",
        "import pytest\nfrom src.price import Cart\n\n@pytest.fixture\ndef cart():\n    return Cart()\n",
    );
    let test = ("tests/unit/test_cart.py", "def test_x(cart):\n    assert cart.total() == 1\n");
    assert_eq!(tests_of(&[PRICE, conftest, test], PRICE.0), ["tests.unit.test_cart.test_x"]);
    let empty = "import pytest\nfrom src.price import Cart\n\n@pytest.fixture\ndef cart():\n    assert Cart().total() == 1\n\ndef test_x(cart):\n    pass\n";
    assert_eq!(counted(empty), [""; 0], "a fixture's assertion is not the test's");
}

#[test]
fn classes_of_pytest_and_unittest_name_their_tests_as_reports_do() {
    let test = "\
import unittest
from unittest import TestCase
from src.price import price, Cart

class TestPrice:
    def test_one(self):
        assert price(1) == 1
    class TestInner:
        def test_two(self):
            assert price(2) == 2
    def helper_test(self):
        assert price(1) == 1

class PriceCase(TestCase):
    def setUp(self):
        self.cart = Cart()
    def test_three(self):
        self.assertEqual(self.cart.total(), 1)
    def test_true(self):
        self.assertTrue(True)
    def test_same(self):
        self.assertEqual(1, 1)
    def test_same_name(self):
        x = self.cart.total()
        self.assertEqual(x, x)
    def test_helped(self):
        self.check(1)
    def check(self, n):
        self.assertEqual(price(n), n)
    @unittest.skip('later')
    def test_skipped(self):
        self.assertEqual(price(1), 1)
    def test_stopped(self):
        self.skipTest('later')
        self.assertEqual(price(1), 1)

class Derived(PriceCase):
    def test_four(self):
        self.assertGreater(self.cart.total(), 0)

class Plain:
    def test_five(self):
        assert price(1) == 1
";
    let expected = [
        "tests.test_price.Derived.test_four",
        "tests.test_price.PriceCase.test_helped",
        "tests.test_price.PriceCase.test_three",
        "tests.test_price.TestPrice.TestInner.test_two",
        "tests.test_price.TestPrice.test_one",
    ];
    assert_eq!(counted(test), expected);
}

#[test]
fn files_of_tests_are_known_by_their_names_or_folders() {
    let test = "import unittest\nfrom src.price import price\n\nclass PriceTests(unittest.TestCase):\n    def test_x(self):\n        self.assertEqual(price(1), 1)\n";
    for (path, counts) in [
        ("test_price.py", true),
        ("src/price_test.py", true),
        ("src/tests.py", true),
        ("tests/price.py", true),
        ("src/checks.py", false),
        ("src/contest.py", false),
    ] {
        let tests = tests_of(&[PRICE, (path, test)], PRICE.0);
        let name = format!("{}.PriceTests.test_x", path.trim_end_matches(".py").replace('/', "."));
        assert_eq!(tests, if counts { vec![name] } else { vec![] }, "{path}");
    }
}

#[test]
fn a_test_of_one_file_is_no_test_of_what_that_file_uses() {
    let app = ("src/app.py", "from src.price import price\n\ndef handle():\n    return price(1)\n");
    let test =
        ("tests/test_app.py", "from src.app import handle\n\ndef test_x():\n    assert handle() == 1\n");
    assert_eq!(tests_of(&[PRICE, app, test], "src/app.py"), ["tests.test_app.test_x"]);
    assert_eq!(tests_of(&[PRICE, app, test], "src/price.py"), [""; 0]);
}

#[test]
fn only_files_with_functions_are_source_files() {
    for (path, text, functions) in [
        ("a.py", "def f():\n    return 1\n", Some(1)),
        (
            "a.py",
            "class A:\n    def __init__(self):\n        pass\n    def f(self):\n        def g():\n            return 1\n        return g\n",
            Some(2),
        ),
        ("a.py", "f = lambda n: n\n", Some(1)),
        ("a.py", "@x.get('/')\nasync def f():\n    return 1\n", Some(1)),
        ("a.py", "class A:\n    def __init__(self):\n        pass\n", None),
        ("a.py", "class A(Protocol):\n    def f(self) -> int: ...\n", None),
        ("__init__.py", "", None),
        ("settings.py", "KEY = 1\n", None),
        ("tests/helper.py", "def f():\n    return 1\n", None),
        ("test_a.py", "def f():\n    return 1\n", None),
    ] {
        let found = found(&[(path, text)]);
        assert_eq!(found.problems, []);
        assert_eq!(found.report.files.first().map(|file| file.functions), functions, "{text}");
    }
}

#[test]
fn a_folder_that_tests_put_on_the_path_is_found_if_only_one_can_be_meant() {
    let module = ("backend/price.py", "def price(n):\n    return n\n");
    let test = (
        "tests/test_price.py",
        "import sys\nsys.path.insert(0, 'backend')\nfrom price import price\n\ndef test_x():\n    assert price(1) == 1\n",
    );
    assert_eq!(tests_of(&[module, test], module.0), ["tests.test_price.test_x"]);
    let other = ("frontend/price.py", module.1);
    assert_eq!(tests_of(&[module, other, test], module.0), [""; 0], "either may be meant");
    assert_eq!(tests_of(&[module, ("backend/__init__.py", ""), test], module.0), [""; 0], "a package's own");
}

#[test]
fn what_tools_wrote_needs_no_tests() {
    let code = "def f():\n    return 1\n";
    for (path, is_own) in [
        ("manage.py", false),
        ("shop/migrations/0001_initial.py", false),
        ("alembic/versions/1975ea83b712_add_orders.py", false),
        ("api/shop_pb2_grpc.py", false),
        ("shop/migrations/prices.py", true),
        ("versions/app_main.py", true),
        ("shop/0001_initial.py", true),
    ] {
        let seen = found(&[(path, code)]).report;
        assert_eq!((seen.files.len(), seen.read), if is_own { (1, 1) } else { (0, 0) }, "{path}");
    }
}
