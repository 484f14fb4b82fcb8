//! Which licence is of which kind, by its name in SPDX's list and by what people call it.
//!
//! Format: the SPDX licence list: <https://spdx.org/licenses/>.

use rollout_rules::gate::facts::Licence;

/// Beginnings of SPDX names of licences that everything linked, or derived, falls under.
const STRONG: &[&str] = &[
    "AGPL-",
    "BSD-Protection",
    "CAL-1.0",
    "CC-BY-NC-SA-",
    "CC-BY-SA-",
    "CC-SA-",
    "CDLA-Sharing-",
    "CECILL-1",
    "CECILL-2",
    "CERN-OHL-S-",
    "EUPL-",
    "GFDL-",
    "GPL-",
    "LAL-",
    "LiLiQ-Rplus-",
    "Linux-man-pages-copyleft",
    "NPOSL-",
    "ODbL-",
    "OSL-",
    "Parity-",
    "QPL-",
    "RPL-",
    "SSPL-",
    "SimPL-",
    "Sleepycat",
    "copyleft-next-",
];

/// Beginnings of SPDX names of licences that hold for changes of the library itself.
const WEAK: &[&str] = &[
    "APSL-",
    "CAL-1.0-Combined-Work-Exception",
    "CATOSL-",
    "CDDL-",
    "CECILL-C",
    "CERN-OHL-W-",
    "CPAL-",
    "CPL-",
    "CUA-OPL-",
    "EPL-",
    "ErlPL-",
    "Frameworx-",
    "IPL-",
    "Interbase-",
    "LGPL-",
    "LGPLLR",
    "LPL-",
    "LPPL-",
    "LiLiQ-R-",
    "MPL-",
    "MS-PL",
    "MS-RL",
    "Motosoto",
    "NPL-",
    "Nokia",
    "OFL-",
    "RPSL-",
    "RSCPL",
    "SISSL",
    "SPL-",
    "SugarCRM-",
    "Vim",
    "Watcom-",
    "YPL-",
    "Zimbra-",
    "eCos-",
    "wxWindows",
];

/// Beginnings of SPDX names of licences that ask for a notice only, and that neither OSI nor FSF has looked at.
const PERMISSIVE: &[&str] = &[
    "Apache-",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-4-Clause",
    "BSD-4.3",
    "BSD-Source-Code",
    "Beerware",
    "CC-BY-1.0",
    "CC-BY-2.",
    "CC-BY-3.0",
    "CC-PDDC",
    "CC-PDM-",
    "CDLA-Permissive-",
    "CECILL-B",
    "FSFUL",
    "HPND",
    "ISC",
    "ImageMagick",
    "Info-ZIP",
    "Libpng",
    "MIT-",
    "MulanPSL-",
    "NIST-",
    "OLDAP-",
    "OpenSSL",
    "PDDL-",
    "PSF-",
    "SAX-PD",
    "SSH-",
    "SunPro",
    "TCL",
    "Unicode-DFS-",
    "Unlicense-",
    "X11",
    "ZPL-",
    "blessing",
    "bzip2-",
    "libpng-",
    "libtiff",
    "mpich2",
    "python-ldap",
    "zlib-",
];

/// Beginnings of names that would else be in the list above: they forbid something.
const RESTRICTED: &[&str] = &["BSD-3-Clause-No-", "BSD-3-Clause-OpenWebUI", "X11-no-permit"];

/// Words of SPDX names of exceptions that let others link, or take what a program writes, freely.
const LINKING: &[&str] = &[
    "Autoconf-",
    "Bison-",
    "Bootloader-",
    "CLISP-",
    "Classpath-",
    "FLTK-",
    "Font-",
    "GCC-",
    "GNAT-",
    "GNU-compiler-",
    "GPL-3.0-interface-",
    "GPL-3.0-linking-",
    "Independent-modules-",
    "LZMA-",
    "Libtool-",
    "Linux-syscall-note",
    "OpenJDK-assembly-",
    "Qt-GPL-",
    "Simple-Library-Usage-",
    "Texinfo-",
    "Universal-FOSS-",
    "eCos-",
    "freertos-",
    "gnu-javamail-",
    "i2p-gpl-java-",
    "linking-exception",
    "mif-",
    "u-boot-",
];

/// What people call licences that ask for a notice only: lower case, one blank between words, no commas, no `the` before and no
/// `license` behind. Only whole names count, so that `MIT with restrictions` is not one.
const CALLED_PERMISSIVE: &[&str] = &[
    "0bsd",
    "2-clause bsd",
    "3-clause bsd",
    "academic free",
    "apache",
    "apache 2",
    "apache 2.0",
    "apache license 2",
    "apache license 2.0",
    "apache license v2.0",
    "apache license version 2.0",
    "apache software",
    "apache software license 2.0",
    "apache software license version 2.0",
    "apache v2",
    "apache v2.0",
    "apache version 2.0",
    "apache-2",
    "apache2",
    "apache2.0",
    "asl 2.0",
    "blue oak model",
    "boost software license 1.0",
    "boost software license 1.0 (bsl-1.0)",
    "bsd",
    "bsd 2-clause",
    "bsd 3-clause",
    "bsd licence",
    "bsd style",
    "bsd-2",
    "bsd-3",
    "bsd-like",
    "bsd-style",
    "cc0",
    "cc0 1.0 universal (cc0 1.0) public domain dedication",
    "expat",
    "free bsd",
    "freebsd",
    "historical permission notice and disclaimer (hpnd)",
    "isc",
    "isc license (iscl)",
    "iscl",
    "mit",
    "mit and mit-0",
    "mit licence",
    "mit license (expat)",
    "mit license (mit)",
    "mit no attribution license (mit-0)",
    "mit-license",
    "mit/x11",
    "modified bsd",
    "new bsd",
    "postgresql",
    "psf",
    "psfl",
    "psf-2",
    "public domain",
    "python",
    "python software foundation",
    "python software foundation license 2.0",
    "python software foundation license version 2",
    "revised bsd",
    "simplified bsd",
    "unlicense",
    "unlicense (unlicense)",
    "w3c",
    "wtfpl",
    "x11",
    "zlib",
    "zlib/libpng",
    "zlib/libpng license (zlib)",
    "zope public",
    "zpl",
];

/// What names of weak copyleft hold; looked for before the strong ones, as `lesser general public` holds one of those.
const CALLED_WEAK: &[&str] = &[
    "lesser general public",
    "library general public",
    "lgpl",
    "mozilla public",
    "mpl",
    "eclipse public",
    "epl",
    "cddl",
    "common development and distribution",
    "common public license",
    "sil open font",
    "ofl",
];

/// What names of strong copyleft hold.
const CALLED_STRONG: &[&str] = &[
    "affero",
    "agpl",
    "general public",
    "gpl",
    "server side public",
    "sspl",
    "european union public",
    "eupl",
    "open software license",
    "attribution-sharealike",
    "cc by-sa",
    "cc-by-sa",
];

/// The kind of a licence by its SPDX name; none: it is no such name.
pub(super) fn by_id(name: &str) -> Option<Licence> {
    let id = ::spdx::license_id(name)?;
    let begins = |list: &[&str]| list.iter().any(|beginning| id.name.starts_with(beginning));
    Some(if begins(WEAK) {
        Licence::WeakCopyleft
    } else if begins(STRONG) {
        Licence::StrongCopyleft
    } else if begins(RESTRICTED) {
        Licence::Unknown
    } else if begins(PERMISSIVE) {
        Licence::Permissive
    } else if id.is_copyleft() {
        Licence::StrongCopyleft
    } else if id.is_osi_approved() || id.is_fsf_free_libre() {
        Licence::Permissive
    } else {
        Licence::Unknown
    })
}

/// The kind of a licence by what people call it; none: it is not known by that name.
pub(super) fn by_words(text: &str) -> Option<Licence> {
    let name = simplified(text);
    if CALLED_PERMISSIVE.contains(&name.as_str()) {
        return Some(Licence::Permissive);
    }
    // What is joined is taken apart first: each part counts for itself.
    if [" or ", " and ", "/", "(", ";"].iter().any(|joint| is_joint(&name, joint)) {
        return None;
    }
    let holds = |list: &[&str]| list.iter().any(|words| holds_words(&name, words));
    if holds(CALLED_WEAK) {
        Some(Licence::WeakCopyleft)
    } else if holds(CALLED_STRONG) {
        Some(Licence::StrongCopyleft)
    } else {
        None
    }
}

/// Whether an exception lets others link freely.
pub(super) fn is_linking_exception(name: &str) -> bool {
    LINKING.iter().any(|word| name.contains(word)) && !name.contains("OpenSSL") && !name.contains("openssl")
}

/// A bracket joins only in expressions, where it comes first: `(MIT OR GPL-2.0)`. In names it explains.
fn is_joint(name: &str, joint: &str) -> bool {
    if joint == "(" { name.starts_with('(') } else { name.contains(joint) }
}

/// Whether a name holds words that begin where a word begins: `gpl` is in `gnu gplv3` and not in `lgpl`.
fn holds_words(name: &str, words: &str) -> bool {
    name.match_indices(words).any(|(at, _)| !name[..at].ends_with(|c: char| c.is_ascii_alphanumeric()))
}

fn simplified(text: &str) -> String {
    // `License :: OSI Approved :: MIT License` of Python's index.
    let text = text.rsplit("::").next().unwrap_or(text).to_ascii_lowercase().replace(',', " ");
    let text = text.replace(" or later", "+").replace(" or any later version", "+");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = words.strip_prefix("the ").unwrap_or(&words);
    words.strip_suffix(" license").unwrap_or(words).to_owned()
}
