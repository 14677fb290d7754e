//! A figure of a plan, with the formula it comes from and the values put in, so that a person can redo it. The value, the words and the numbers are one
//! thing: none of them can be changed without the others.

use std::ops::{Add, Div, Mul, Sub};

use serde::Serialize;

use crate::figures::{duration, number, octets};

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Unit {
    Octets,
    OctetsPerSecond,
    OctetsPerDay,
    PerSecond,
    PerDay,
    Seconds,
    Micros,
    Cores,
    Count,
    Part,
}

impl Unit {
    /// A value of it, short.
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Octets => octets(value),
            Unit::OctetsPerSecond => format!("{}/s ({} Mbit/s)", octets(value), number(value * 8.0 / 1e6)),
            Unit::OctetsPerDay => format!("{} a day", octets(value)),
            Unit::PerSecond => format!("{}/s", number(value)),
            Unit::PerDay => format!("{} a day", number(value)),
            Unit::Seconds => duration(value),
            Unit::Micros => format!("{} µs", number(value)),
            Unit::Cores => format!("{} cores", number(value)),
            Unit::Count => number(value),
            // A factor is shown with all that matters when somebody multiplies by it.
            Unit::Part => format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        }
    }
}

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What programs know it by.
    pub id: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// What the value counts.
    pub unit: Unit,
    /// How it is calculated, in words.
    pub formula: String,
    /// The same with the values put in.
    pub values: String,
}

/// Figures that belong together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Section {
    /// What they are about.
    pub title: &'static str,
    /// The figures.
    pub figures: Vec<Figure>,
}

/// A formula: its value, in words, and with numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Formula {
    value: f64,
    words: String,
    numbers: String,
    strength: Strength,
}

/// How strongly the parts of a formula hold together: what is weaker than its surroundings gets brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    Sum,
    Product,
    /// The right side of a quotient or a difference: even an equal needs brackets there.
    Right,
    Atom,
}

/// A value with a name.
pub(super) fn term(name: &str, unit: Unit, value: f64) -> Formula {
    Formula { value, words: name.to_owned(), numbers: unit.show(value), strength: Strength::Atom }
}

/// A number that needs no name.
pub(super) fn constant(value: f64) -> Formula {
    term(&number(value), Unit::Count, value)
}

impl Formula {
    pub(super) fn value(&self) -> f64 {
        self.value
    }

    /// The next whole number.
    pub(super) fn rounded_up(self) -> Formula {
        self.function("round up", f64::ceil)
    }

    /// The square root.
    pub(super) fn root(self) -> Formula {
        self.function("√", f64::sqrt)
    }

    fn function(self, name: &str, apply: fn(f64) -> f64) -> Formula {
        Formula {
            value: apply(self.value),
            words: format!("{name}({})", self.words),
            numbers: format!("{name}({})", self.numbers),
            strength: Strength::Atom,
        }
    }

    /// A figure of this value.
    pub(super) fn figure(self, id: &'static str, name: &'static str, unit: Unit) -> Figure {
        Figure { id, name, value: self.value, unit, formula: self.words, values: self.numbers }
    }

    fn join(self, other: Formula, sign: &str, strength: Strength, right: Strength, value: f64) -> Formula {
        let bracketed = |text: &str, own: Strength, wanted: Strength| if own < wanted { format!("({text})") } else { text.to_owned() };
        let joined = |a: &str, b: &str| format!("{} {sign} {}", bracketed(a, self.strength, strength), bracketed(b, other.strength, right));
        Formula { value, words: joined(&self.words, &other.words), numbers: joined(&self.numbers, &other.numbers), strength }
    }
}

impl Figure {
    /// The figure as a part of another's formula.
    pub(super) fn term(&self) -> Formula {
        term(self.name, self.unit, self.value)
    }
}

impl Mul for Formula {
    type Output = Formula;

    fn mul(self, other: Formula) -> Formula {
        let value = self.value * other.value;
        self.join(other, "×", Strength::Product, Strength::Product, value)
    }
}

impl Div for Formula {
    type Output = Formula;

    fn div(self, other: Formula) -> Formula {
        let value = self.value / other.value;
        self.join(other, "÷", Strength::Product, Strength::Right, value)
    }
}

impl Add for Formula {
    type Output = Formula;

    fn add(self, other: Formula) -> Formula {
        let value = self.value + other.value;
        self.join(other, "+", Strength::Sum, Strength::Sum, value)
    }
}

impl Sub for Formula {
    type Output = Formula;

    fn sub(self, other: Formula) -> Formula {
        let value = self.value - other.value;
        self.join(other, "−", Strength::Sum, Strength::Product, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_words_and_numbers_agree() {
        let [a, b, c] = [("a", 6.0), ("b", 2.0), ("c", 1.0)].map(|(name, value)| term(name, Unit::Count, value));
        for (formula, value, words, numbers) in [
            (a.clone() * b.clone() + c.clone(), 13.0, "a × b + c", "6 × 2 + 1"),
            (a.clone() * (b.clone() + c.clone()), 18.0, "a × (b + c)", "6 × (2 + 1)"),
            (a.clone() / (b.clone() * c.clone()), 3.0, "a ÷ (b × c)", "6 ÷ (2 × 1)"),
            (a.clone() - (b.clone() - c.clone()), 5.0, "a − (b − c)", "6 − (2 − 1)"),
            ((a.clone() / (b.clone() + constant(2.0))).rounded_up(), 2.0, "round up(a ÷ (b + 2))", "round up(6 ÷ (2 + 2))"),
        ] {
            assert_eq!((formula.value(), formula.words.as_str(), formula.numbers.as_str()), (value, words, numbers));
        }
        let figure = (a / b).figure("ratio", "the ratio", Unit::PerSecond);
        assert_eq!((figure.value, figure.term().words.as_str(), figure.term().numbers.as_str()), (3.0, "the ratio", "3/s"));
    }
}
