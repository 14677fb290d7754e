//! Ways to cheat dual control, each tried through the program: every one is refused with its reason, leaves no certificate, and is in the log (S1.5, S1.6,
//! S4.5, S4.8). What can be tried without files is tried in `issuance::control`.

#![allow(clippy::unwrap_used)]

mod batches;
#[path = "../common/mod.rs"]
mod common;
mod log;
#[path = "../common/orders.rs"]
mod orders;
mod resumption;
mod revocations;
mod smart_card;

use std::fs;

use common::{Service, fail, run, succeed, text, with_config};
use kakunin::pki::KeyAlgorithm;
use kakunin::token::software::SoftwareKey;
use orders::{Office, operators_text, public_pem, request};
use tempfile::TempDir;

fn office() -> (TempDir, Office) {
    let directory = tempfile::tempdir().unwrap();
    Service::demo(directory.path(), &["--certificates", "10", "--revoked", "1"]).stop();
    let office = Office::new(directory.path());
    office.write_requests("one.jsonl", ["www.example.com".to_owned()].into_iter());
    (directory, office)
}

/// An order for one certificate, with a proper approval.
fn approved(office: &Office, id: &str) -> String {
    let order = office.write_issue(id, "one.jsonl", "");
    office.approve(&order, &["baba"]);
    order
}

fn edit(office: &Office, name: &str, from: &str, to: &str) {
    let text = fs::read_to_string(office.path(name)).unwrap();
    assert!(text.contains(from), "{name}: {text}");
    fs::write(office.path(name), text.replace(from, to)).unwrap();
}

#[test]
fn s1_2_s4_8_an_approved_order_is_run_once_and_the_log_says_who_asked_approved_and_ran_it() {
    let (_directory, office) = office();
    let order = approved(&office, "first");
    succeed(&mut office.order("check", &[&order]));
    let said = succeed(&mut office.run_order(&order));
    assert!(said.contains("issued 1 certificates, 1 are written, 0 requests were rejected"), "{said}");
    let begun = office.log().into_iter().find(|entry| entry["event"] == "begun").unwrap();
    assert_eq!((&begun["order"], &begun["detail"]["requester"]), (&"first".into(), &"abe".into()));
    assert_eq!(begun["detail"]["approvals"][0]["operator"], "baba");
    let run_by = begun["detail"]["run_by"].as_str().unwrap();
    assert!(run_by.starts_with(&format!("{}@", common::user_id())) && run_by.len() > 3, "S1.7: {run_by}");
    let shown = succeed(&mut office.order("log", &[]));
    assert!(shown.contains(&format!("for abe, approved by baba, run by {run_by}")) && shown.contains("unbroken"), "{shown}");

    // 1: once more. 2: under another name of the file. 3: with fresh approvals.
    assert!(office.refused(&order).contains("run before"));
    fs::copy(office.path("first.toml"), office.path("copy.toml")).unwrap();
    fs::copy(office.path("first.toml.baba.approval"), office.path("copy.toml.baba.approval")).unwrap();
    assert!(office.refused("copy.toml").contains("run before"));
    office.approve(&order, &["baba", "doi"]);
    assert!(office.refused(&order).contains("run before"));
    // 4: another order under the same id, properly approved.
    let other = office.write_issue("first", "one.jsonl", "renewal = true\n");
    office.approve(&other, &["baba"]);
    assert!(office.refused(&other).contains("run before"));
    let refused = office.log().iter().filter(|entry| entry["event"] == "refused").count();
    assert_eq!(refused, 4, "each try is in the log");
}

#[test]
fn s1_5_approvals_that_are_none() {
    let (_directory, office) = office();
    // 5: none at all.
    let order = office.write_issue("none", "one.jsonl", "");
    assert!(office.refused(&order).contains("1 of 1 approvals are missing"));
    // 6: the requester's own, which is needed and no approval. 7: an auditor's. 8: a clerk has no say, as the requester here.
    office.approve(&order, &["endo"]);
    let said = office.refused(&order);
    assert!(said.contains("1 of 1 approvals are missing") && said.contains("'endo' has the roles log-auditor"), "{said}");
    // 9: somebody else's signature under a name that may.
    fs::copy(office.path("none.toml.endo.approval"), office.path("none.toml.baba.approval")).unwrap();
    edit(&office, "none.toml.baba.approval", "operator = \"endo\"", "operator = \"baba\"");
    assert!(office.refused(&order).contains("not made with the key of 'baba'"));
    // 10: the key of another operator, or of nobody.
    let mut command = office.approval(&order, "baba");
    let said = fail(command.args(["--key", "doi.key.pem"]));
    assert!(said.contains("cannot be used multiple times"), "{said}");
    fs::copy(office.path("doi.key.pem"), office.path("stolen.pem")).unwrap();
    let arguments = ["order", "approve", "none.toml", "--operators", "operators.toml", "--operator", "baba", "--key", "stolen.pem"];
    assert!(fail(common::kakunin(arguments).current_dir(&office.directory)).contains("found another than that of 'baba'"));
    // 11: somebody who is no operator.
    let arguments = ["order", "approve", "none.toml", "--operators", "operators.toml", "--operator", "mallory", "--key", "stolen.pem"];
    assert!(fail(common::kakunin(arguments).current_dir(&office.directory)).contains("wanted one of abe"));
}

#[test]
fn s1_5_s4_5_a_file_that_cannot_be_read_is_no_approval_and_keeps_none_from_counting() {
    let (_directory, office) = office();
    let order = office.write_issue("odd", "one.jsonl", "");
    fs::write(office.path("odd.toml.chiba.approval"), b"operator = \"\xff\"").unwrap();
    std::os::unix::fs::symlink("nothing", office.path("odd.toml.doi.approval")).unwrap();
    fs::create_dir(office.path("odd.toml.endo.approval")).unwrap();
    let said = office.refused(&order);
    for (name, found) in [("chiba", "octets that are not UTF-8"), ("doi", "No such file"), ("endo", "found something else, wanted a file")]
    {
        let line = said.lines().find(|line| line.contains(&format!("odd.toml.{name}.approval: refused: not an approval: ")));
        assert!(line.is_some_and(|line| line.contains(found)), "{name}: {said}");
    }
    assert_eq!(office.log().last().unwrap()["event"], "refused");
    office.approve(&order, &["baba"]);
    let said = succeed(&mut office.order("check", &[&order]));
    assert!(said.contains("approved by baba") && said.contains("odd.toml.endo.approval: refused: not an approval"), "{said}");
    assert!(succeed(&mut office.run_order(&order)).contains("issued 1 certificates"));
}

#[test]
fn s4_8_nobody_orders_in_anothers_name() {
    let (_directory, office) = office();
    // One person, who may approve, writes the order in the name of another.
    let order = office.write_issue("borrowed", "one.jsonl", "");
    succeed(&mut office.approval(&order, "baba"));
    for said in [office.refused(&order), fail(&mut office.order("check", &[&order]))] {
        assert!(said.contains("the request is not signed: wanted the signature of 'abe'") && !said.contains("are missing"), "{said}");
    }
    fs::copy(office.path("borrowed.toml.baba.approval"), office.path("borrowed.toml.abe.approval")).unwrap();
    edit(&office, "borrowed.toml.abe.approval", "operator = \"baba\"", "operator = \"abe\"");
    assert!(office.refused(&order).contains("not made with the key of 'abe'"));
    let said = succeed(&mut office.approval(&order, "abe"));
    assert!(said.starts_with("asked for order borrowed"), "{said}");
    assert!(succeed(&mut office.order("check", &[&order])).contains("signed by abe at "));
    succeed(&mut office.run_order(&order));
    let begun = office.log().into_iter().find(|entry| entry["event"] == "begun").unwrap();
    assert_eq!((&begun["detail"]["request"]["operator"], begun["detail"]["signed"].as_array().unwrap().len()), (&"abe".into(), 2));
}

#[test]
fn s4_8_what_is_changed_after_its_approval_is_not_approved() {
    let (_directory, office) = office();
    // 12: an octet of the order. 13: the approval is moved to another order.
    let order = approved(&office, "changed");
    edit(&office, &order, "out-changed", "out-Changed");
    assert!(office.refused(&order).contains("it is for another order"));
    let other = office.write_issue("other", "one.jsonl", "");
    fs::copy(office.path("changed.toml.baba.approval"), office.path("other.toml.baba.approval")).unwrap();
    assert!(office.refused(&other).contains("it is for another order"));
    // 14: a longer life, written into the approval.
    let order = approved(&office, "longer");
    edit(&office, "longer.toml.baba.approval", "expires = \"20", "expires = \"21");
    let said = office.refused(&order);
    assert!(said.contains("not made with the key of 'baba'"), "{said}");
    // 15: an approval that is over, or was never good for long.
    let order = office.write_issue("short", "one.jsonl", "");
    succeed(office.approval(&order, "baba").args(["--valid", "1s"]));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(office.refused(&order).contains("it expired at"));
    assert!(fail(office.approval(&order, "baba").args(["--valid", "31d"])).contains("wanted 1s to 30days"));
}

#[test]
fn s4_8_inputs_and_profiles_are_part_of_what_is_approved() {
    let (_directory, office) = office();
    // 16: other requests under the same name. Nothing is issued, and the order may be run when they are back.
    let order = approved(&office, "inputs");
    let right = fs::read(office.path("one.jsonl")).unwrap();
    office.write_requests("one.jsonl", ["www.evil.example".to_owned()].into_iter());
    let before = office.issued().0;
    let said = fail(&mut office.run_order(&order));
    assert!(said.contains("it is not what was approved"), "{said}");
    assert_eq!(office.issued().0, before);
    fs::write(office.path("one.jsonl"), right).unwrap();
    // 17: another profile under the same name.
    let right = fs::read_to_string(office.path("profile.toml")).unwrap();
    fs::copy(orders::profiles().join("br-7.1.2.6-tls-sub-ca.toml"), office.path("profile.toml")).unwrap();
    let said = fail(&mut office.run_order(&order));
    assert!(said.contains("profile.toml: found the hash"), "{said}");
    fs::write(office.path("profile.toml"), right).unwrap();
    assert!(succeed(&mut office.run_order(&order)).contains("issued 1 certificates"));
}

#[test]
fn s1_5_another_file_of_operators_is_not_in_force() {
    let (_directory, office) = office();
    let order = office.write_issue("swapped", "one.jsonl", "");
    // 18: a file in which baba is somebody else, who approves.
    let (mallory, right) = (SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap(), fs::read(office.path("baba.pub.pem")).unwrap());
    fs::write(office.path("baba.pub.pem"), public_pem(&mallory)).unwrap();
    mallory.create_file(&office.path("mallory.pem")).unwrap();
    let arguments = ["order", "approve", &order, "--operators", "operators.toml", "--operator", "baba", "--key", "mallory.pem"];
    succeed(common::kakunin(arguments).current_dir(&office.directory));
    assert!(office.refused(&order).contains("is in force"));
    let said = fail(&mut office.order("operators", &[]));
    assert!(said.contains("wanted an order of kind 'operators'"), "{said}");
    // ... and then puts the right one back: the approval was given under another.
    fs::write(office.path("baba.pub.pem"), right).unwrap();
    assert!(office.refused(&order).contains("under another file of operators"));
    // 19: one that loosens. 20: one in which one person is two.
    let text = operators_text();
    fs::write(office.path("operators.toml"), format!("{text}[approvals.ceremony]\ncount = 1\nroles = [\"ca-manager\"]\n")).unwrap();
    assert!(office.refused(&order).contains("never for less"));
    fs::write(office.path("operators.toml"), text.replace("doi.pub.pem", "baba.pub.pem")).unwrap();
    assert!(office.refused(&order).contains("a key of one's own"));
    // The proper way: an order that those in force approve, two of them.
    fs::write(office.path("operators.toml"), &text).unwrap();
    fs::write(office.path("next.toml"), text.replace("\"ra-clerk\"", "\"ra-clerk\", \"ra-operator\"")).unwrap();
    let digest = succeed(common::kakunin(["order", "digest", "--operators", "next.toml"]).current_dir(&office.directory));
    let order = format!("{}file = \"next.toml\"\nfingerprint = \"{}\"\n", office.head("next", "operators"), digest.trim());
    fs::write(office.path("next-order.toml"), order).unwrap();
    office.approve("next-order.toml", &["doi"]);
    assert!(office.refused("next-order.toml").contains("1 of 2 approvals are missing"));
    office.approve("next-order.toml", &["chiba"]);
    assert!(office.refused("next-order.toml").contains("'chiba' has the roles ca-administrator"));
}

#[test]
fn s4_5_a_log_that_was_tampered_with_is_found() {
    let (_directory, office) = office();
    succeed(&mut office.run_order(&approved(&office, "one")));
    let registry = rusqlite::Connection::open(office.path("registry.sqlite")).unwrap();
    // 21: the log refuses.
    assert!(registry.execute("DELETE FROM work_log WHERE event = 1", []).is_err());
    // 22: somebody who removes what refuses is found out.
    registry.execute_batch("DROP TRIGGER work_log_is_not_changed").unwrap();
    registry.execute("UPDATE work_log SET detail = replace(detail, 'baba', 'doi!') WHERE event = 1", []).unwrap();
    let said = fail(&mut office.order("log", &["--order", "nothing"]));
    assert!(said.contains("tampered with: entry 2"), "{said}");
}

#[test]
fn s3_1_a_rejected_request_is_reported_and_the_batch_goes_on_or_stops() {
    let (_directory, office) = office();
    office.write_requests("mixed.jsonl", (0..3).map(|n| format!("host-{n}.example.com")));
    let mut lines: Vec<String> = fs::read_to_string(office.path("mixed.jsonl")).unwrap().lines().map(str::to_owned).collect();
    // Line 2: another's key: its signature does not verify. Line 4: not a host name. Line 5: line 1 again. Line 6: no JSON.
    let broken = lines[1].replacen("MI", "MJ", 1);
    lines.insert(1, broken);
    lines.insert(3, serde_json::json!({ "csr": request(&office.path("applicant.pem"), "not_a_host.example.com") }).to_string());
    lines.insert(4, lines[0].clone());
    lines.push("what?".to_owned());
    fs::write(office.path("mixed.jsonl"), lines.join("\n")).unwrap();
    let order = office.write_issue("mixed", "mixed.jsonl", "");
    office.approve(&order, &["baba"]);
    let said = succeed(&mut office.run_order(&order));
    assert!(said.contains("issued 3 certificates, 3 are written, 4 requests were rejected"), "{said}");
    let rejected = fs::read_to_string(office.path("out-mixed/rejected.jsonl")).unwrap();
    let rejected: Vec<serde_json::Value> = rejected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rules: Vec<_> = rejected.iter().map(|one| (one["place"].as_str().unwrap(), one["rule"].as_str().unwrap())).collect();
    for expected in [("line 5", "shared-key"), ("line 7", "request")] {
        assert!(rules.contains(&expected), "{rejected:?}");
    }
    assert!(rules.iter().any(|(place, _)| *place == "line 2") && rules.iter().any(|(place, _)| *place == "line 4"), "{rejected:?}");
    // Issued before: under another order they are rejected, unless it is a renewal. And one that stops, stops.
    let order = office.write_issue("again", "mixed.jsonl", "on_rejection = \"stop\"\n");
    office.approve(&order, &["baba"]);
    assert!(succeed(&mut office.run_order(&order)).contains("stopped at a rejection"));
    assert!(office.refused(&order).contains("Stopped"));
    let order = office.write_issue("renewal", "mixed.jsonl", "renewal = true\n");
    office.approve(&order, &["baba"]);
    assert!(succeed(&mut office.run_order(&order)).contains("issued 3 certificates"));
}

#[test]
fn o16_a_certificate_that_is_handed_out_has_a_status_already() {
    let (_directory, office) = office();
    fs::create_dir(office.path("requests")).unwrap();
    for host in ["a.example.com", "b.example.com"] {
        fs::write(office.path("requests").join(format!("{host}.csr")), request(&office.path("applicant.pem"), host)).unwrap();
    }
    let order = office.write_issue("two", "requests", "");
    office.approve(&order, &["baba"]);
    succeed(&mut office.run_order(&order));
    // Nobody signs from here on: what is answered was signed before the files were written.
    let service = Service::serve(&mut with_config("serve", &office.config(), &["--roles", "responder"]));
    for host in ["a.example.com", "b.example.com"] {
        let certificate = office.path("out-two").join(format!("{host}.csr.pem"));
        let output =
            run(common::tool("openssl").args(["verify", "-x509_strict", "-CAfile"]).arg(office.path("chain.pem")).arg(&certificate));
        assert!(text(&output).contains(": OK"), "{}", text(&output));
        let asker = common::ocsp::Asker::new(&office.path("issuing.pem"));
        let serial = common::ocsp::serial_of(&certificate);
        for hash in common::ocsp::HASHES {
            assert!(asker.ask(&service.ocsp, &serial, hash).is_good());
        }
    }
    service.stop();
}

#[test]
fn s4_9_keys_that_are_made_for_applicants_are_handed_over_under_a_passphrase() {
    let (_directory, office) = office();
    let applicants = "{\"subject\":\"CN=a.example.com\",\"dns\":[\"a.example.com\"]}\n{\"subject\":\"CN=not a host\",\"dns\":[]}\n\
                      {\"subject\":\"CN=b.example.com\",\"dns\":[\"b.example.com\",\"www.b.example.com\"]}\n";
    fs::write(office.path("applicants.jsonl"), applicants).unwrap();
    let order = office.write_issue("keys", "applicants.jsonl", "key_algorithm = \"rsa-2048\"\npassphrases = \"phrases\"\n");
    edit(&office, &order, "kind = \"issue\"", "kind = \"issue-with-keys\"");
    office.approve(&order, &["baba"]);
    assert!(office.refused(&order).contains("1 of 2 approvals are missing"), "keys need two (S1.5)");
    office.approve(&order, &["doi"]);
    let said = succeed(&mut office.run_order(&order));
    assert!(said.contains("issued 2 certificates, 2 are written, 1 requests were rejected"), "{said}");
    for (line, host) in [(1, "a.example.com"), (3, "b.example.com")] {
        let file = office.path(&format!("out-keys/line-{line:09}.p12"));
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions()) & 0o777, 0o600);
        let phrase = format!("file:{}", office.path(&format!("phrases/line-{line:09}.passphrase")).display());
        let read = |arguments: &[&str]| {
            let mut command = common::tool("openssl");
            command.args(["pkcs12", "-in"]).arg(&file).args(["-passin", &phrase]).args(arguments);
            succeed(&mut command)
        };
        let (key, certificate) = (office.path("handed.key"), office.path("handed.pem"));
        fs::write(&certificate, read(&["-nokeys", "-clcerts"])).unwrap();
        fs::write(&key, read(&["-nocerts", "-nodes"])).unwrap();
        let public = succeed(common::tool("openssl").args(["x509", "-noout", "-pubkey", "-in"]).arg(&certificate));
        assert_eq!(public, succeed(common::tool("openssl").args(["pkey", "-pubout", "-in"]).arg(&key)), "the key of the certificate");
        let text = succeed(common::tool("openssl").args(["x509", "-noout", "-subject", "-in"]).arg(&certificate));
        assert!(text.contains(host), "{text}");
        let wrong = run(common::tool("openssl").args(["pkcs12", "-noout", "-passin", "pass:wrong", "-in"]).arg(&file));
        assert!(!wrong.status.success() && common::text(&wrong).contains("invalid password"), "{}", common::text(&wrong));
    }
    let left: Vec<_> = fs::read_dir(office.path("out-keys")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "two files, what was rejected, and whose it is: {left:?}");
    // Whoever orders into the same directories next would write over keys that are nowhere else.
    let before = fs::read(office.path("out-keys/line-000000001.p12")).unwrap();
    for (id, output, phrases) in
        [("second", "out-keys", "phrases-2"), ("third", "out-third", "phrases"), ("fourth", "requests", "phrases-4")]
    {
        fs::create_dir_all(office.path("requests")).unwrap();
        fs::write(office.path("requests/kept"), "").unwrap();
        let order = office.write_issue(id, "applicants.jsonl", &format!("key_algorithm = \"rsa-2048\"\npassphrases = \"{phrases}\"\n"));
        edit(&office, &order, "kind = \"issue\"", "kind = \"issue-with-keys\"");
        edit(&office, &order, &format!("output = \"out-{id}\""), &format!("output = \"{output}\""));
        office.approve(&order, &["baba", "doi"]);
        for said in [office.refused(&order), fail(&mut office.order("check", &[&order]))] {
            let wanted = if id == "fourth" { "found 'kept', wanted a directory that is empty" } else { "found the output of order keys " };
            assert!(said.contains(wanted), "{said}");
        }
    }
    assert_eq!(fs::read(office.path("out-keys/line-000000001.p12")).unwrap(), before);
}
