//! OpenVEX 0.2.0: what somebody says of vulnerabilities. Times are not looked at, so those without a zone, which some
//! programs write, do no harm; a statement holds as long as the waiver that it asks for.
//!
//! Format: OpenVEX 0.2.0: <https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md>.

use std::fmt;

use rollout_rules::gate::facts::{
    Exploitability, ExploitabilityStatus, Facts, MAX_FINDINGS, Problem, ProblemCode,
};
use rollout_rules::ids::Digest;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::lists::{Few, Listed, OneOrMore, or_none};
use super::text;
use super::vulnerability;
use super::words::{malformed, some_name, unsupported};
use crate::gate::json::{Fold, Folded, parse};

/// What every version's context begins with.
const NAMESPACE: &str = "https://openvex.dev/ns";
/// The version that is taken.
const CONTEXT: &str = "https://openvex.dev/ns/v0.2.0";

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "@context")]
    context: OneOrMore,
}

#[derive(Deserialize)]
struct Document {
    statements: Folded<Listed<Statement>>,
}

#[derive(Deserialize)]
struct Statement {
    vulnerability: Named,
    products: Option<Folded<Products>>,
    status: String,
    justification: Option<String>,
}

/// A vulnerability: an object, or its name alone.
#[derive(Default, Deserialize)]
struct NamedParts {
    #[serde(rename = "@id")]
    id: Option<String>,
    name: Option<String>,
    aliases: Option<Folded<Few>>,
}

struct Named(NamedParts);

/// A product: an object, or its name alone.
#[derive(Default, Deserialize)]
struct ProductParts {
    #[serde(rename = "@id")]
    id: Option<String>,
    identifiers: Option<Identifiers>,
    subcomponents: Option<Folded<Products>>,
}

struct Product(ProductParts);

#[derive(Deserialize)]
struct Identifiers {
    purl: Option<String>,
}

/// The packages meant: the parts of a product if they are named, else the product. What stands for everything names nothing.
#[derive(Default)]
struct Products(Vec<String>);

impl Fold for Products {
    type Item<'de> = Product;

    fn add(&mut self, Product(product): Product) -> bool {
        let parts = or_none(product.subcomponents).0;
        let own = product.identifiers.and_then(|identifiers| identifiers.purl).or(product.id);
        let named = if parts.is_empty() { own.into_iter().collect() } else { parts };
        let named =
            named.iter().filter_map(|named| some_name(Some(named))).filter(|named| !named.contains('*'));
        self.0.extend(named.take(MAX_FINDINGS - self.0.len()));
        true
    }
}

/// Reads a document.
///
/// # Errors
/// It is not OpenVEX, of another version, or a statement in it says nothing that the format knows.
pub(super) fn read(piece: Digest, bytes: &[u8]) -> Result<Facts, Problem> {
    let head: Head = parse(bytes)?;
    let Some(context) = head.context.0.iter().find(|context| context.starts_with(NAMESPACE)) else {
        return Err(malformed("Its `@context` does not name OpenVEX. Send the file that `vexctl` writes."));
    };
    if context != CONTEXT {
        return Err(unsupported(format!(
            "It is OpenVEX of another version: its `@context` is `{}`. Write it in 0.2.0, as newer releases of `vexctl` do.",
            text::name(context)
        )));
    }
    let document: Document = parse(bytes)?;
    let statements = document.statements.0.0;
    let said = statements.into_iter().map(|statement| exploitability(piece, statement));
    let exploitability = said.collect::<Result<Vec<_>, _>>()?;
    if exploitability.len() > MAX_FINDINGS {
        let detail = format!("It makes more than {MAX_FINDINGS} statements. Send those of this app alone.");
        return Err(Problem { code: ProblemCode::TooLarge, detail });
    }
    Ok(Facts { exploitability, ..Facts::default() })
}

fn exploitability(piece: Digest, statement: Statement) -> Result<Exploitability, Problem> {
    let Named(named) = statement.vulnerability;
    // The address of a vulnerability ends with its name.
    let from_id = || named.id.as_deref().and_then(|id| id.rsplit('/').next()).map(str::to_owned);
    let name = named.name.clone().or_else(from_id).filter(|name| !name.trim().is_empty());
    let name = name.ok_or_else(|| {
        malformed("A statement names no vulnerability. Give it a `vulnerability` with a `name`.")
    })?;
    let status = match statement.status.as_str() {
        "not_affected" => ExploitabilityStatus::NotAffected,
        "affected" => ExploitabilityStatus::Affected,
        "fixed" => ExploitabilityStatus::Fixed,
        "under_investigation" => ExploitabilityStatus::UnderInvestigation,
        other => {
            return Err(malformed(format!(
                "A statement has the `status` `{}`. Write `not_affected`, `affected`, `fixed` or `under_investigation`.",
                text::name(other)
            )));
        }
    };
    Ok(Exploitability {
        piece,
        vulnerability: vulnerability::rule(&name, &or_none(named.aliases).0),
        products: or_none(statement.products).0,
        status,
        justification: some_name(statement.justification.as_deref()),
        signer: None,
    })
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = |name| NamedParts { name: Some(name), ..NamedParts::default() };
        deserializer.deserialize_any(TextOr { of_text: name }).map(Named)
    }
}

impl<'de> Deserialize<'de> for Product {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = |id| ProductParts { id: Some(id), ..ProductParts::default() };
        deserializer.deserialize_any(TextOr { of_text: name }).map(Product)
    }
}

/// An object, or a text that stands for one.
struct TextOr<T> {
    of_text: fn(String) -> T,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOr<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a name")
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok((self.of_text)(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}
