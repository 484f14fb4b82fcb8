//! What people see: aligned tables and a little colour, both only where a terminal reads them.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

/// Space between columns.
const GAP: usize = 2;

/// Colours, or none where the output is no terminal or `NO_COLOR` asks for none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    colour: bool,
}

/// How a piece of text is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it is.
    Plain,
    /// A heading.
    Head,
    /// It is serving.
    Live,
    /// Somebody or something stopped it.
    Alarm,
    /// Of little weight.
    Faint,
}

/// Whether standard output is a terminal on which a line can be written over.
pub(super) fn redraws() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

impl Style {
    /// For standard output as it is.
    pub(super) fn of_stdout() -> Style {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Style { colour: redraws() && !refused }
    }

    /// The text in its tone.
    pub(super) fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Head => "1",
            Tone::Live => "32",
            Tone::Alarm => "31",
            Tone::Faint => "2",
        };
        if self.colour && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The tone of what a flag state serves: `off`, `on for 30%`, `killed`.
pub(super) fn tone_of_serving(serving: &str) -> Tone {
    match serving.split(' ').next() {
        Some("on" | "split") => Tone::Live,
        Some("killed" | "held") => Tone::Alarm,
        _ => Tone::Faint,
    }
}

/// A text that can neither steer a terminal nor pass for another line: what others wrote into names and
/// reasons is shown, never obeyed. Line breaks, escape sequences and marks that turn the direction of
/// reading are written out as `\\n`, `\\u{1b}` and so on.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Says a line on standard error. Nobody may be listening there, and that is no reason to stop.
pub(super) fn note(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{}", harmless(&line.to_string()));
}

/// Rows under headings, in columns as wide as their widest cell.
pub(super) struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    /// A table with these headings.
    pub(super) fn new<S: Into<String>>(heads: impl IntoIterator<Item = S>) -> Table {
        Table { heads: heads.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row of plain cells.
    pub(super) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.toned_row(cells.into_iter().map(|cell| (cell.into(), Tone::Plain)).collect());
    }

    /// Adds a row of cells with tones.
    pub(super) fn toned_row(&mut self, cells: Vec<(String, Tone)>) {
        let harmless = |(text, tone): (String, Tone)| (harmless(&text).into_owned(), tone);
        self.rows.push(cells.into_iter().map(harmless).collect());
    }

    /// Writes it; without rows, `none` says so.
    pub(super) fn write(&self, out: &mut dyn Write, style: Style, none: &str) -> std::io::Result<()> {
        if self.rows.is_empty() {
            return writeln!(out, "{none}");
        }
        let width = |text: &str| text.chars().count();
        let widths: Vec<usize> = (0..self.heads.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| width(&cell.0));
                cells.chain([width(&self.heads[column])]).max().unwrap_or(0)
            })
            .collect();
        let heads: Vec<(String, Tone)> = self.heads.iter().map(|head| (head.clone(), Tone::Head)).collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            for (column, (text, tone)) in row.iter().enumerate() {
                line.push_str(&style.paint(text, *tone));
                if column + 1 < row.len() {
                    let pad = widths.get(column).copied().unwrap_or(0).saturating_sub(width(text)) + GAP;
                    line.push_str(&" ".repeat(pad));
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Names and values, one to a line, values aligned.
pub(super) fn fields(out: &mut dyn Write, style: Style, fields: &[(&str, String)]) -> std::io::Result<()> {
    let widest = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        let pad = " ".repeat(widest - name.chars().count() + GAP);
        writeln!(out, "{}{pad}{}", style.paint(name, Tone::Head), harmless(value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_spaces() {
        let mut table = Table::new(["KEY", "OWNER"]);
        table.row(["checkout", ""]);
        table.row(["é", "ada"]);
        let mut out = Vec::new();
        table.write(&mut out, Style::default(), "none").expect("a vector takes everything");
        assert_eq!(String::from_utf8(out).expect("text"), "KEY       OWNER\ncheckout\né         ada\n");
    }

    #[test]
    fn what_others_wrote_is_shown_and_not_obeyed() {
        for (written, shown) in [
            ("plain, é, 漢字", "plain, é, 漢字"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[2J\u{9b}1m", "\\u{1b}[2J\\u{9b}1m"),
            ("off\u{202e}no", "off\\u{202e}no"),
        ] {
            assert_eq!(harmless(written), shown);
        }
        let mut table = Table::new(["WHY"]);
        table.row(["fixed\n99  admin"]);
        let mut out = Vec::new();
        table.write(&mut out, Style::default(), "none").expect("a vector");
        fields(&mut out, Style::default(), &[("owner", "a\nb".to_owned())]).expect("a vector");
        assert_eq!(String::from_utf8(out).expect("text"), "WHY\nfixed\\n99  admin\nowner  a\\nb\n");
    }

    #[test]
    fn an_empty_table_says_so() {
        let mut out = Vec::new();
        Table::new(["KEY"]).write(&mut out, Style::default(), "no apps yet").expect("a vector");
        assert_eq!(out, b"no apps yet\n");
    }
}
