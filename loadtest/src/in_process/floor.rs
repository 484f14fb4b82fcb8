//! What nobody can be quicker than by much: rules written by hand against plain structs. The plain floor
//! leaves out what an engine cannot do without; the extended one has it: a clock read for each check,
//! murmur3 of flag and user, and attributes found by name in a context whose names are not known when
//! the program is compiled, versions among them as texts.

use std::collections::{HashMap, HashSet};

use ahash::RandomState;
use arc_swap::ArcSwap;
use rollout_rules::bucketing::Murmur3;
use semver::Version;

use super::measure::coarse_ms;
use super::world::{Asked, COUNTRIES, Engine, Kind, PEOPLE, SUFFIX, VERSION, flags, list, people};

type Map<K, V> = HashMap<K, V, RandomState>;
type Set<K> = HashSet<K, RandomState>;

enum Condition {
    Country(Set<String>),
    Version(Version),
    Email(&'static str),
    User(Set<String>),
}

struct Flag {
    on: bool,
    seed: u64,
    expires_ms: u64,
    /// Whom the flag is on for if no rule holds, in thousandths of a percent.
    rest: u64,
    rules: Vec<Condition>,
    halves: bool,
}

fn build() -> Map<String, Flag> {
    let flag = |seed: usize, kind: Kind| {
        let rules = match kind {
            Kind::Off | Kind::Rollout => Vec::new(),
            Kind::Rules => vec![
                Condition::Country(COUNTRIES.iter().map(|country| (*country).to_owned()).collect()),
                Condition::Version(Version::parse(VERSION).expect("a version")),
                Condition::Email(SUFFIX),
            ],
            Kind::List => vec![Condition::User(list().into_iter().collect())],
        };
        Flag {
            on: kind != Kind::Off,
            seed: seed as u64,
            expires_ms: u64::MAX,
            rest: if kind == Kind::Rollout { 30_000 } else { 0 },
            rules,
            halves: kind == Kind::Rules,
        }
    };
    flags().into_iter().enumerate().map(|(seed, (name, kind))| (name, flag(seed, kind))).collect()
}

/// The plain floor.
pub struct Plain {
    flags: ArcSwap<Map<String, Flag>>,
    people: Vec<PlainPerson>,
}

struct PlainPerson {
    user: String,
    country: &'static str,
    version: Version,
    email: String,
}

impl Plain {
    /// With all flags and people.
    pub fn with_all() -> Plain {
        let people = people().into_iter().map(|person| PlainPerson {
            user: person.user,
            country: person.country,
            version: Version::parse(&person.version).expect("a version"),
            email: person.email,
        });
        Plain { flags: ArcSwap::from_pointee(build()), people: people.collect() }
    }
}

impl Engine for Plain {
    fn name(&self) -> &'static str {
        "floor"
    }

    #[inline]
    fn check(&self, Asked { flag, .. }: Asked<'_>, person: usize) -> usize {
        let flags = self.flags.load();
        let Some(flag) = flags.get(flag).filter(|flag| flag.on) else { return 0 };
        let person = &self.people[person & (PEOPLE - 1)];
        let hash = || xxhash_rust::xxh3::xxh3_64_with_seed(person.user.as_bytes(), flag.seed);
        let held = flag.rules.iter().any(|rule| match rule {
            Condition::Country(set) => set.contains(person.country),
            Condition::Version(least) => person.version >= *least,
            Condition::Email(end) => person.email.ends_with(end),
            Condition::User(set) => set.contains(&person.user),
        });
        match (held, flag.halves) {
            (true, true) => 1 + usize::from(hash() % 2 == 1),
            (true, false) => 1,
            (false, _) => usize::from(flag.rest > 0 && hash() % 100_000 < flag.rest),
        }
    }
}

/// The extended floor.
pub struct Extended {
    flags: ArcSwap<Map<String, Flag>>,
    people: Vec<DynamicPerson>,
}

struct DynamicPerson {
    user: String,
    attributes: Map<String, Attribute>,
}

/// What a value can be when nobody knows beforehand.
#[allow(dead_code, reason = "an engine has to tell them apart, whether they come or not")]
enum Attribute {
    Bool(bool),
    Number(f64),
    Text(String),
}

impl DynamicPerson {
    #[inline]
    fn text(&self, name: &str) -> Option<&str> {
        match self.attributes.get(name) {
            Some(Attribute::Text(text)) => Some(text),
            _ => None,
        }
    }
}

impl Extended {
    /// With all flags and people.
    pub fn with_all() -> Extended {
        let people = people().into_iter().map(|person| DynamicPerson {
            user: person.user,
            attributes: [
                ("country", person.country.to_owned()),
                ("appVersion", person.version),
                ("email", person.email),
            ]
            .map(|(name, text)| (name.to_owned(), Attribute::Text(text)))
            .into_iter()
            .collect(),
        });
        Extended { flags: ArcSwap::from_pointee(build()), people: people.collect() }
    }
}

impl Engine for Extended {
    fn name(&self) -> &'static str {
        "extended floor"
    }

    #[inline]
    fn check(&self, Asked { flag: name, .. }: Asked<'_>, person: usize) -> usize {
        let flags = self.flags.load();
        let now = coarse_ms();
        let Some(flag) = flags.get(name).filter(|flag| flag.on && now < flag.expires_ms) else { return 0 };
        let person = &self.people[person & (PEOPLE - 1)];
        let hash = || u64::from(Murmur3::new().write(name.as_bytes()).write(person.user.as_bytes()).finish());
        let held = flag.rules.iter().any(|rule| match rule {
            Condition::Country(set) => person.text("country").is_some_and(|text| set.contains(text)),
            Condition::Version(least) => person
                .text("appVersion")
                .and_then(|text| Version::parse(text).ok())
                .is_some_and(|version| version >= *least),
            Condition::Email(end) => person.text("email").is_some_and(|text| text.ends_with(end)),
            Condition::User(set) => set.contains(&person.user),
        });
        match (held, flag.halves) {
            (true, true) => 1 + usize::from((hash() * 2) >> 32 == 1),
            (true, false) => 1,
            (false, _) => usize::from(flag.rest > 0 && (hash() * 100_000) >> 32 < flag.rest),
        }
    }
}
