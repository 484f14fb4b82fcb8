//! What licences ask for, as they are written.

use proptest::prelude::*;
use rollout_rules::gate::facts::Licence::{self, Permissive, StrongCopyleft, Unknown, WeakCopyleft};

use super::super::licence::classify;

fn check(rows: &[(&str, Licence)]) {
    for (text, expected) in rows {
        assert_eq!(classify(text), *expected, "{text}");
    }
}

#[test]
fn names_of_the_spdx_list_are_told_apart() {
    check(&[
        ("MIT", Permissive),
        ("MIT-0", Permissive),
        ("Apache-2.0", Permissive),
        ("0BSD", Permissive),
        ("BSD-3-Clause", Permissive),
        ("BSD-2-Clause-Views", Permissive),
        ("ISC", Permissive),
        ("PSF-2.0", Permissive),
        ("Python-2.0", Permissive),
        ("CC0-1.0", Permissive),
        ("Unlicense", Permissive),
        ("Zlib", Permissive),
        ("HPND", Permissive),
        ("Unicode-3.0", Permissive),
        ("BlueOak-1.0.0", Permissive),
        ("LGPL-2.1-only", WeakCopyleft),
        ("LGPL-3.0+", WeakCopyleft),
        ("MPL-2.0", WeakCopyleft),
        ("EPL-2.0", WeakCopyleft),
        ("CDDL-1.0", WeakCopyleft),
        ("GPL-2.0", StrongCopyleft),
        ("GPL-2.0+", StrongCopyleft),
        ("GPL-3.0-or-later", StrongCopyleft),
        ("AGPL-3.0-only", StrongCopyleft),
        ("SSPL-1.0", StrongCopyleft),
        ("OSL-3.0", StrongCopyleft),
        ("EUPL-1.2", StrongCopyleft),
        ("CC-BY-SA-4.0", StrongCopyleft),
        ("BUSL-1.1", Unknown),
        ("Elastic-2.0", Unknown),
        ("CC-BY-NC-4.0", Unknown),
        ("BSD-3-Clause-No-Nuclear-License", Unknown),
        ("PolyForm-Noncommercial-1.0.0", Unknown),
    ]);
}

#[test]
fn of_a_choice_the_mildest_counts_and_of_a_sum_the_strictest() {
    check(&[
        ("MIT OR Apache-2.0", Permissive),
        ("MIT/Apache-2.0", Permissive),
        ("GPL-3.0-only OR MIT", Permissive),
        ("GPL-3.0-only AND MIT", StrongCopyleft),
        ("MIT AND MPL-2.0", WeakCopyleft),
        ("(MIT OR GPL-2.0-only) AND MPL-2.0", WeakCopyleft),
        ("MIT OR GPL-2.0-only AND MPL-2.0", Permissive),
        ("MIT OR LicenseRef-Ours", Permissive),
        ("MIT AND LicenseRef-Ours", Unknown),
        ("GPL-2.0-only AND LicenseRef-Ours", StrongCopyleft),
        ("GPL-2.0-only OR LicenseRef-Ours", StrongCopyleft),
        ("LicenseRef-Commercial OR GPL-3.0-only", StrongCopyleft),
        ("LicenseRef-Ours OR LicenseRef-Theirs", Unknown),
        ("MIT AND (GPL-3.0-only OR LicenseRef-Commercial)", StrongCopyleft),
        ("GPL-2.0-only WITH Classpath-exception-2.0", WeakCopyleft),
        ("GPL-2.0 WITH Classpath-exception-2.0", WeakCopyleft),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", WeakCopyleft),
        ("GPL-2.0-only WITH openvpn-openssl-exception", StrongCopyleft),
        ("Apache-2.0 WITH LLVM-exception", Permissive),
    ]);
}

#[test]
fn words_of_package_indexes_are_understood() {
    check(&[
        ("MIT License", Permissive),
        ("The MIT License (MIT)", Permissive),
        ("mit", Permissive),
        ("Apache 2.0", Permissive),
        ("Apache License, Version 2.0", Permissive),
        ("Apache Software License", Permissive),
        ("BSD License", Permissive),
        ("New BSD License", Permissive),
        ("3-Clause BSD License", Permissive),
        ("License :: OSI Approved :: MIT License", Permissive),
        ("License :: OSI Approved :: BSD License", Permissive),
        ("License :: OSI Approved :: Apache Software License", Permissive),
        ("License :: OSI Approved :: Python Software Foundation License", Permissive),
        ("License :: OSI Approved :: ISC License (ISCL)", Permissive),
        ("Apache 2.0 or MIT", Permissive),
        ("BSD License or Apache License, Version 2.0", Permissive),
        ("Public Domain", Permissive),
        ("GPL", StrongCopyleft),
        ("GPLv3", StrongCopyleft),
        ("GNU GPL v2 or later", StrongCopyleft),
        ("License :: OSI Approved :: GNU General Public License v2 or later (GPLv2+)", StrongCopyleft),
        ("GNU Affero General Public License v3", StrongCopyleft),
        ("LicenseRef-GPL", StrongCopyleft),
        ("LGPL", WeakCopyleft),
        ("License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", WeakCopyleft),
        ("Mozilla Public License 2.0 (MPL 2.0)", WeakCopyleft),
        ("LicenseRef-MIT-License", Permissive),
        ("LGPL with exceptions", WeakCopyleft),
        ("GPL or MIT", Permissive),
        ("GNU AFFERO GPL 3.0", StrongCopyleft),
        ("Dual Licensed - GNU AFFERO GPL 3.0 or Artifex Commercial License", StrongCopyleft),
        ("GPLv3 or a commercial licence", StrongCopyleft),
        ("GPL and MIT License", StrongCopyleft),
        ("MIT License\n\nCopyright (c) 2026\n\nPermission is hereby granted", Permissive),
    ]);
}

#[test]
fn what_is_not_said_or_not_known_is_unknown() {
    check(&[
        ("", Unknown),
        ("NOASSERTION", Unknown),
        ("NONE", Unknown),
        ("UNLICENSED", Unknown),
        ("Proprietary", Unknown),
        ("License :: Other/Proprietary License", Unknown),
        ("SEE LICENSE IN LICENSE.md", Unknown),
        ("MIT with restrictions", Unknown),
        ("mitigated", Unknown),
        ("Dual License", Unknown),
        ("((", Unknown),
        ("MIT OR", Unknown),
        (&"MIT OR ".repeat(1_000), Unknown),
    ]);
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in ".{0,80}") {
        classify(&text);
    }

    #[test]
    fn no_expression_is_too_odd(words in prop::collection::vec(
        prop::sample::select(vec!["MIT", "GPL-2.0", "LicenseRef-a", "AND", "OR", "WITH", "(", ")", "+", "/", "Classpath-exception-2.0", "gpl", "é"]),
        0..12,
    ), joint in prop::sample::select(vec![" ", ""])) {
        classify(&words.join(joint));
    }

    #[test]
    fn adding_a_licence_by_and_never_makes_it_milder(
        names in prop::collection::vec(prop::sample::select(vec!["MIT", "MPL-2.0", "GPL-3.0-only", "LicenseRef-Ours"]), 1..5),
    ) {
        use super::super::licence::rank;
        let whole = rank(classify(&names.join(" AND ")));
        prop_assert!(names.iter().all(|name| rank(classify(name)) <= whole));
        let choice = rank(classify(&names.join(" OR ")));
        let mut known = names.iter().filter(|name| **name != "LicenseRef-Ours");
        prop_assert!(known.all(|name| rank(classify(name)) >= choice));
    }
}
