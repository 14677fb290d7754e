//! The table of figures: medians and spreads, and what is wanted of them. It judges nothing.

use std::fmt;

use serde::Serialize;

/// What is wanted of a figure.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Wanted {
    pub(crate) must: &'static str,
    pub(crate) goal: &'static str,
}

/// Nothing is wanted: the figure explains another one.
pub(crate) const BESIDE: Wanted = Wanted { must: "", goal: "" };

#[derive(Debug, Serialize)]
struct Figure {
    part: &'static str,
    certificates: u64,
    name: String,
    unit: &'static str,
    #[serde(flatten)]
    wanted: Wanted,
    median: f64,
    /// One a round.
    values: Vec<f64>,
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    figures: Vec<Figure>,
    #[serde(skip)]
    part: (&'static str, u64),
}

impl Report {
    /// What is added from here on belongs to this part.
    pub(crate) fn begin(&mut self, part: &'static str, certificates: u64) {
        self.part = (part, certificates);
    }

    /// What was measured in the present part.
    pub(crate) fn of_part(&self) -> OfPart<'_> {
        let (part, certificates) = self.part;
        OfPart { part, certificates, figures: self.figures.iter().filter(|figure| figure.part == part).collect() }
    }

    /// Adds a figure, with a value for each round.
    pub(crate) fn add(&mut self, name: impl Into<String>, unit: &'static str, wanted: Wanted, values: impl IntoIterator<Item = f64>) {
        let ((part, certificates), values) = (self.part, Vec::from_iter(values));
        self.figures.push(Figure { part, certificates, name: name.into(), unit, wanted, median: median(&values), values });
    }
}

/// The figures of one part, as a table.
pub(crate) struct OfPart<'a> {
    part: &'static str,
    certificates: u64,
    figures: Vec<&'a Figure>,
}

/// The middle one, or NaN where there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Four digits that matter.
fn number(value: f64) -> String {
    let digits = 3 - (value.abs().max(1e-9).log10().floor() as i64).clamp(-3, 3);
    format!("{value:.*}", digits as usize)
}

impl Figure {
    fn title(&self) -> String {
        if self.unit.is_empty() { self.name.clone() } else { format!("{}, {}", self.name, self.unit) }
    }

    fn spread(&self) -> String {
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if self.values.len() > 1 { format!("{}–{}", number(least), number(greatest)) } else { String::new() }
    }
}

impl fmt::Display for OfPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OfPart { part, certificates, figures } = self;
        let width = figures.iter().map(|figure| figure.title().chars().count()).max().unwrap_or(0) + 2;
        let title = format!("{part}, {certificates} certificates");
        writeln!(f, "\n{title:<width$} {:>9}  {:<17} {:<8} goal", "", "spread", "must")?;
        for figure in figures {
            let (title, value, spread, Wanted { must, goal }) = (figure.title(), number(figure.median), figure.spread(), figure.wanted);
            writeln!(f, "  {title:<indented$} {value:>9}  {spread:<17} {must:<8} {goal}", indented = width - 2)?;
        }
        Ok(())
    }
}
