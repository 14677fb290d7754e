//! A capacity plan: what a service of a given size needs, figure by figure, each with its formula. Pure; it measures nothing and asks nobody.
//!
//! | module | what it is for |
//! |---|---|
//! | [`options`] | what is planned for |
//! | [`facts`] | how Kakunin keeps, signs and sends things, in numbers |
//! | [`figure`] | a value that carries its formula |
//! | `capacity` | the figures |
//! | `rules` | which objectives they miss |

mod capacity;
pub mod facts;
pub mod figure;
pub mod options;
mod rules;

use std::fmt::Write;

use serde::Serialize;

pub use capacity::{crl_octets, packed_response, response_octets};
use figure::{Figure, Section};
use options::Input;

/// A plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The figures.
    pub sections: Vec<Section>,
    /// The objectives that are missed, with the rule's id where there is one.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Makes a plan.
    pub fn of(input: &Input) -> Plan {
        let sections = capacity::sections(input);
        let mut plan = Plan { sections, warnings: Vec::new() };
        plan.warnings = rules::warnings(input, &plan);
        plan
    }

    /// The figure of an id.
    pub fn figure(&self, id: &str) -> Option<&Figure> {
        self.sections.iter().flat_map(|section| &section.figures).find(|figure| figure.id == id)
    }

    fn value(&self, id: &str) -> f64 {
        self.figure(id).map_or(0.0, |figure| figure.value)
    }

    /// The plan as a page for the terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for Section { title, figures } in &self.sections {
            let _ = writeln!(out, "{title}");
            for Figure { name, value, unit, formula, values, .. } in figures {
                let _ = writeln!(out, "  {name:<44} {}", unit.show(*value));
                let _ = writeln!(out, "      = {formula}\n      = {values}");
            }
            out.push('\n');
        }
        match self.warnings.is_empty() {
            true => out.push_str("Every objective is met.\n"),
            false => self.warnings.iter().for_each(|warning| {
                let _ = writeln!(out, "WARNING: {warning}");
            }),
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use options::Options;

    pub(super) fn plan(change: impl FnOnce(&mut Options)) -> Plan {
        let mut options = Options {
            certificates: Some(10_000_000),
            queries: Some(20_000.0),
            token_rate: Some(2000.0),
            cdn_hit_rate: Some(0.9),
            crl_partitions: Some(64),
            ..Options::default()
        };
        change(&mut options);
        Plan::of(&options.input().unwrap())
    }

    #[test]
    fn the_figures_of_the_readme_come_out() {
        let plan = plan(|o| o.hashes = Some(1));
        let octets = plan.value("memory-per-response");
        assert!((85.0..88.0).contains(&octets), "86 octets measured with 10 million P-256: {octets}");
        let rsa = Plan::of(
            &Options {
                certificates: Some(10_000_000),
                queries: Some(1.0),
                token_rate: Some(1.0),
                key_algorithm: Some(facts::KeyAlgorithm::Rsa2048),
                ..Options::default()
            }
            .input()
            .unwrap(),
        );
        assert!((270.0..290.0).contains(&rsa.value("memory-per-response")));
    }

    #[test]
    fn cores_are_for_the_requests_for_crls_too() {
        let queries = plan(|o| (o.queries, o.crl_pulls) = (Some(3000.0), None)).value("cores");
        let half = plan(|o| (o.queries, o.crl_pulls) = (Some(1000.0), Some(2000.0))).value("cores");
        assert!(queries > 0.0 && (queries - half).abs() < 1e-9, "{queries} {half}");
    }

    #[test]
    fn signatures_by_two_hashes_come_together() {
        // 10 million in 90 days are 1.286 a second, with revocations 1.299: 77.9 in a minute, with a deviation of 8.83.
        let scatter = |hashes: u32| {
            let plan = plan(|o| o.hashes = Some(hashes));
            let turn = 10_000_000.0 / 16_384.0 / 2.0 * f64::from(hashes);
            60.0 * (plan.value("signatures-worst-minute") - plan.value("refresh-rate") - plan.value("change-rate")) - turn - 65.0
        };
        assert!((26.4..26.6).contains(&scatter(1)) && (scatter(2) / scatter(1) - 2.0).abs() < 1e-6, "{} {}", scatter(1), scatter(2));
    }

    #[test]
    fn every_figure_is_a_number_with_a_formula() {
        for certificates in [1, 1000, 10_000_000_000] {
            let plan = plan(|o| o.certificates = Some(certificates));
            for figure in plan.sections.iter().flat_map(|section| &section.figures) {
                assert!(figure.value.is_finite() && figure.value >= 0.0, "{figure:?}");
                assert!(!figure.formula.is_empty() && !figure.values.contains("NaN"), "{figure:?}");
            }
        }
    }

    #[test]
    fn the_page_shows_values_formulas_and_warnings() {
        let text = plan(|_| ()).text();
        assert!(text.contains("= certificates × hashes ÷ refresh\n      = 10,000,000 × 2 ÷ 3.5 days"), "{text}");
        assert!(text.ends_with("Every objective is met.\n"), "{text}");
        let text = plan(|o| o.token_rate = Some(20.0)).text();
        assert!(text.contains("WARNING: "), "{text}");
    }

    #[test]
    fn the_json_has_every_figure_under_its_id() {
        let json = serde_json::to_value(plan(|_| ())).unwrap();
        let figures: Vec<&str> = json["sections"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|s| s["figures"].as_array().unwrap())
            .map(|f| f["id"].as_str().unwrap())
            .collect();
        let mut unique = figures.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), figures.len());
        assert!(figures.contains(&"memory-per-node") && figures.contains(&"registry-writes"));
    }
}
