//! Charts as SVG: panels side by side, each with axes, lines and a legend. Colours are those that can be read on
//! light and on dark ground, as nobody knows on which a picture is shown.

use std::fmt::Write as _;

/// Width and height of a panel, in pixels.
const PANEL: (f64, f64) = (360.0, 260.0);
/// What is left free in a panel for its labels: left, top, right, bottom.
const MARGINS: (f64, f64, f64, f64) = (58.0, 34.0, 20.0, 44.0);
/// A legend's line, in pixels.
const LEGEND_LINE: f64 = 16.0;
/// Marks on an axis, about.
const TICKS: f64 = 5.0;
const COLOURS: [&str; 6] = ["#2f81f7", "#d29922", "#3fb950", "#db61a2", "#8957e5", "#f85149"];
const INK: &str = "#848d97";

/// How values become places.
#[derive(Clone, Debug)]
pub(crate) enum Scale {
    /// From zero to the greatest.
    Linear,
    /// By their logarithms; what is not above zero is not drawn.
    Log,
    /// Shares below one, by how few lie beyond: 0.9, 0.99 and 0.999 are equally far apart.
    Nines,
}

/// One axis.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) title: String,
    pub(crate) scale: Scale,
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) label: String,
    /// Lines of one number have the same colour.
    pub(crate) colour: usize,
    pub(crate) is_dashed: bool,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Axes with lines.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

/// Panels in rows, as one picture.
pub(super) fn draw(title: &str, rows: &[Vec<Panel>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let row_height = |row: &Vec<Panel>| {
        PANEL.1 + LEGEND_LINE * f64_of(row.iter().map(|panel| panel.lines.len()).max().unwrap_or_default())
    };
    let (width, height) = (PANEL.0 * f64_of(columns), rows.iter().map(row_height).sum::<f64>());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"{INK}\" role=\"img\">\n<title>{}</title>\n",
        escaped(title)
    );
    let mut top = 0.0;
    for row in rows {
        for (column, panel) in row.iter().enumerate() {
            let _ = writeln!(svg, "<g transform=\"translate({:.0} {top:.0})\">", PANEL.0 * f64_of(column));
            panel.draw(&mut svg);
            svg.push_str("</g>\n");
        }
        top += row_height(row);
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    fn draw(&self, svg: &mut String) {
        let (left, top, right, bottom) = (MARGINS.0, MARGINS.1, PANEL.0 - MARGINS.2, PANEL.1 - MARGINS.3);
        let xs = || self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.0));
        let ys = || self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
        let (x, y) = (Range::of(&self.x.scale, xs()), Range::of(&self.y.scale, ys()));
        let at_x = |value: f64| x.share(value).map(|share| left + share * (right - left));
        let at_y = |value: f64| y.share(value).map(|share| bottom - share * (bottom - top));
        text(svg, f64::midpoint(left, right), top - 16.0, "middle", "font-weight=\"bold\"", &self.title);
        text(svg, f64::midpoint(left, right), bottom + 34.0, "middle", "", &self.x.title);
        text(svg, 6.0, top - 16.0, "start", "", &self.y.title);
        for (value, label) in x.ticks() {
            let Some(at) = at_x(value) else { continue };
            rule(svg, (at, top), (at, bottom));
            text(svg, at, bottom + 16.0, "middle", "", &label);
        }
        for (value, label) in y.ticks() {
            let Some(at) = at_y(value) else { continue };
            rule(svg, (left, at), (right, at));
            text(svg, left - 5.0, at + 4.0, "end", "", &label);
        }
        for (place, line) in self.lines.iter().enumerate() {
            let drawn: Vec<(f64, f64)> =
                line.points.iter().filter_map(|point| Some((at_x(point.0)?, at_y(point.1)?))).collect();
            let style = line.style();
            let joined: Vec<String> = drawn.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(svg, "<polyline points=\"{}\" {style}/>", joined.join(" "));
            for (x, y) in drawn {
                let colour = line.colour();
                let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"{colour}\"/>");
            }
            let beside = bottom + 52.0 + LEGEND_LINE * f64_of(place);
            let _ = writeln!(
                svg,
                "<polyline points=\"{left:.1},{:.1} {:.1},{:.1}\" {style}/>",
                beside - 4.0,
                left + 22.0,
                beside - 4.0
            );
            text(svg, left + 28.0, beside, "start", "", &line.label);
        }
    }
}

impl Line {
    fn colour(&self) -> &'static str {
        COLOURS[self.colour % COLOURS.len()]
    }

    fn style(&self) -> String {
        let dashes = if self.is_dashed { " stroke-dasharray=\"5 3\"" } else { "" };
        format!("fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\"{dashes}", self.colour())
    }
}

/// The values that an axis spans.
#[derive(Debug)]
struct Range<'s> {
    scale: &'s Scale,
    low: f64,
    high: f64,
}

impl<'s> Range<'s> {
    fn of(scale: &'s Scale, values: impl Iterator<Item = f64>) -> Range<'s> {
        let mut places = values.filter_map(|value| placed(scale, value)).peekable();
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        if matches!(scale, Scale::Linear | Scale::Nines) || places.peek().is_none() {
            low = 0.0;
        }
        for place in places {
            (low, high) = (low.min(place), high.max(place));
        }
        match scale {
            Scale::Linear => Range { scale, low, high: if high > low { high * 1.05 } else { low + 1.0 } },
            Scale::Log => {
                let (low, high) = (low.floor(), high.ceil());
                Range { scale, low, high: if high > low { high } else { low + 1.0 } }
            }
            Scale::Nines => Range { scale, low, high: if high > low { high } else { low + 1.0 } },
        }
    }

    /// Where in the range a value lies, from 0 to 1; none outside.
    fn share(&self, value: f64) -> Option<f64> {
        let share = (placed(self.scale, value)? - self.low) / (self.high - self.low);
        (-1e-9..=1.0 + 1e-9).contains(&share).then_some(share)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => {
                let step = round_step((self.high - self.low) / TICKS);
                let marks = std::iter::successors(Some(0.0), |mark| Some(mark + step));
                marks.take_while(|mark| *mark <= self.high).map(|mark| (mark, short(mark))).collect()
            }
            Scale::Log => {
                let powers = std::iter::successors(Some(self.low), |power| Some(power + 1.0));
                let powers = powers.take_while(|power| *power <= self.high + 1e-9);
                powers.map(|power| (10_f64.powf(power), short(10_f64.powf(power)))).collect()
            }
            Scale::Nines => [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999]
                .into_iter()
                .map(|share| (share, format!("{}", (share * 1e6_f64).round() / 1e4)))
                .collect(),
        }
    }
}

fn placed(scale: &Scale, value: f64) -> Option<f64> {
    match scale {
        Scale::Linear => Some(value),
        Scale::Log => (value > 0.0).then(|| value.log10()),
        Scale::Nines => (0.0..1.0).contains(&value).then(|| -(1.0 - value).log10()),
    }
    .filter(|place| place.is_finite())
}

/// The next step of 1, 2 or 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= least * (1.0 - 1e-9));
    times.unwrap_or(10.0) * power
}

/// A number as people write it: 500, 20 k, 1.5 M.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        _ if value >= 1e6 => (value / 1e6, " M"),
        _ if value >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    format!("{}{unit}", (value * 1e3).round() / 1e3)
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{INK}\" stroke-opacity=\"0.25\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, style: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{}</text>",
        escaped(text)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn f64_of(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale) -> Axis {
        Axis { title: "t".to_owned(), scale }
    }

    fn panel(x: Scale, y: Scale, points: &[(f64, f64)]) -> Panel {
        let line =
            Line { label: "a < b & \"c\"".to_owned(), colour: 1, is_dashed: true, points: points.to_vec() };
        Panel { title: "panel".to_owned(), x: axis(x), y: axis(y), lines: vec![line] }
    }

    /// The places of the first line that is drawn.
    fn places(svg: &str) -> Vec<(f64, f64)> {
        let points = svg.split("<polyline points=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let pair = |pair: &str| pair.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()));
        points.split_whitespace().map(|text| pair(text).unwrap()).collect()
    }

    #[test]
    fn what_is_greater_lies_further_right_and_higher_and_inside() {
        let svg = draw(
            "two",
            &[vec![panel(Scale::Linear, Scale::Log, &[(0.0, 10.0), (500.0, 100.0), (1_000.0, 1_000.0)])]],
        );
        let places = places(&svg);
        assert!(places.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 > two[1].1), "{places:?}");
        assert!(
            places.iter().all(|(x, y)| (58.0..=340.0).contains(x) && (34.0..=216.0).contains(y)),
            "{places:?}"
        );
        // A power of ten is as far from the last as from the next.
        assert!((places[0].1 - places[1].1 - (places[1].1 - places[2].1)).abs() < 0.2, "{places:?}");
    }

    #[test]
    fn nines_are_equally_far_apart_and_all_of_them_is_not_drawn() {
        let points = [(0.9, 1.0), (0.99, 1.0), (0.999, 1.0), (1.0, 1.0)];
        let places = places(&draw("nines", &[vec![panel(Scale::Nines, Scale::Linear, &points)]]));
        assert_eq!(places.len(), 3);
        assert!((places[1].0 - places[0].0 - (places[2].0 - places[1].0)).abs() < 0.2, "{places:?}");
    }

    #[test]
    fn texts_are_escaped_and_every_element_is_closed() {
        let one = panel(Scale::Linear, Scale::Linear, &[(1.0, 1.0)]);
        let svg = draw("<&>", &[vec![one.clone(), one.clone()], vec![one]]);
        assert!(
            svg.contains("a &lt; b &amp; &quot;c&quot;") && svg.contains("<title>&lt;&amp;&gt;</title>"),
            "{svg}"
        );
        for name in ["svg", "g", "title", "text"] {
            assert_eq!(
                svg.matches(&format!("<{name}")).count(),
                svg.matches(&format!("</{name}>")).count(),
                "{name}"
            );
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        let empty = draw("empty", &[vec![panel(Scale::Log, Scale::Log, &[])]]);
        assert!(!empty.contains("NaN") && !empty.contains("inf"), "{empty}");
    }

    #[test]
    fn steps_are_round() {
        for (least, step) in [(0.9, 1.0), (1.1, 2.0), (2_100.0, 5_000.0), (0.06, 0.1), (5.0, 5.0)] {
            assert!((round_step(least) / step - 1.0).abs() < 1e-9, "{least}: {}", round_step(least));
        }
        assert_eq!([0.5, 20_000.0, 1_500_000.0].map(short), ["0.5", "20 k", "1.5 M"]);
    }
}
