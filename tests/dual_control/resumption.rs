//! Orders that were interrupted: what may go on, and what may not, however properly it was approved once.

use std::fs;
use std::time::Duration;

use kakunin::pki::{Fingerprint, Timestamp};

use crate::common::{PATIENCE, fail, kakunin, succeed, until};
use crate::orders::{Office, operators_text, request_made_here};
use crate::{edit, office};

/// Runs an order, which something keeps from its end.
fn interrupt(office: &Office, order: &str) {
    let said = fail(&mut office.run_order(order));
    assert!(said.contains("run it again"), "{said}");
}

/// An order for a file of operators, approved.
fn new_operators(office: &Office, id: &str, text: &str) -> String {
    let (file, order) = (format!("{id}-operators.toml"), format!("{id}.toml"));
    fs::write(office.path(&file), text).unwrap();
    let digest = succeed(kakunin(["order", "digest", "--operators", &file]).current_dir(&office.directory));
    let text = format!("{}file = \"{file}\"\nfingerprint = \"{}\"\n", office.head(id, "operators"), digest.trim());
    fs::write(office.path(&order), text).unwrap();
    office.approve(&order, &["doi", "fuji"]);
    order
}

#[test]
fn s4_8_an_interrupted_order_goes_on_until_it_expires() {
    let (_directory, office) = office();
    let order = office.write_issue("late", "one.jsonl", "");
    let expires = Timestamp::now().saturating_add(Duration::from_secs(10));
    let text = fs::read_to_string(office.path(&order)).unwrap();
    let lines = text.lines().map(|line| if line.starts_with("expires") { format!("expires = \"{expires}\"") } else { line.to_owned() });
    fs::write(office.path(&order), lines.collect::<Vec<_>>().join("\n")).unwrap();
    office.approve(&order, &["baba"]);
    fs::rename(office.path("one.jsonl"), office.path("away.jsonl")).unwrap();
    interrupt(&office, &order);
    fs::rename(office.path("away.jsonl"), office.path("one.jsonl")).unwrap();
    until(PATIENCE, "its end", || (Timestamp::now() >= expires).then_some(()));
    let said = office.refused(&order);
    assert!(said.contains("not taken up again") && said.contains(&format!("to {expires}, and it is ")), "{said}");
    assert_eq!(office.log().last().unwrap()["event"], "refused");
}

#[test]
fn s1_5_s4_8_an_interrupted_order_does_not_go_on_under_other_operators() {
    let (_directory, office) = office();
    // Three that were approved while everybody was in force, and interrupted: a batch, a file with one more role, and one that is put in force meanwhile.
    let batch = office.write_issue("batch", "one.jsonl", "");
    office.approve(&batch, &["baba"]);
    let everybody = operators_text();
    let old = new_operators(&office, "old", &everybody.replace("\"ra-clerk\"", "\"ra-clerk\", \"ra-operator\""));
    let without_fuji = everybody.split("[[operator]]").filter(|one| !one.contains("fuji")).collect::<Vec<_>>().join("[[operator]]");
    // Somebody has to be able to put a later one in force.
    let without_fuji = without_fuji.replace("\"ca-administrator\"", "\"ca-administrator\", \"operations-manager\"");
    let next = new_operators(&office, "next", &without_fuji);
    let same = new_operators(&office, "same", &without_fuji);
    let away = |name: &str| fs::rename(office.path(name), office.path(&format!("{name}.away"))).unwrap();
    let back = |name: &str| fs::rename(office.path(&format!("{name}.away")), office.path(name)).unwrap();
    for (order, needs) in [(&batch, "one.jsonl"), (&old, "old-operators.toml"), (&same, "same-operators.toml")] {
        away(needs);
        interrupt(&office, order);
        back(needs);
        let said = succeed(&mut office.order("check", &[order]));
        assert!(said.contains("has not ended: run again, it goes on"), "{said}");
    }
    succeed(&mut office.run_order(&next));
    fs::write(office.path("operators.toml"), &without_fuji).unwrap();
    for order in [&batch, &old] {
        assert!(fail(&mut office.order("check", &[order])).contains("it was approved under the operators "));
        let said = office.refused(order);
        assert!(said.contains("not taken up again") && said.contains("it was approved under the operators "), "{said}");
    }
    let said = office.put_in_force();
    assert!(said.contains("in force: 5 operators"), "nobody is back: {said}");
    // What it asks for is so already: nothing changes by its end.
    assert!(succeed(&mut office.run_order(&same)).contains("is in force"));
}

/// The registry's files.
const REGISTRY: [&str; 3] = ["registry.sqlite", "registry.sqlite-wal", "registry.sqlite-shm"];

fn back_up(office: &Office, to: &str) {
    fs::create_dir(office.path(to)).unwrap();
    for file in REGISTRY.into_iter().filter(|file| office.path(file).exists()) {
        fs::copy(office.path(file), office.path(to).join(file)).unwrap();
    }
}

fn restore(office: &Office, from: &str) {
    for file in REGISTRY {
        let _ = fs::remove_file(office.path(file));
        if office.path(from).join(file).exists() {
            fs::copy(office.path(from).join(file), office.path(file)).unwrap();
        }
    }
}

#[test]
fn s4_9_what_was_handed_out_is_not_written_over_after_an_older_registry_was_restored() {
    let (_directory, office) = office();
    fs::create_dir(office.path("files")).unwrap();
    fs::write(office.path("files/www"), request_made_here("www.example.org")).unwrap();
    fs::write(office.path("applicants.jsonl"), "{\"subject\":\"CN=a.example.com\",\"dns\":[\"a.example.com\"]}\n").unwrap();
    let keys = "key_algorithm = \"ecdsa-p256\"\npassphrases = \"phrases\"\n";
    let orders = [("lines", "one.jsonl", "", "certificates-000000001.jsonl"), ("directory", "files", "", "www.pem")];
    let orders = orders.into_iter().chain([("keys", "applicants.jsonl", keys, "line-000000001.p12")]);
    let orders: Vec<_> = orders.map(|(id, inputs, more, file)| (id, office.write_issue(id, inputs, more), inputs, file)).collect();
    edit(&office, "keys.toml", "kind = \"issue\"", "kind = \"issue-with-keys\"");
    for (_, order, ..) in &orders {
        office.approve(order, &["baba", "doi"]);
    }
    back_up(&office, "before");
    let away = |name: &str| fs::rename(office.path(name), office.path(&format!("{name}.away"))).unwrap();
    let back = |name: &str| fs::rename(office.path(&format!("{name}.away")), office.path(name)).unwrap();
    for (_, order, inputs, _) in &orders {
        away(inputs);
        interrupt(&office, order);
        back(inputs);
    }
    back_up(&office, "begun");
    let outputs = || orders.iter().map(|(id, _, _, file)| fs::read(office.path(&format!("out-{id}/{file}"))).unwrap()).collect::<Vec<_>>();
    for (_, order, ..) in &orders {
        succeed(&mut office.run_order(order));
    }
    let handed_out = outputs();
    // As it was before any of them was begun: nothing is issued again.
    restore(&office, "before");
    for (id, order, ..) in &orders {
        let said = office.refused(order);
        assert!(said.contains(&format!("out-{id}: found the output of this very order, which the registry has not begun")), "{said}");
    }
    // And before anything of them was registered: whatever is issued again takes the place of nothing.
    restore(&office, "begun");
    for (_, order, _, file) in &orders {
        let said = fail(&mut office.run_order(order));
        assert!(said.contains(file) && said.contains("found a certificate that the registry does not know"), "{said}");
    }
    assert!(outputs() == handed_out);
    assert_eq!(fs::read_dir(office.path("phrases")).unwrap().count(), 2, "whose they are, and the passphrase of what was handed out");
}

#[test]
fn s4_9_an_order_writes_through_no_link_that_somebody_has_put_in_its_way() {
    let (_directory, office) = office();
    fs::create_dir(office.path("files")).unwrap();
    fs::write(office.path("files/www"), request_made_here("www.example.org")).unwrap();
    let plant = |name: &str, target: &str| std::os::unix::fs::symlink(office.path(target), office.path(name)).unwrap();
    let key = fs::read(office.path("abe.key.pem")).unwrap();
    // Before an order is begun, whatever is in its directory speaks against it; its approvals are written beside it.
    let early = office.write_issue("early", "one.jsonl", "");
    plant("early.toml.abe.approval.pending", "abe.key.pem");
    office.approve(&early, &["baba"]);
    assert_eq!(fs::read(office.path("abe.key.pem")).unwrap(), key);
    fs::create_dir(office.path("out-early")).unwrap();
    plant("out-early/order.pending", "registry.sqlite");
    assert!(office.refused(&early).contains("out-early: found 'order.pending', wanted a directory that is empty"));
    // Afterwards in its directory.
    for (id, inputs, file) in [("lines", "one.jsonl", "certificates-000000001.jsonl"), ("files", "files", "www.pem")] {
        let order = office.write_issue(id, inputs, "");
        office.approve(&order, &["baba"]);
        fs::rename(office.path(inputs), office.path("away")).unwrap();
        interrupt(&office, &order);
        fs::rename(office.path("away"), office.path(inputs)).unwrap();
        let output = format!("out-{id}");
        fs::create_dir(office.path(&output)).unwrap();
        let fingerprint = Fingerprint::of(&fs::read(office.path(&order)).unwrap());
        fs::write(office.path(&output).join("order"), format!("{id} {fingerprint}\n")).unwrap();
        for name in ["rejected.jsonl", file] {
            plant(&format!("{output}/{name}.pending"), "registry.sqlite");
        }
        assert!(succeed(&mut office.run_order(&order)).contains("issued 1 certificates, 1 are written"));
        assert!(fs::symlink_metadata(office.path(&output).join(file)).unwrap().is_file());
        assert_eq!(fs::read_dir(office.path(&output)).unwrap().count(), 3, "what was issued, what was rejected, and whose it is");
    }
    assert!(office.log().len() > 4);
}
