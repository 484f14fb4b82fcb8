//! XML of strangers, element by element: no document type, no entities, bounded in depth, length and attributes.

use quick_xml::Reader;
use quick_xml::errors::Error;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use rollout_rules::gate::facts::{Problem, ProblemCode};

use super::problem;
use crate::gate::json::{MAX_DEPTH, unmarked};

/// Most tags, texts and comments of one document.
const MAX_EVENTS: u64 = 2_000_000;
/// Most attributes of one element.
const MAX_ATTRIBUTES: usize = 64;
/// The one document type that is passed over. Writers of Cobertura set it by habit; it is never fetched, and it has no
/// room for entities.
const COBERTURA_TYPE: [&str; 2] = ["coverage SYSTEM", "cobertura.sourceforge.net/xml/coverage-0"];

/// A part of a document.
pub(super) enum Node {
    /// An element starts.
    Open(Element),
    /// The element of that name ends. Empty elements end too.
    Close(String),
    /// Text within an element, entities resolved; one text may come in several parts.
    Text(String),
}

/// The start of an element.
pub(super) struct Element {
    /// Its name, without a namespace.
    pub(super) name: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    /// An attribute's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// An attribute that counts something; none if it is absent or empty.
    pub(super) fn count(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name).map(str::trim).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            let detail = format!(
                "`{name}` of a `{}` is no number from 0 up. Write the report again with the tool itself.",
                self.shown()
            );
            problem(ProblemCode::Malformed, detail)
        })
    }

    /// Only names that are known are shown: any other could be anything.
    fn shown(&self) -> &str {
        let known = ["testsuites", "testsuite", "testcase", "coverage", "package", "class", "line"];
        known.into_iter().find(|name| *name == self.name).unwrap_or("element")
    }
}

/// Reads a document part by part.
pub(super) struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    depth: usize,
    events: u64,
    /// The outermost element has ended.
    ended: bool,
}

impl<'a> Xml<'a> {
    /// Starts at the beginning.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Xml<'a>, Problem> {
        let text = core::str::from_utf8(unmarked(bytes)).map_err(|_| {
            problem(ProblemCode::Malformed, "It is not UTF-8. Write the report again as UTF-8.")
        })?;
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Ok(Xml { reader, depth: 0, events: 0, ended: false })
    }

    /// How many bytes are read, not counting a byte order mark.
    pub(super) fn position(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX)
    }

    /// How many elements are open.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The next part; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Node>, Problem> {
        loop {
            self.events += 1;
            if self.events > MAX_EVENTS {
                let detail = format!("It has more than {MAX_EVENTS} elements and texts. Split the report.");
                return Err(problem(ProblemCode::TooLarge, detail));
            }
            let event = self.reader.read_event().map_err(|error| self.broken(&error))?;
            match event {
                Event::Start(_) | Event::Empty(_) if self.ended => {
                    let detail =
                        "It has more than one document in it. Send each report as a file of its own.";
                    return Err(problem(ProblemCode::Malformed, detail));
                }
                Event::Start(start) | Event::Empty(start) => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        let detail =
                            format!("It is nested deeper than {MAX_DEPTH} levels, which no report is.");
                        return Err(problem(ProblemCode::TooLarge, detail));
                    }
                    return element(&start).map(|element| Some(Node::Open(element)));
                }
                Event::End(end) => {
                    self.depth = self.depth.saturating_sub(1);
                    self.ended = self.depth == 0;
                    return Ok(Some(Node::Close(end.local_name().as_ref().to_owned())));
                }
                Event::Text(text) => return Ok(Some(Node::Text(text.into_inner().into_owned()))),
                Event::CData(text) => return Ok(Some(Node::Text(text.into_inner().into_owned()))),
                Event::GeneralRef(reference) => {
                    let text = unescape(&format!("&{};", &*reference)).map_err(|_| entity())?.into_owned();
                    return Ok(Some(Node::Text(text)));
                }
                Event::DocType(declared) if is_harmless(&declared) => {}
                Event::DocType(_) => return Err(doctype()),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof if self.depth > 0 => {
                    return Err(problem(
                        ProblemCode::Malformed,
                        "It is cut off: an element is not closed. Write the report again.",
                    ));
                }
                Event::Eof => return Ok(None),
            }
        }
    }

    fn broken(&self, _: &Error) -> Problem {
        let at = self.reader.error_position();
        problem(
            ProblemCode::Malformed,
            format!("It is no valid XML, at byte {at}. Write the report again with the tool itself."),
        )
    }
}

fn is_harmless(declared: &str) -> bool {
    let [before, address] = COBERTURA_TYPE;
    declared.trim().starts_with(before) && declared.contains(address) && !declared.contains(['[', '!'])
}

fn doctype() -> Problem {
    let detail = "It declares a document type, by which XML can be made to expand without end or to read \
        files. No report needs one: write it again with the tool itself.";
    problem(ProblemCode::Hostile, detail)
}

fn entity() -> Problem {
    problem(
        ProblemCode::Hostile,
        "It uses an entity that XML itself does not have. Write the report again with the tool itself.",
    )
}

fn element(start: &BytesStart<'_>) -> Result<Element, Problem> {
    let mut attributes: Vec<(String, String)> = Vec::new();
    // The reader's own search for names given twice takes the square of their number; ours is bounded.
    for attribute in start.attributes().with_checks(false) {
        let broken = || {
            problem(
                ProblemCode::Malformed,
                "An attribute is no valid XML. Write the report again with the tool itself.",
            )
        };
        let attribute = attribute.map_err(|_| broken())?;
        let key = attribute.key.into_inner();
        if attributes.len() == MAX_ATTRIBUTES {
            return Err(problem(
                ProblemCode::TooLarge,
                format!("An element has more than {MAX_ATTRIBUTES} attributes."),
            ));
        }
        if attributes.iter().any(|(known, _)| known == key) {
            return Err(problem(
                ProblemCode::Hostile,
                "An element gives the same attribute twice. Write the report again with the tool itself.",
            ));
        }
        let value = unescape(&attribute.value).map_err(|_| entity())?;
        attributes.push((key.to_owned(), value.into_owned()));
    }
    Ok(Element { name: start.local_name().as_ref().to_owned(), attributes })
}
