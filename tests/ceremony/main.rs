//! The worked ceremony in `config/ceremony.md`, command by command as it stands there: from an empty token to a CA that answers by OCSP. And the steps that end
//! a CA, change its key and cross-certify it. Needs SoftHSM2.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod endings;
mod full_disk;
mod keys;
mod kills;
mod planted;
mod seeds;
#[path = "../common/small_disk.rs"]
mod small_disk;
mod status;
mod steps;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{fail, run, succeed, text, tool};

fn page() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/ceremony.md")).unwrap()
}

/// The code blocks of a page that begin with this fence.
fn blocks(page: &str, fence: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.extend((line == fence).then(|| block.join("\n") + "\n"));
        }
    }
    blocks
}

/// Runs a script as somebody would who follows the page.
fn shell(directory: &Path, script: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_kakunin")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut command = tool("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(directory).env("PATH", path);
    command.env("KAKUNIN", env!("CARGO_MANIFEST_DIR")).env("SOFTHSM2_CONF", directory.join("softhsm2.conf"));
    common::succeed_with_all(&mut command)
}

fn kakunin(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = common::kakunin(arguments);
    command.current_dir(directory).env("SOFTHSM2_CONF", directory.join("softhsm2.conf"));
    command
}

#[test]
fn s1_5_s4_8_s5_2_the_ceremony_of_the_page_and_the_end_of_its_ca() {
    let directory = tempfile::tempdir().unwrap();
    let (here, page) = (directory.path(), page());
    let said = shell(here, &blocks(&page, "```sh").concat());
    for expected in blocks(&page, "```") {
        expected.lines().for_each(|line| assert!(said.contains(line), "wanted '{line}' in:\n{said}"));
    }
    assert_eq!(said.matches(": OK\n").count(), 2, "{said}");
    keys_never_leave_the_token(here);
    let refused = fail(&mut kakunin(here, &["order", "run", "ceremony.toml", "--config", "kakunin.toml"]));
    assert!(refused.contains("was run before"), "{refused}");

    run_off(here);
    end(here);
}

fn keys_never_leave_the_token(here: &Path) {
    let objects = fs::read_dir(here.join("tokens")).unwrap().count();
    assert_eq!(objects, 1, "one token");
    let pem = |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.contains("PRIVATE KEY"));
    let private: Vec<String> = fs::read_dir(here)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| pem(path))
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(private.len(), 5, "those of three operators and two servers: {private:?}");
}

/// Writes and approves an order of steps.
fn ceremony(here: &Path, id: &str, steps: &str) -> Command {
    let head = format!(
        "cat > {id}.toml <<END\nid = \"{id}\"\nkind = \"ceremony\"\nrequester = \"tanaka\"\ncreated = \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"\n\
         expires = \"$(date -u -d '+8 hours' +%Y-%m-%dT%H:%M:%SZ)\"\n{steps}END\n"
    );
    let approve =
        |name: &str| format!("kakunin order approve {id}.toml --operators operators.toml --operator {name} --key {name}.key.pem\n");
    shell(here, &format!("{head}{}", ["tanaka", "sato", "suzuki"].map(approve).concat()));
    kakunin(here, &["order", "run", &format!("{id}.toml"), "--config", "kakunin.toml"])
}

fn run_off(here: &Path) {
    succeed(&mut ceremony(here, "run-off", "[[step]]\ndo = \"run-off\"\nissuer = \"issuing\"\n"));
    // Whatever the configuration says: it still says `open`.
    let batch = fs::read_to_string(here.join("batch.toml"))
        .unwrap()
        .replace("2026-batch-1", "2026-batch-2")
        .replace("\"certificates\"", "\"late\"");
    fs::write(here.join("late.toml"), batch).unwrap();
    for name in ["tanaka", "suzuki"] {
        shell(here, &format!("kakunin order approve late.toml --operators operators.toml --operator {name} --key {name}.key.pem"));
    }
    let refused = fail(&mut kakunin(here, &["order", "run", "late.toml", "--config", "kakunin.toml"]));
    assert!(refused.contains("issues nothing any more (S5.2)"), "{refused}");
    // Whoever answers for it gets another key; nobody else gets one.
    let server = steps::certify("issuing", "br-7.1.2.7-tls-server", "CN=late.example.com", "late-server");
    let refused = fail(&mut ceremony(here, "late-server", &server));
    assert!(refused.contains("issues nothing any more (S5.2)"), "{refused}");
    // A sub-CA never had a place below it, which the order is not even begun for.
    let sub_ca = steps::certify("issuing", "br-7.1.2.6-tls-sub-ca", "CN=Late CA,O=Example,C=JP", "late-ca");
    let refused = fail(&mut ceremony(here, "late-ca", &sub_ca));
    assert!(refused.contains("wanted no CA: the issuer's own is 0 (RFC 5280 4.2.1.9)"), "{refused}");
    let said = succeed(&mut ceremony(here, "responder", &steps::leaf("issuing", "responder-2")));
    assert!(said.contains("2 steps are done") && here.join("responder-2.pem").exists(), "{said}");
    let status = succeed(&mut kakunin(here, &["status", "--config", "kakunin.toml"]));
    assert!(status.contains("issuing (RunOff): 4 good"), "{status}");
    // Its revocation service goes on.
    let serial =
        succeed(tool("openssl").args(["x509", "-noout", "-serial", "-in"]).arg(here.join("certificates/mail.example.com.csr.pem")));
    let serial = serial.trim().split('=').nth(1).unwrap();
    let arguments = ["revoke", "--config", "kakunin.toml", "--issuer", "issuing", "--reason", "superseded", "--serial", serial];
    succeed(&mut kakunin(here, &arguments));
    let signed = succeed(&mut kakunin(here, &["sign", "--config", "kakunin.toml", "--once"]));
    assert!(signed.contains("1 CRLs") || signed.contains("2 CRLs"), "{signed}");
}

fn end(here: &Path) {
    let close = "[[step]]\ndo = \"close\"\nissuer = \"issuing\"\n";
    let early = fail(&mut ceremony(here, "early", close));
    assert!(early.contains("neither revoked nor expired") && early.contains("S5.2"), "{early}");
    let config = fs::read_to_string(here.join("kakunin.toml")).unwrap();
    fs::write(here.join("kakunin.toml"), format!("{config}\n[issuer.crl]\nlast_crl = true\n")).unwrap();
    let steps = format!("[[step]]\ndo = \"revoke-all\"\nissuer = \"issuing\"\nreason = \"cessationOfOperation\"\n{close}");
    succeed(&mut ceremony(here, "end", &steps));
    succeed(&mut kakunin(here, &["sign", "--config", "kakunin.toml", "--once"]));
    let status = succeed(&mut kakunin(here, &["status", "--config", "kakunin.toml"]));
    assert!(status.contains("issuing (Closed)") && status.contains("valid until 9999-12-31T23:59:59Z"), "EN 319 411-1: {status}");
    // Then its key goes.
    succeed(&mut ceremony(here, "destroy", "[[step]]\ndo = \"destroy-key\"\nkey = { token = \"hsm\", label = \"issuing\" }\n"));
    let gone = run(&mut ceremony(here, "again", "[[step]]\ndo = \"destroy-key\"\nkey = { token = \"hsm\", label = \"issuing\" }\n"));
    assert!(text(&gone).contains("found 0 keys 'issuing', wanted one"), "{}", text(&gone));
}
