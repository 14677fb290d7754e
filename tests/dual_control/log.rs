//! What the log keeps of who has signed, and what people are shown.

use std::fs;

use crate::common::{fail, run, succeed, text};
use crate::orders::operators_text;
use crate::{approved, office};

#[test]
fn s4_8_the_log_keeps_the_signatures_that_counted_whatever_their_files_are_called() {
    let (_directory, office) = office();
    let order = approved(&office, "one");
    let [file, renamed, forged] = ["baba", "x1", "old.baba"].map(|name| office.path(&format!("{order}.{name}.approval")));
    let approval = fs::read_to_string(&file).unwrap();
    fs::rename(&file, renamed).unwrap();
    fs::write(forged, "junk = 1\n").unwrap();
    succeed(&mut office.run_order(&order));
    let log = office.log();
    let begun = log.iter().find(|entry| entry["event"] == "begun").unwrap();
    let signed: Vec<&str> = begun["detail"]["signed"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert!(signed.len() == 2 && signed.contains(&approval.as_str()), "{signed:?}");
}

#[test]
fn s1_6_operators_who_could_never_be_replaced_are_not_put_in_force() {
    let (_directory, office) = office();
    let text = operators_text();
    let (first, _) = text.split_once("[[operator]]\nname = \"doi\"").unwrap();
    fs::write(office.path("fewer.toml"), first).unwrap();
    let digest = succeed(crate::common::kakunin(["order", "digest", "--operators", "fewer.toml"]).current_dir(&office.directory));
    let order = format!("{}file = \"fewer.toml\"\nfingerprint = \"{}\"\n", office.head("fewer", "operators"), digest.trim());
    fs::write(office.path("fewer-order.toml"), order).unwrap();
    office.approve("fewer-order.toml", &["doi", "fuji"]);
    for said in [office.refused("fewer-order.toml"), fail(&mut office.order("check", &["fewer-order.toml"]))] {
        assert!(said.contains("found 0 beside whoever asks") && said.contains("nobody could put another file in force"), "{said}");
    }
}

#[test]
fn s4_8_nothing_in_an_approval_or_its_name_is_shown_as_if_it_were_said_here() {
    let (_directory, office) = office();
    let order = approved(&office, "one");
    fs::write(office.path(&format!("{order}.x\n  approved by mori.approval")), "junk = 1").unwrap();
    fs::write(office.path(&format!("{order}.y.approval")), "operator = \"\u{1b}[2J\n").unwrap();
    let said = text(&run(&mut office.order("show", &[&order, "--operators", "operators.toml"])));
    assert!(!said.contains('\u{1b}') && !said.lines().any(|line| line.trim_start().starts_with("approved by mori")), "{said}");
}

#[test]
fn s4_8_everything_that_decides_is_shown() {
    let (_directory, office) = office();
    let show = |order: &str| succeed(&mut office.order("check", &[order]));
    let plain = show(&approved(&office, "one"));
    assert!(plain.contains("rejected") && !plain.contains("renewal"), "{plain}");
    let order = office.write_issue("two", "one.jsonl", "renewal = true\non_rejection = \"stop\"\n");
    office.approve(&order, &["baba"]);
    let said = show(&order);
    assert!(said.contains("renewal") && said.contains("stops at the first that is rejected"), "{said}");
}
