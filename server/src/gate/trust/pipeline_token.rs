//! Tokens by which pipelines say who they are: OpenID Connect, as GitHub Actions and GitLab CI issue it.
//!
//! Which algorithm counts is said by the policy, never by a token alone. Names of repositories can be taken over, so what is
//! decided hangs on their numbers; nothing hangs on `sub`, whose form differs between issuers, and which owners can change.
//! Whether a token was used before is looked up by who asks: each has a name, [`PipelineIdentity::token_id`].
//!
//! Format: OpenID Connect Core 1.0 over signed tokens of RFC 7515 and 7519: <https://openid.net/specs/openid-connect-core-1_0.html>.

use std::fmt;

use rollout_rules::gate::facts::PipelineIdentity;
use rollout_rules::gate::trust::{IssuerShape, Jwks, TokenAlgorithm, Trust, TrustedIssuer};
use rollout_rules::ids::Digest;
use rollout_rules::time::{DAY, DurationMs, UnixMs};
use serde::Deserialize;

use super::base64_text;
use super::claims::{self, Registered};
use super::jwks::{self, BadKeySet, IssuerKey, algorithm_name};
use super::keys::{BadTrust, Mistake, TrustPart, check_entry, named};
use crate::gate::json;

/// Longest token that is read, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How far the clocks of issuer and server may be apart.
pub const TOKEN_SKEW: DurationMs = DurationMs(60_000);
/// Longest life of a token; those of pipelines last minutes.
pub const MAX_TOKEN_LIFE: DurationMs = DAY;

/// The issuers of a policy, with their keys.
#[derive(Clone, Default)]
pub struct Issuers(Vec<Issuer>);

#[derive(Clone)]
struct Issuer {
    trusted: TrustedIssuer,
    keys: Vec<IssuerKey>,
}

/// Why a token does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It is no token, or lacks a claim.
    Malformed {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The policy names nobody as its issuer.
    UnknownIssuer,
    /// It is signed in a way that the policy does not take: `none`, a shared secret, another algorithm.
    Algorithm {
        /// The issuer's name in the policy.
        issuer: String,
    },
    /// The issuer's key set has no such key; it may be newer than the set that is known here.
    UnknownKey {
        /// The issuer's name in the policy.
        issuer: String,
    },
    /// The signature does not match.
    Signature {
        /// The issuer's name in the policy.
        issuer: String,
    },
    /// It was issued for somebody else.
    Audience {
        /// What the policy expects.
        expected: String,
    },
    /// It has ended.
    Expired {
        /// When.
        at: UnixMs,
    },
    /// It has not begun.
    NotYet {
        /// When it does.
        at: UnixMs,
    },
    /// It lasts longer than [`MAX_TOKEN_LIFE`].
    LivesTooLong,
    /// It has no name of its own (`jti`), so it could be used twice.
    NoTokenId,
}

impl TokenError {
    /// What kind, for programs. Never changes.
    pub fn code(&self) -> &'static str {
        match self {
            TokenError::Malformed { .. } => "malformed",
            TokenError::UnknownIssuer => "unknown_issuer",
            TokenError::Algorithm { .. } => "algorithm",
            TokenError::UnknownKey { .. } => "unknown_key",
            TokenError::Signature { .. } => "signature",
            TokenError::Audience { .. } => "audience",
            TokenError::Expired { .. } => "expired",
            TokenError::NotYet { .. } => "not_yet",
            TokenError::LivesTooLong => "lives_too_long",
            TokenError::NoTokenId => "no_token_id",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::Malformed { problem } => {
                write!(f, "The pipeline's token cannot be read: {problem}. Hand it over as the pipeline got it.")
            }
            TokenError::UnknownIssuer => f.write_str(
                "The pipeline's token is by an issuer that the policy does not name: add it to `issuers`, or use a `ci` token.",
            ),
            TokenError::Algorithm { issuer } => write!(
                f,
                "The pipeline's token is signed by an algorithm that the policy does not take from `{issuer}`."
            ),
            TokenError::UnknownKey { issuer } => write!(
                f,
                "The pipeline's token is signed by a key that is not among those of `{issuer}`: if its keys have just changed, try again in a minute."
            ),
            TokenError::Signature { issuer } => {
                write!(f, "The pipeline's token was not signed by `{issuer}`, or was changed afterwards.")
            }
            TokenError::Audience { expected } => write!(
                f,
                "The pipeline's token was issued for somebody else: ask for one with the audience `{expected}`."
            ),
            TokenError::Expired { at } => {
                write!(f, "The pipeline's token ended at {at}: ask for a new one right before the gate is asked.")
            }
            TokenError::NotYet { at } => write!(
                f,
                "The pipeline's token begins at {at}, which is not yet: one of the clocks is wrong by more than a minute."
            ),
            TokenError::LivesTooLong => f.write_str("The pipeline's token lasts longer than a day: ask for a shorter one."),
            TokenError::NoTokenId => f.write_str(
                "The pipeline's token has no `jti`, so it could be used twice: its issuer has to give each one a name.",
            ),
        }
    }
}

impl std::error::Error for TokenError {}

/// Why an issuer's keys cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysError {
    /// The policy names no such issuer.
    NoSuchIssuer,
    /// The key set is not one. The keys that were known stay.
    BadKeySet(BadKeySet),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeysError::NoSuchIssuer => f.write_str("the policy names no such issuer"),
            KeysError::BadKeySet(bad) => bad.fmt(f),
        }
    }
}

impl std::error::Error for KeysError {}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

/// A token, taken apart.
struct Parts<'a> {
    header: Header,
    claims: Vec<u8>,
    signed: &'a [u8],
    signature: Vec<u8>,
}

impl Issuers {
    /// Makes ready the issuers that a policy trusts, or names every mistake in them. Only those whose keys stand in the
    /// policy have keys by then.
    pub fn compile(trust: &Trust) -> Result<Issuers, Vec<BadTrust>> {
        let (mut bad, mut names) = (Vec::new(), std::collections::BTreeSet::new());
        let mut issuers: Vec<Issuer> = Vec::new();
        for (at, trusted) in trust.issuers.iter().enumerate() {
            let mut found = check_entry(&mut names, at, &trusted.name);
            let fields = [
                ("issuer", trusted.issuer.trim().is_empty()),
                ("audience", trusted.audience.trim().is_empty()),
                ("algorithms", trusted.algorithms.is_empty()),
            ];
            found.extend(
                fields.into_iter().filter(|(_, empty)| *empty).map(|(field, _)| Mistake::Lacks { field }),
            );
            let same = |other: &Issuer| {
                other.trusted.issuer == trusted.issuer && other.trusted.audience == trusted.audience
            };
            found.extend(issuers.iter().any(same).then_some(Mistake::IssuerTwice));
            let keys = match &trusted.jwks {
                Jwks::Keys(set) => jwks::read(&set.to_string()),
                Jwks::Url(_) | Jwks::File(_) => Ok(Vec::new()),
            };
            found.extend(keys.as_ref().err().map(|bad| Mistake::BadKeySet(*bad)));
            bad.extend(named(TrustPart::Issuer, &trusted.name, found));
            issuers.push(Issuer { trusted: trusted.clone(), keys: keys.unwrap_or_default() });
        }
        if bad.is_empty() { Ok(Issuers(issuers)) } else { Err(bad) }
    }

    /// Where the keys of each issuer are, by its name in the policy.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &Jwks)> {
        self.0.iter().map(|issuer| (issuer.trusted.name.as_str(), &issuer.trusted.jwks))
    }

    /// The same issuers, one of them with the keys of a set that was fetched.
    pub fn with_jwks(&self, name: &str, text: &str) -> Result<Issuers, KeysError> {
        let keys = jwks::read(text).map_err(KeysError::BadKeySet)?;
        let mut issuers = self.clone();
        let issuer = issuers.0.iter_mut().find(|issuer| issuer.trusted.name == name);
        issuer.ok_or(KeysError::NoSuchIssuer)?.keys = keys;
        Ok(issuers)
    }

    /// By which issuer of the policy a token says that it is: whose keys it takes to verify it. Nothing is verified by that.
    pub fn meant(&self, token: &str) -> Result<&str, TokenError> {
        let parts = take_apart(token)?;
        let issuer = self.meant_by(&claims_as(&parts.claims)?)?;
        issuer.algorithm(&parts)?;
        Ok(&issuer.trusted.name)
    }

    fn meant_by(&self, registered: &Registered) -> Result<&Issuer, TokenError> {
        let by_it = || self.0.iter().filter(|issuer| issuer.trusted.issuer == registered.iss);
        let meant =
            by_it().find(|issuer| registered.aud.names(&issuer.trusted.audience)).or_else(|| by_it().next());
        meant.ok_or(TokenError::UnknownIssuer)
    }

    /// Who asks, by a token that counts now.
    pub fn verify(&self, token: &str, now: UnixMs) -> Result<PipelineIdentity, TokenError> {
        let parts = take_apart(token)?;
        let registered: Registered = claims_as(&parts.claims)?;
        let issuer = self.meant_by(&registered)?;
        issuer.check_signature(&parts)?;
        let token_id = issuer.check_times(&registered, now)?;
        let mut identity = match issuer.trusted.shape {
            IssuerShape::Github => claims_as::<claims::Github>(&parts.claims)?.identity(),
            IssuerShape::Gitlab => claims_as::<claims::Gitlab>(&parts.claims)?.identity(),
        };
        identity.issuer = issuer.trusted.name.clone();
        identity.subject = registered.sub;
        identity.token_id = token_id;
        identity.expires_at = seconds(registered.exp);
        if claims::too_long(&identity) {
            return Err(TokenError::Malformed { problem: "one of its claims is too long" });
        }
        Ok(identity)
    }
}

impl Issuer {
    /// The algorithm that a token names, if the policy takes it.
    fn algorithm(&self, parts: &Parts<'_>) -> Result<TokenAlgorithm, TokenError> {
        let named = |algorithm: &&TokenAlgorithm| algorithm_name(**algorithm) == parts.header.alg;
        let algorithm = self.trusted.algorithms.iter().find(named).copied();
        algorithm.ok_or_else(|| TokenError::Algorithm { issuer: self.trusted.name.clone() })
    }

    fn check_signature(&self, parts: &Parts<'_>) -> Result<(), TokenError> {
        let issuer = || self.trusted.name.clone();
        let algorithm = self.algorithm(parts)?;
        let kid = parts.header.kid.as_deref().unwrap_or_default();
        let mut keys = self.keys.iter().filter(|key| key.fits(kid, algorithm)).peekable();
        if keys.peek().is_none() {
            return Err(TokenError::UnknownKey { issuer: issuer() });
        }
        if !keys.any(|key| key.made(algorithm, parts.signed, &parts.signature)) {
            return Err(TokenError::Signature { issuer: issuer() });
        }
        Ok(())
    }

    /// For whom and when it is; gives its name, which is its issuer's and its own.
    fn check_times(&self, registered: &Registered, now: UnixMs) -> Result<Digest, TokenError> {
        if !registered.aud.names(&self.trusted.audience) {
            return Err(TokenError::Audience { expected: self.trusted.audience.clone() });
        }
        let (begins, ends) =
            (seconds(registered.iat.max(registered.nbf.unwrap_or(0))), seconds(registered.exp));
        if now >= ends.plus(TOKEN_SKEW) {
            return Err(TokenError::Expired { at: ends });
        }
        if now.plus(TOKEN_SKEW) < begins {
            return Err(TokenError::NotYet { at: begins });
        }
        if ends.since(seconds(registered.iat)) > MAX_TOKEN_LIFE {
            return Err(TokenError::LivesTooLong);
        }
        let jti = registered.jti.as_deref().filter(|jti| !jti.is_empty()).ok_or(TokenError::NoTokenId)?;
        Ok(Digest::of(format!("{}\n{jti}", registered.iss).as_bytes()))
    }
}

fn take_apart(token: &str) -> Result<Parts<'_>, TokenError> {
    let malformed = |problem| TokenError::Malformed { problem };
    if token.len() > MAX_TOKEN_BYTES {
        return Err(malformed("it is too long"));
    }
    let three = || {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode =
            |part: &str| if part.contains(['=', '+', '/']) { None } else { base64_text::decode(part) };
        Some((decode(header)?, decode(claims)?, signed, decode(signature)?))
    };
    let (header, claims, signed, signature) =
        three().ok_or(malformed("it is not three parts of base64url with dots between them"))?;
    let header: Header =
        json::parse_whole(&header).map_err(|_| malformed("its header is not one of a token"))?;
    if header.crit.is_some() {
        return Err(malformed("its header asks for extensions (`crit`), none of which is known"));
    }
    Ok(Parts { header, claims, signed: signed.as_bytes(), signature })
}

fn claims_as<'a, T: Deserialize<'a>>(claims: &'a [u8]) -> Result<T, TokenError> {
    json::parse_whole(claims)
        .map_err(|_| TokenError::Malformed { problem: "its claims lack one, or have one of another type" })
}

fn seconds(at: u64) -> UnixMs {
    UnixMs(0).plus(DurationMs(at.saturating_mul(1_000)))
}
