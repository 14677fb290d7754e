//! A chart as a piece of HTML: curves, grid and marks are SVG that stretches to any width, everything written is HTML beside it, so that letters keep their
//! size. The exact values stand in a JSON beside it, for the readout. Knows nothing of runs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::markup::{self, text};
use super::scale::{Scale, Tick, nines, nines_ticks, time_ticks};
use crate::figures::Unit;

/// A chart.
pub(crate) struct Chart {
    /// The `id` of the element: letters and hyphens.
    pub(crate) id: &'static str,
    /// What it is called.
    pub(crate) title: &'static str,
    /// What a reader should know of it.
    pub(crate) about: String,
    /// The horizontal axis.
    pub(crate) x: Across,
    /// The vertical axis.
    pub(crate) y: Scale,
    /// What the vertical axis counts.
    pub(crate) unit: Unit,
    /// What is drawn.
    pub(crate) shape: Shape,
    /// The curves, by the places that they share.
    pub(crate) groups: Vec<Group>,
    /// Vertical lines, numbered from 1: where on the horizontal axis.
    pub(crate) marks: Vec<f64>,
    /// What the numbers of the marks mean, where that is said below this chart.
    pub(crate) mark_names: Vec<String>,
}

/// A horizontal axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Across {
    /// The seconds of a run of so many, each shown at its middle.
    Time(f64),
    /// Percentiles, to so many nines.
    Nines(f64),
    /// Requests a second.
    Rate(Scale),
}

impl Across {
    fn place(self, value: f64) -> f64 {
        match self {
            Across::Time(seconds) => ((value + 0.5) / seconds).clamp(0.0, 1.0),
            Across::Nines(end) => (nines(value) / end).clamp(0.0, 1.0),
            Across::Rate(scale) => scale.place(value),
        }
    }

    fn ticks(self) -> Vec<Tick> {
        match self {
            Across::Time(seconds) => time_ticks(seconds),
            Across::Nines(end) => nines_ticks(end),
            Across::Rate(scale) => scale.ticks(Unit::Rate),
        }
    }

    /// What the script knows it by.
    fn name(self) -> &'static str {
        match self {
            Across::Time(_) => "time",
            Across::Nines(_) => "percentile",
            Across::Rate(_) => "rate",
        }
    }
}

/// What is drawn of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A line.
    Lines,
    /// An area on top of the series before it.
    Stacked,
    /// A dot for each value.
    Dots,
}

/// Series with the same places on the horizontal axis.
pub(crate) struct Group {
    /// Where, in the axis' own unit.
    pub(crate) x: Vec<f64>,
    /// The series.
    pub(crate) series: Vec<Series>,
}

/// A series of values.
pub(crate) struct Series {
    /// What it is called; may come from outside.
    pub(crate) name: String,
    /// How it looks: a class of the style sheet, `c1` to `c8` or `p1` to `p5`, and `dashed` where it is.
    pub(crate) look: &'static str,
    /// One for each place; none where nothing is known.
    pub(crate) values: Vec<Option<f64>>,
    /// What is said of it beside its name while nothing is pointed at.
    pub(crate) whole: String,
}

/// The side of the square in which curves are drawn, before it is stretched.
const SIDE: f64 = 1000.0;

impl Chart {
    /// The chart as HTML.
    pub(crate) fn html(&self) -> String {
        let Chart { id, title, .. } = self;
        let (about, legend, ticks) = (text(&self.about), self.legend(), self.x.ticks());
        let (labels_x, labels_y) = (labels(&ticks, "left"), labels(&self.y.ticks(self.unit), "bottom"));
        let (drawing, flags, names, data) = (self.drawing(&ticks), self.flags(), self.mark_names(), markup::json(&self.data()));
        format!(
            "<figure class=\"chart\" id=\"{id}\">\n<figcaption><h3>{title}</h3><p>{about}</p></figcaption>\n{legend}\
             <div class=\"frame\"><div class=\"y\">{labels_y}</div>\
             <div class=\"plot\" tabindex=\"0\" aria-label=\"{title}: arrow keys read values\">{drawing}{flags}<i class=\"cursor\" hidden></i></div>\
             <div class=\"x\">{labels_x}</div></div>{names}\n<script type=\"application/json\">{data}</script>\n</figure>\n"
        )
    }

    fn series(&self) -> impl Iterator<Item = (&Group, &Series)> {
        self.groups.iter().flat_map(|group| group.series.iter().map(move |series| (group, series)))
    }

    fn legend(&self) -> String {
        let mut out = "<ul class=\"legend\">".to_owned();
        for (_, Series { name, look, whole, .. }) in self.series() {
            let swatch = if self.shape == Shape::Lines { "line" } else { "block" };
            let _ = write!(
                out,
                "<li class=\"{look}\"><i class=\"swatch {swatch}\"></i><span>{}</span><output>{}</output></li>",
                text(name),
                text(whole)
            );
        }
        out + "<li class=\"where\"><output></output></li></ul>\n"
    }

    fn drawing(&self, ticks: &[Tick]) -> String {
        let mut out =
            format!("<svg viewBox=\"0 0 {SIDE} {SIDE}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">", self.title);
        for Tick { at, label, .. } in self.y.ticks(self.unit) {
            let class = if label.is_empty() { "grid faint" } else { "grid" };
            let _ = write!(out, "<path class=\"{class}\" d=\"M0 {}H{SIDE}\"/>", short(down(at)));
        }
        for Tick { at, .. } in ticks {
            let _ = write!(out, "<path class=\"grid faint\" d=\"M{} 0V{SIDE}\"/>", short(SIDE * at));
        }
        match self.shape {
            Shape::Stacked => self.push_areas(&mut out),
            Shape::Lines => self.push_curves(&mut out, "line"),
            Shape::Dots => self.push_curves(&mut out, "dots"),
        }
        for x in &self.marks {
            let _ = write!(out, "<path class=\"mark\" d=\"M{} 0V{SIDE}\"/>", short(SIDE * self.mark_place(*x)));
        }
        out + "</svg>"
    }

    /// A mark stands where it happened, not in the middle of its second.
    fn mark_place(&self, x: f64) -> f64 {
        self.x.place(if matches!(self.x, Across::Time(_)) { x - 0.5 } else { x })
    }

    fn push_curves(&self, out: &mut String, class: &str) {
        for (group, Series { look, values, .. }) in self.series() {
            let _ = write!(out, "<path class=\"{class} {look}\" d=\"");
            let mut drawn = false;
            for (x, value) in group.x.iter().zip(values) {
                let Some(value) = value else {
                    drawn = false;
                    continue;
                };
                let (x, y) = (short(SIDE * self.x.place(*x)), short(down(self.y.place(*value))));
                // A place on its own is a line of no length: round ends make a dot of it.
                let _ = if drawn && class == "line" { write!(out, "L{x} {y}") } else { write!(out, "M{x} {y}h0") };
                drawn = true;
            }
            out.push_str("\"/>");
        }
    }

    fn push_areas(&self, out: &mut String) {
        for group in &self.groups {
            let mut floor = vec![0.0; group.x.len()];
            for Series { look, values, .. } in &group.series {
                let top: Vec<f64> = floor.iter().zip(values).map(|(floor, value)| floor + value.unwrap_or(0.0)).collect();
                let point = |(x, y): (&f64, &f64)| format!("{} {}", short(SIDE * self.x.place(*x)), short(down(self.y.place(*y))));
                let edge: Vec<String> = group.x.iter().zip(&top).map(point).collect();
                let back: Vec<String> = group.x.iter().zip(&floor).rev().map(point).collect();
                let _ = write!(out, "<path class=\"area {look}\" d=\"M{}L{}Z\"/>", edge.join("L"), back.join("L"));
                floor = top;
            }
        }
    }

    fn flags(&self) -> String {
        let flag =
            |(number, x): (usize, &f64)| format!("<b class=\"flag\" style=\"left:{}%\">{number}</b>", short(100.0 * self.mark_place(*x)));
        (1..).zip(&self.marks).map(flag).collect()
    }

    fn mark_names(&self) -> String {
        let items: String = self.mark_names.iter().map(|name| format!("<li>{}</li>", text(name))).collect();
        if items.is_empty() { items } else { format!("<ol class=\"marks\">{items}</ol>") }
    }

    /// What the script reads: places and exact values.
    fn data(&self) -> Value {
        let places =
            |group: &Group| -> Vec<Value> { group.x.iter().map(|x| exact(Some((self.x.place(*x) * 1e5).round() / 1e5))).collect() };
        let values = |series: &Series| -> Vec<Value> { series.values.iter().map(|value| exact(*value)).collect() };
        let group = |group: &Group| {
            let x: Vec<Value> = group.x.iter().map(|x| exact(Some(*x))).collect();
            json!({ "x": x, "at": places(group), "series": group.series.iter().map(values).collect::<Vec<_>>() })
        };
        let span = if let Across::Time(seconds) = self.x { seconds } else { 0.0 };
        json!({ "across": self.x.name(), "span": span, "unit": self.unit.name(), "groups": self.groups.iter().map(group).collect::<Vec<_>>() })
    }
}

/// From the top of the square.
fn down(place: f64) -> f64 {
    SIDE * (1.0 - place)
}

fn labels(ticks: &[Tick], side: &str) -> String {
    let mut out = String::new();
    for Tick { at, label, minor } in ticks.iter().filter(|tick| !tick.label.is_empty()) {
        let class = if *minor { " class=\"minor\"" } else { "" };
        let _ = write!(out, "<span{class} style=\"{side}:{}%\">{label}</span>", short(at * 100.0));
    }
    out
}

/// A coordinate, to a tenth.
fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A value with nothing lost, and without a fraction where it has none.
fn exact(value: Option<f64>) -> Value {
    match value {
        Some(value) if value == value.trunc() && value.abs() < 9e15 => json!(value as i64),
        Some(value) => json!(value),
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(shape: Shape, values: &[&[Option<f64>]]) -> Chart {
        let series =
            |values: &&[Option<f64>]| Series { name: "<due>".to_owned(), look: "c1", values: values.to_vec(), whole: "4/s".to_owned() };
        Chart {
            id: "test",
            title: "Test",
            about: "a & b".to_owned(),
            x: Across::Time(4.0),
            y: Scale::Linear { end: 4.0 },
            unit: Unit::Rate,
            shape,
            groups: vec![Group { x: vec![0.0, 1.0, 2.0, 3.0], series: values.iter().map(series).collect() }],
            marks: vec![2.0],
            mark_names: vec!["revoked <1>".to_owned()],
        }
    }

    #[test]
    fn a_line_has_a_point_a_value_and_a_gap_where_there_is_none() {
        let html = chart(Shape::Lines, &[&[Some(0.0), Some(4.0), None, Some(2.0)]]).html();
        assert!(html.contains("d=\"M125 1000h0L375 0M875 500h0\""), "{html}");
        assert!(html.contains("<path class=\"mark\" d=\"M500 0V1000\"/>") && html.contains("style=\"left:50%\">1</b>"), "{html}");
        assert!(html.contains(r#""series":[[0,4,null,2]]"#) && html.contains(r#""at":[0.125,0.375,0.625,0.875]"#), "{html}");
        assert!(html.contains("<span>&lt;due&gt;</span>") && html.contains("a &amp; b"), "{html}");
        assert!(html.contains("<ol class=\"marks\"><li>revoked &lt;1&gt;</li></ol>"), "{html}");
    }

    #[test]
    fn areas_stand_on_each_other() {
        let html = chart(Shape::Stacked, &[&[Some(1.0); 4], &[Some(2.0); 4]]).html();
        assert!(html.contains("d=\"M125 750L375 750L625 750L875 750L875 1000L625 1000L375 1000L125 1000Z\""), "{html}");
        assert!(html.contains("d=\"M125 250L375 250L625 250L875 250L875 750L625 750L375 750L125 750Z\""), "{html}");
    }

    #[test]
    fn dots_are_not_joined() {
        let html = chart(Shape::Dots, &[&[Some(1.0), Some(2.0), None, None]]).html();
        assert!(html.contains("d=\"M125 750h0M375 500h0\""), "{html}");
    }

    #[test]
    fn values_that_no_axis_has_stay_within_the_drawing() {
        let html = chart(Shape::Lines, &[&[Some(f64::MAX), Some(-1.0), Some(f64::INFINITY), None]]).html();
        assert!(html.contains("d=\"M125 0h0L375 1000L625 1000\""), "{html}");
    }
}
