//! As much of Gherkin as flagd's features need: outlines with several tables of examples, tags,
//! backgrounds.

use std::collections::BTreeSet;

/// One scenario with its placeholders filled in.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) steps: Vec<String>,
}

#[derive(Default)]
struct Outline {
    name: String,
    tags: BTreeSet<String>,
    steps: Vec<String>,
    examples: Vec<Examples>,
}

#[derive(Default)]
struct Examples {
    tags: BTreeSet<String>,
    /// The first is the head.
    rows: Vec<Vec<String>>,
}

/// Where a line belongs.
enum Part {
    Nowhere,
    Background,
    Scenario,
}

/// Reads a feature.
pub(crate) fn scenarios(feature: &str) -> Vec<Scenario> {
    let mut background = Vec::new();
    let mut outlines: Vec<Outline> = Vec::new();
    let (mut of_feature, mut waiting) = (BTreeSet::new(), BTreeSet::new());
    let mut part = Part::Nowhere;
    for line in feature.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('@') {
            waiting.extend(line.split_whitespace().map(str::to_owned));
        } else if line.starts_with("Feature:") {
            of_feature = std::mem::take(&mut waiting);
        } else if line.starts_with("Background:") {
            part = Part::Background;
        } else if let Some(name) =
            line.strip_prefix("Scenario Outline:").or_else(|| line.strip_prefix("Scenario:"))
        {
            let tags = of_feature.union(&std::mem::take(&mut waiting)).cloned().collect();
            outlines.push(Outline { name: name.trim().to_owned(), tags, ..Outline::default() });
            part = Part::Scenario;
        } else if line.starts_with("Examples:") {
            let outline = outlines.last_mut().expect("examples follow their outline");
            let tags = std::mem::take(&mut waiting);
            outline.examples.push(Examples { tags, rows: Vec::new() });
        } else if line.starts_with('|') {
            // Tables without `Examples:` belong to a step that no scenario of ours takes.
            if let Some(examples) = outlines.last_mut().and_then(|outline| outline.examples.last_mut()) {
                examples.rows.push(cells(line));
            }
        } else if let Some(step) =
            ["Given ", "When ", "Then ", "And "].iter().find_map(|word| line.strip_prefix(word))
        {
            match (&part, outlines.last_mut()) {
                (Part::Background, _) => background.push(step.to_owned()),
                (Part::Scenario, Some(outline)) => outline.steps.push(step.to_owned()),
                _ => panic!("a step outside of a scenario: {line}"),
            }
        }
    }
    outlines.iter().flat_map(|outline| outline.fill(&background)).collect()
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| cell.trim().to_owned()).collect()
}

impl Outline {
    fn fill(&self, background: &[String]) -> Vec<Scenario> {
        let steps = || background.iter().chain(&self.steps).cloned();
        if self.examples.is_empty() {
            return vec![Scenario {
                name: self.name.clone(),
                tags: self.tags.clone(),
                steps: steps().collect(),
            }];
        }
        let mut filled = Vec::new();
        for examples in &self.examples {
            let (head, rows) = examples.rows.split_first().expect("a table has a head");
            for row in rows {
                let fill = |text: String| {
                    head.iter()
                        .zip(row)
                        .fold(text, |text, (name, value)| text.replace(&format!("<{name}>"), value))
                };
                filled.push(Scenario {
                    name: format!("{} [{}]", self.name, row.join(", ")),
                    tags: self.tags.union(&examples.tags).cloned().collect(),
                    steps: steps().map(fill).collect(),
                });
            }
        }
        filled
    }
}

#[test]
fn an_outline_is_filled_in_once_for_each_row_with_its_tags() {
    let read = scenarios(
        "@whole\nFeature: x\n  Background:\n    Given an evaluator\n\n  Scenario Outline: y\n    \
         When <a> is <b>\n\n    @old\n    Examples: one\n      | a | b |\n      | 1 | 2 |\n    \
         Examples: two\n      | a | b |\n      | 3 |   |\n\n  @single\n  Scenario: z\n    When nothing\n",
    );
    let steps: Vec<_> = read.iter().map(|scenario| scenario.steps.join("; ")).collect();
    assert_eq!(steps, ["an evaluator; 1 is 2", "an evaluator; 3 is ", "an evaluator; nothing"]);
    let tags: Vec<Vec<_>> = read.iter().map(|scenario| scenario.tags.iter().collect()).collect();
    assert_eq!(tags, [vec!["@old", "@whole"], vec!["@whole"], vec!["@single", "@whole"]]);
}
