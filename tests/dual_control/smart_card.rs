//! An operator whose key is on a token of their own, here of SoftHSM2. Its PIN is tried once, and never again by itself.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::common::openssl_ca::write_secret;
use crate::common::{fail, kakunin, succeed, tool};
use crate::office;
use crate::orders::Office;

const PIN: &str = "271828";

struct Card<'a> {
    office: &'a Office,
    module: PathBuf,
}

impl Card<'_> {
    /// With the key of one of the operators, whose file is gone then.
    fn new<'a>(office: &'a Office, operator: &str) -> Card<'a> {
        let module = office.path("counting.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/dying_module.c");
        succeed(tool("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&module).arg(source).arg("-ldl"));
        fs::create_dir(office.path("cards")).unwrap();
        fs::write(office.path("softhsm2.conf"), format!("directories.tokendir = {}\n", office.path("cards").display())).unwrap();
        let card = Card { office, module };
        card.util(&["--init-token", "--free", "--label", "card", "--pin", PIN, "--so-pin", "12345678"]);
        card.import(operator);
        fs::remove_file(office.path(&format!("{operator}.key.pem"))).unwrap();
        card
    }

    fn import(&self, operator: &str) {
        let file = self.office.path(&format!("{operator}.key.pem"));
        let id = if operator == "baba" { "01" } else { "02" };
        self.util(&["--import", file.to_str().unwrap(), "--token", "card", "--label", operator, "--id", id, "--pin", PIN]);
    }

    fn util(&self, arguments: &[&str]) {
        succeed(tool("softhsm2-util").args(arguments).env("SOFTHSM2_CONF", self.office.path("softhsm2.conf")));
    }

    fn approval(&self, token: &str, label: &str, pin: &str) -> Command {
        write_secret(&self.office.path("pin"), pin);
        let mut command = kakunin(["order", "approve", "card.toml", "--operators", "operators.toml", "--operator", "baba", "--module"]);
        command.arg(&self.module).args(["--token", token, "--label", label, "--pin-file", "pin"]).current_dir(&self.office.directory);
        command.env("SOFTHSM2_CONF", self.office.path("softhsm2.conf")).env("LOGINS_FILE", self.office.path("logins"));
        command
    }

    /// How often a PIN was tried.
    fn logins(&self) -> usize {
        fs::read_to_string(self.office.path("logins")).map_or(0, |text| text.lines().count())
    }
}

#[test]
fn s4_8_an_operator_approves_with_a_key_on_a_token_and_a_wrong_pin_is_not_tried_again() {
    let (_directory, office) = office();
    let card = Card::new(&office, "baba");
    card.import("doi");
    let order = office.write_issue("card", "one.jsonl", "");
    office.approve(&order, &[]);
    let approval = office.path("card.toml.baba.approval");

    let said = fail(&mut card.approval("card", "baba", "000000"));
    assert!(said.contains("the operator's key") && said.contains("wrong PIN") && !said.contains("000000"), "{said}");
    assert_eq!((card.logins(), approval.exists()), (1, false), "once, and nothing is written");
    let said = fail(&mut card.approval("absent", "baba", PIN));
    assert!(said.contains("absent") && said.contains("card"), "which there are: {said}");
    assert_eq!(card.logins(), 1, "there is nothing to log in to");
    let said = fail(&mut card.approval("card", "nothing", PIN));
    assert!(said.contains("label 'nothing'") && said.contains("baba"), "which there are: {said}");
    let said = fail(&mut card.approval("card", "doi", PIN));
    assert!(said.contains("found another than that of 'baba'"), "{said}");
    assert!(!approval.exists() && office.refused(&order).contains("1 of 1 approvals are missing"));

    let before = card.logins();
    succeed(&mut card.approval("card", "baba", PIN));
    assert_eq!(card.logins(), before + 1);
    assert!(succeed(&mut office.order("check", &[&order])).contains("approved by baba"));
    assert!(succeed(&mut office.run_order(&order)).contains("issued 1 certificates"));
}
