//! The scenarios, the same for every engine: five questions asked by 1,024 people.

/// How many people ask. A power of two.
pub const PEOPLE: usize = 1024;
/// How long the list of users is.
pub const LIST: usize = 10_000;
/// How many flags a loop asks for.
pub const LOOP: usize = 100;
/// Where the first rule looks.
pub const COUNTRIES: [&str; 10] = ["DE", "AT", "CH", "FR", "IT", "ES", "PT", "NL", "BE", "LU"];
/// What the second rule asks for, at least.
pub const VERSION: &str = "2.5.0";
/// What the third rule looks for.
pub const SUFFIX: &str = "@example.com";

/// Somebody who asks: fails the rules of country and version, passes that of the mail's end.
pub struct Person {
    /// The key by which shares are drawn.
    pub user: String,
    /// Not one of [`COUNTRIES`].
    pub country: &'static str,
    /// Below [`VERSION`].
    pub version: String,
    /// Ends with [`SUFFIX`].
    pub email: String,
}

/// Everybody who asks. Those with odd numbers are on the list of users.
pub fn people() -> Vec<Person> {
    (0..PEOPLE)
        .map(|i| Person {
            user: if i % 2 == 1 { listed(i * 9 % LIST) } else { format!("guest-{i:06}") },
            country: "US",
            version: format!("2.{}.{}", i % 5, i % 7),
            email: format!("person{i}@example.com"),
        })
        .collect()
}

/// The list of users.
pub fn list() -> Vec<String> {
    (0..LIST).map(listed).collect()
}

fn listed(i: usize) -> String {
    format!("user-{i:06}")
}

/// What a flag is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Off for everybody.
    Off,
    /// On for 30 % of users.
    Rollout,
    /// Three rules: country on a list, version at least, mail ends with; whoever passes one is split in
    /// halves. Everybody passes the third.
    Rules,
    /// On for the users on the list.
    List,
}

/// All flags by name.
pub fn flags() -> Vec<(String, Kind)> {
    let single = [OFF, ROLLOUT, RULES, IN_LIST].map(|asked| (asked.flag.to_owned(), asked.kind));
    single.into_iter().chain(looped()).collect()
}

/// The flags that a loop asks for.
pub fn looped() -> impl Iterator<Item = (String, Kind)> {
    (0..LOOP).map(|i| {
        let kind = match i % 5 {
            0 => Kind::Off,
            1 | 2 => Kind::Rollout,
            _ => Kind::Rules,
        };
        (format!("bulk-{i:03}"), kind)
    })
}

/// A flag that is asked for, by whoever wrote the program that asks: it knows what the flag is.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Its name.
    pub flag: &'a str,
    /// What it is.
    pub kind: Kind,
}

/// Off for everybody.
pub const OFF: Asked<'static> = Asked { flag: "off", kind: Kind::Off };
/// On for 30 %.
pub const ROLLOUT: Asked<'static> = Asked { flag: "rollout30", kind: Kind::Rollout };
/// With three rules.
pub const RULES: Asked<'static> = Asked { flag: "rules3", kind: Kind::Rules };
/// On for the users on the list.
pub const IN_LIST: Asked<'static> = Asked { flag: "list10k", kind: Kind::List };

/// An engine under test. Every method is given the running number of the person who asks.
pub trait Engine {
    /// Its name and version.
    fn name(&self) -> &'static str;
    /// 1 if the flag is on for the person, 0 if not; for one with rules, 1 and 2 are the halves.
    fn check(&self, asked: Asked<'_>, person: usize) -> usize;
}
