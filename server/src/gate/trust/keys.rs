//! The keys and authorities that a policy trusts, made ready to check signatures with.

use std::collections::BTreeSet;
use std::fmt;

use rollout_rules::gate::facts::{SignerId, Untrusted};
use rollout_rules::gate::trust::{MAX_TRUSTED, Signs, Trust, TrustedKey};
use rollout_rules::time::UnixMs;

use super::authority::Authority;
use super::public_key::{Kind, MAX_RSA_BITS, MIN_RSA_BITS, Message, NotAKey, PublicKey};

/// Longest name of a key, authority or issuer, in bytes.
pub const MAX_NAME_BYTES: usize = 100;

/// The keys and authorities of a policy.
#[derive(Clone, Default)]
pub struct TrustedKeys {
    keys: Vec<Key>,
    authorities: Vec<Authority>,
}

/// What cannot be used of what a policy trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTrust {
    /// Of which part of the policy.
    pub part: TrustPart,
    /// The name of the key, authority or issuer.
    pub name: String,
    /// What is wrong with it.
    pub mistake: Mistake,
}

/// The parts of what a policy trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustPart {
    /// A key.
    Key,
    /// An authority.
    Authority,
    /// An issuer of tokens.
    Issuer,
}

/// What can be wrong with something that a policy trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// There are more than [`MAX_TRUSTED`] of its part; the name is that of the first too many.
    TooMany,
    /// Its name is empty, longer than [`MAX_NAME_BYTES`], or holds control characters.
    BadName,
    /// Another one has its name.
    NameTaken,
    /// It is a private key.
    PrivateKey,
    /// It is not one PEM block of what it should be.
    NotPem,
    /// It cannot be read.
    Broken,
    /// It is of a kind that is not taken.
    OtherKind,
    /// It is an RSA key of a size that is not taken.
    RsaSize {
        /// How many bits it has.
        bits: usize,
    },
    /// The certificate is not one of an authority.
    NotAnAuthority,
    /// It may sign nothing.
    SignsNothing,
    /// It may sign artifacts and statements, under one name or several, and nobody said that it is [`TrustedKey::shared`].
    ///
    /// [`TrustedKey::shared`]: rollout_rules::gate::trust::TrustedKey::shared
    SignsBoth,
    /// It ends before it begins.
    EndsBeforeItBegins,
    /// An issuer without `issuer`, `audience` or `algorithms`.
    Lacks {
        /// The field.
        field: &'static str,
    },
    /// Another issuer has the same `issuer` and `audience`.
    IssuerTwice,
    /// The key set that stands in the policy cannot be read.
    BadKeySet(super::jwks::BadKeySet),
}

impl fmt::Display for BadTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            TrustPart::Key => "key",
            TrustPart::Authority => "authority",
            TrustPart::Issuer => "issuer",
        };
        write!(f, "{part} `{}`: {}", self.name.escape_debug(), self.mistake)
    }
}

impl std::error::Error for BadTrust {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mistake::TooMany => write!(f, "there are more than {MAX_TRUSTED}: remove those that are not used any more"),
            Mistake::BadName => {
                write!(f, "the name has to be 1 to {MAX_NAME_BYTES} bytes of text in one line")
            }
            Mistake::NameTaken => f.write_str("the name is taken: decisions name signers by it, so give it another"),
            Mistake::PrivateKey => f.write_str(
                "this is a private key, which nobody but its owner may see: make a new pair, and give its public half",
            ),
            Mistake::NotPem => f.write_str(
                "`pem` has to be one block, `-----BEGIN PUBLIC KEY-----` of a key or `-----BEGIN CERTIFICATE-----` of an authority",
            ),
            Mistake::Broken => f.write_str("`pem` is damaged: copy it again, whole"),
            Mistake::OtherKind => f.write_str(
                "keys of this kind are not taken: use ECDSA P-256, Ed25519, or RSA of 2,048 bits or more",
            ),
            Mistake::RsaSize { bits } => write!(
                f,
                "an RSA key of {bits} bits is not taken: use one of {MIN_RSA_BITS} to {MAX_RSA_BITS}"
            ),
            Mistake::NotAnAuthority => {
                f.write_str("the certificate is not one of an authority (CA:TRUE): give its root, not a certificate that it issued")
            }
            Mistake::SignsNothing => f.write_str("`signs` is empty: say what it may sign, such as `provenance`"),
            Mistake::SignsBoth => f.write_str(
                "it may sign artifacts and statements: whoever has it sign a file could have it sign one that reads as a statement. Use a key of \
                 its own for `artifact`; or write `\"shared\": true`, if it signs nothing but what the pipeline that holds it made",
            ),
            Mistake::EndsBeforeItBegins => f.write_str("`not_after` has to be later than `not_before`"),
            Mistake::Lacks { field } => write!(f, "`{field}` is empty"),
            Mistake::IssuerTwice => f.write_str("another one has the same `issuer` and `audience`: keep one of them"),
            Mistake::BadKeySet(bad) => write!(f, "`jwks`: {bad}"),
        }
    }
}

/// A trusted key.
#[derive(Clone)]
struct Key {
    name: String,
    public: PublicKey,
    hints: Vec<String>,
    signs: Vec<Signs>,
    times: Times,
}

/// When something counts: from a moment on, until before another.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// From then on.
    pub(super) from: UnixMs,
    /// Until then, itself included.
    pub(super) until: UnixMs,
}

impl Times {
    /// As a policy writes it.
    pub(super) fn new(from: Option<UnixMs>, until: Option<UnixMs>) -> Result<Times, Mistake> {
        let times = Times { from: from.unwrap_or(UnixMs(0)), until: until.unwrap_or(UnixMs::NEVER) };
        if times.until <= times.from { Err(Mistake::EndsBeforeItBegins) } else { Ok(times) }
    }

    /// Whether it counts.
    pub(super) fn hold(&self, now: UnixMs) -> bool {
        self.from <= now && now <= self.until
    }
}

/// A signature, and whose it says it is.
pub(super) struct Signature {
    /// The signature itself.
    pub(super) bytes: Vec<u8>,
    /// How the key is called beside it: only a hint, anybody can write it.
    pub(super) hint: Option<String>,
}

/// What is asked about signatures.
pub(super) struct Asked<'a> {
    /// What was signed.
    pub(super) message: Message<'a>,
    /// The signatures.
    pub(super) signatures: &'a [Signature],
    /// What a key has to be allowed to sign; none: nothing depends on it.
    pub(super) purpose: Option<Signs>,
}

impl TrustedKeys {
    /// Makes ready what a policy trusts, or names every mistake in it.
    pub fn compile(trust: &Trust) -> Result<TrustedKeys, Vec<BadTrust>> {
        let mut bad = Vec::new();
        let mut names = BTreeSet::new();
        let mut keys = Vec::new();
        for (at, key) in trust.keys.iter().enumerate() {
            let mut found = check_entry(&mut names, at, &key.name);
            let times = kept(Times::new(key.not_before, key.not_after), &mut found);
            let public = kept(PublicKey::from_pem(&key.pem).map_err(Mistake::from), &mut found);
            found.extend(key.signs.is_empty().then_some(Mistake::SignsNothing));
            bad.extend(named(TrustPart::Key, &key.name, found));
            if let (Some(times), Some(public)) = (times, public) {
                let mut hints = public.hints();
                hints.push(key.name.clone());
                keys.push(Key { name: key.name.clone(), public, hints, signs: key.signs.clone(), times });
            }
        }
        let mut authorities = Vec::new();
        for (at, authority) in trust.authorities.iter().enumerate() {
            let mut found = check_entry(&mut names, at, &authority.name);
            let times = kept(Times::new(authority.not_before, authority.not_after), &mut found);
            authorities.extend(kept(Authority::new(authority, times), &mut found));
            found.extend(authority.signs.is_empty().then_some(Mistake::SignsNothing));
            bad.extend(named(TrustPart::Authority, &authority.name, found));
        }
        if bad.is_empty() { Ok(TrustedKeys { keys, authorities }) } else { Err(bad) }
    }

    /// What is wrong with what somebody wants to have trusted: what cannot be made ready, and keys that may sign artifacts and statements. Of
    /// policies that the log holds already the latter go on.
    pub fn mistakes(trust: &Trust) -> Vec<BadTrust> {
        let mut bad = TrustedKeys::compile(trust).err().unwrap_or_default();
        let read = |key: &TrustedKey| PublicKey::from_pem(&key.pem).ok().map(|public| public.digest());
        let keys: Vec<_> = trust.keys.iter().take(MAX_TRUSTED).map(|key| (key, read(key))).collect();
        for (key, public) in keys.iter().filter(|(key, public)| public.is_some() && !key.shared) {
            let same =
                || keys.iter().filter(|(_, other)| other == public).flat_map(|(other, _)| &other.signs);
            let (artifacts, statements) = (
                same().any(|signs| *signs == Signs::Artifact),
                same().any(|signs| *signs != Signs::Artifact),
            );
            if artifacts && statements {
                bad.extend(named(TrustPart::Key, &key.name, vec![Mistake::SignsBoth]));
            }
        }
        bad
    }

    /// The authorities.
    pub(super) fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// The kind of the key that a hint names, if it names one.
    pub(super) fn hinted(&self, hint: &str) -> Option<Kind> {
        self.keys.iter().find(|key| key.is_meant(hint)).map(|key| key.public.kind())
    }

    /// Which of the keys signed, every one of them tried whatever the hints say; or why none did that may.
    ///
    /// A key that signed what it may not sign is a stranger to it.
    pub(super) fn signers(&self, asked: &Asked<'_>, now: UnixMs) -> Result<Vec<SignerId>, Untrusted> {
        if asked.signatures.is_empty() {
            return Err(Untrusted::Unsigned);
        }
        let (mut signers, mut out_of_time, mut mismatch) = (Vec::new(), false, false);
        for key in &self.keys {
            if !asked.signatures.iter().any(|signature| key.public.made(asked.message, &signature.bytes)) {
                let hints = asked.signatures.iter().filter_map(|signature| signature.hint.as_deref());
                mismatch |= hints.into_iter().any(|hint| key.is_meant(hint));
            } else if asked.purpose.is_none_or(|purpose| key.signs.contains(&purpose)) {
                if key.times.hold(now) {
                    let id = SignerId { name: key.name.clone(), key: key.public.digest(), certificate: None };
                    signers.push(id);
                } else {
                    out_of_time = true;
                }
            }
        }
        match signers.is_empty() {
            false => Ok(signers),
            true if out_of_time => Err(Untrusted::OutOfTime),
            true if mismatch => Err(Untrusted::Mismatch),
            true => Err(Untrusted::Stranger),
        }
    }
}

impl Key {
    fn is_meant(&self, hint: &str) -> bool {
        let hint = hint.strip_prefix("SHA256:").unwrap_or(hint);
        self.hints.iter().any(|own| own == hint)
    }
}

/// What every named thing has to fulfil.
pub(super) fn check_entry(names: &mut BTreeSet<String>, at: usize, name: &str) -> Vec<Mistake> {
    let mut found = Vec::new();
    if name.trim().is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        found.push(Mistake::BadName);
    }
    if !names.insert(name.to_owned()) {
        found.push(Mistake::NameTaken);
    }
    if at == MAX_TRUSTED {
        found.push(Mistake::TooMany);
    }
    found
}

/// Mistakes with the name of what they are in.
pub(super) fn named(part: TrustPart, name: &str, found: Vec<Mistake>) -> impl Iterator<Item = BadTrust> {
    found.into_iter().map(move |mistake| BadTrust { part, name: name.to_owned(), mistake })
}

fn kept<T>(result: Result<T, Mistake>, found: &mut Vec<Mistake>) -> Option<T> {
    result.map_err(|mistake| found.push(mistake)).ok()
}

impl From<NotAKey> for Mistake {
    fn from(why: NotAKey) -> Mistake {
        match why {
            NotAKey::Private => Mistake::PrivateKey,
            NotAKey::NotPem => Mistake::NotPem,
            NotAKey::Broken => Mistake::Broken,
            NotAKey::OtherKind => Mistake::OtherKind,
            NotAKey::RsaSize { bits } => Mistake::RsaSize { bits },
        }
    }
}
