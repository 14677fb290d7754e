//! Ceremonies that are killed: at random moments, and exactly where a key pair is half made or half destroyed. What is on the token is told by `p11tool`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::common::kills::Killer;
use crate::common::{Process, fail, list, run, succeed, text, tool};
use crate::steps::{ROOT, begin, leaf, root};
use crate::{ceremony, kakunin};

const KILLS: usize = 30;
/// Keys that a ceremony makes beside that of its certificate.
const KEYS: usize = 8;

pub(crate) fn generate(label: &str) -> String {
    format!("[[step]]\ndo = \"generate-key\"\nkey = {{ token = \"hsm\", label = \"{label}\" }}\nalgorithm = \"ecdsa-p256\"\n")
}

/// A key object of the token.
#[derive(Debug)]
struct Object {
    label: String,
    id: String,
    /// `private` or `public`.
    kind: String,
    /// The same in words, with the kind of key where the object has one.
    key: String,
}

impl Object {
    fn is_named(&self) -> bool {
        !self.label.is_empty() || !self.id.is_empty()
    }
}

fn listed(here: &Path) -> Vec<Object> {
    let mut command = tool("p11tool");
    command.args(["--provider", "/usr/lib/softhsm/libsofthsm2.so", "--login", "--set-pin=271828", "--list-all", "pkcs11:token=kakunin"]);
    let output = run(command.env("SOFTHSM2_CONF", here.join("softhsm2.conf")));
    let said = text(&output);
    assert!(output.status.success() || said.contains("No matching objects found"), "{said}");
    let of = |start: &str| said.lines().filter_map(|line| line.trim().strip_prefix(start)).collect::<Vec<_>>();
    let (urls, keys) = (of("URL: "), of("Type: "));
    assert_eq!(urls.len(), keys.len(), "{said}");
    let object = |(url, key): (&str, &str)| {
        let field = |name: &str| url.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned();
        Object { label: field("object"), id: field("id"), kind: field("type"), key: key.to_owned() }
    };
    urls.into_iter().zip(keys).map(object).collect()
}

/// The key objects of the token: how many of each label and kind, and their ids.
pub(crate) fn objects(here: &Path) -> BTreeMap<(String, String), Vec<String>> {
    let mut objects: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Object { label, kind, id, .. } in listed(here) {
        objects.entry((label, kind)).or_default().push(id);
    }
    objects
}

/// The file of SoftHSM2 that makes a directory a token. At each login it is emptied and written anew: killed in between, the token is gone, and only a copy of the
/// file brings it back. Nothing in it but a counter ever changes.
struct TokenFile {
    path: PathBuf,
    content: Vec<u8>,
}

impl TokenFile {
    fn copy(here: &Path) -> TokenFile {
        let path = fs::read_dir(here.join("tokens")).unwrap().next().unwrap().unwrap().path().join("token.object");
        TokenFile { content: fs::read(&path).unwrap(), path }
    }

    /// Whether it had to be brought back.
    fn restore(&self) -> bool {
        let is_damaged = fs::metadata(&self.path).map_or(0, |found| found.len()) != self.content.len() as u64;
        if is_damaged {
            fs::write(&self.path, &self.content).unwrap();
        }
        is_damaged
    }
}

/// A counter and the type of a key: what SoftHSM2 writes of an object before it says that it is one, of whatever class.
const WITHOUT_A_CLASS: u64 = 32;

/// How many object files SoftHSM2 has, and how many of them do not say yet what they are.
fn object_files(here: &Path) -> (usize, usize) {
    let token = fs::read_dir(here.join("tokens")).unwrap().next().unwrap().unwrap().path();
    let entries = fs::read_dir(token).unwrap().map(|entry| entry.unwrap());
    let objects =
        entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "object") && entry.file_name() != "token.object");
    let lengths: Vec<u64> = objects.map(|entry| entry.metadata().unwrap().len()).collect();
    (lengths.len(), lengths.iter().filter(|length| **length <= WITHOUT_A_CLASS).count())
}

/// Everything on the token is a whole pair, but for what SoftHSM2 was writing when it was killed: of that, one object a kill at most, which is no key. It writes an
/// object's file anew for each attribute: first a key's type, then its class and some thirty that every object has, then label and id with the rest of what was asked for, then the key's numbers.
/// What is killed before the name is written has none of the numbers, nothing that says whose it is, and is in nobody's way; before the class, and between emptying
/// the file and writing it, it is no object.
fn assert_nothing_but_pairs(here: &Path, pairs: usize, kills: usize) {
    let all = listed(here);
    let (named, unnamed): (Vec<_>, Vec<_>) = all.iter().partition(|object| object.is_named());
    assert_eq!(named.len(), 2 * pairs, "{named:?}");
    assert!(named.iter().all(|object| object.key.contains(" (")), "{named:?}");
    assert!(unnamed.iter().all(|object| ["Private key", "Public key"].contains(&object.key.as_str())), "a key without a name: {unnamed:?}");
    let (files, begun) = object_files(here);
    println!("{} whole pairs; after {kills} kills {} objects without a name and {begun} files that are none yet", pairs, unnamed.len());
    assert_eq!(files - begun, all.len(), "a file that is no object");
    assert!(unnamed.len() + begun <= kills, "{kills} kills, {begun} files that are no object yet, {unnamed:?}");
}

/// Whether there is one whole pair of this label, and nothing else of it.
#[track_caller]
pub(crate) fn assert_pair(objects: &BTreeMap<(String, String), Vec<String>>, label: &str) {
    let [private, public] = ["private", "public"].map(|kind| objects.get(&(label.to_owned(), kind.to_owned())));
    assert!(private.is_some_and(|ids| ids.len() == 1) && private == public, "{label}: {private:?} {public:?}");
}

/// A key that no ceremony has made.
fn import(here: &Path, label: &str, id: &str) {
    let script = format!(
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {label}.pem\n\
         softhsm2-util --import {label}.pem --token kakunin --label {label} --id {id} --pin 271828\nrm {label}.pem\n"
    );
    crate::shell(here, &script);
}

/// The same order once more.
pub(crate) fn again(here: &Path, id: &str) -> Command {
    kakunin(here, &["order", "run", &format!("{id}.toml"), "--config", "kakunin.toml"])
}

fn serials(here: &Path) -> usize {
    let all = list(&here.join("kakunin.toml"), "old");
    let distinct: std::collections::BTreeSet<_> = all.iter().map(|one| &one.serial).collect();
    assert_eq!(distinct.len(), all.len(), "P3: a serial repeats");
    all.len()
}

#[test]
fn s1_5_p3_thirty_kills_of_ceremonies_leave_whole_keys_and_one_certificate_each() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["old"]);
    import(here, "foreign", "77");
    succeed(&mut ceremony(here, "beginning", &root("old", ROOT)));
    let label = |number: usize, key: usize| format!("key-{number}-{key}");
    let made = |number: usize| {
        let steps: String = (0..KEYS).map(|key| generate(&label(number, key))).collect();
        ceremony(here, &format!("ceremony-{number}"), &(steps + &leaf("old", &format!("leaf-{number}"))))
    };
    // The first one is let run, to see how long it takes.
    let (mut command, start) = (made(1), Instant::now());
    succeed(&mut command);
    let (mut killer, mut number) = (Killer::seeded("ceremony-kills", start.elapsed()), 1);
    let token = TokenFile::copy(here);
    while killer.kills < KILLS {
        number += 1;
        killer.kill_until_done(&mut made(number), |kill| {
            if token.restore() {
                println!("ceremony {number}, {kill}: SoftHSM2 had emptied its token file");
            }
            let objects: usize = objects(here).values().map(Vec::len).sum();
            println!("ceremony {number}, {kill}: {objects} objects on the token");
        });
        let found = objects(here);
        (0..KEYS).for_each(|key| assert_pair(&found, &label(number, key)));
        assert_pair(&found, &format!("leaf-{number}"));
        assert_eq!(serials(here), number, "each certificate once");
        let pem = fs::read_to_string(here.join(format!("leaf-{number}.pem"))).unwrap();
        assert_eq!(pem.matches("-----END CERTIFICATE-----").count(), 1);
    }
    assert_nothing_but_pairs(here, number * (KEYS + 1) + 2, killer.kills);
    let found = objects(here);
    ["foreign", "old"].iter().for_each(|label| assert_pair(&found, label));
    let left: Vec<PathBuf> = fs::read_dir(here).unwrap().map(|entry| entry.unwrap().path()).collect();
    let is_left = |path: &PathBuf| ["pending", "lock"].iter().any(|end| path.extension().is_some_and(|found| found == *end));
    assert!(!left.iter().any(is_left), "{left:?}");
    assert!(succeed(&mut kakunin(here, &["order", "log", "--config", "kakunin.toml"])).contains("unbroken"));
}

/// A token that kills whoever uses it: its configuration, and the file that says when.
fn dying(here: &Path) -> PathBuf {
    let module = here.join("dying.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/dying_module.c");
    succeed(tool("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&module).arg(source).arg("-ldl"));
    let config = fs::read_to_string(here.join("kakunin.toml")).unwrap();
    fs::write(here.join("kakunin.toml"), config.replace("/usr/lib/softhsm/libsofthsm2.so", module.to_str().unwrap())).unwrap();
    here.join("dies")
}

#[test]
fn s1_5_a_key_pair_that_is_half_made_or_half_destroyed_blocks_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &[]);
    let dies = dying(here);
    import(here, "foreign", "77");
    for (moment, left) in [("half", 1), ("pair", 2)] {
        let label = format!("made-{moment}");
        let mut command = ceremony(here, moment, &generate(&label));
        fs::write(&dies, moment).unwrap();
        let mut process = Process::start(command.env("DIES_FILE", &dies));
        assert!(!process.wait(crate::common::PATIENCE).unwrap().success() && !dies.exists(), "it was killed");
        let before = objects(here);
        assert_eq!(before.keys().filter(|(found, _)| *found == label).count(), left, "{before:?}");
        // Another order does not take up what is not its own.
        let refused = fail(&mut ceremony(here, &format!("other-{moment}"), &generate(&label)));
        assert!(refused.contains(&format!("found {left} objects with the label '{label}'")), "{refused}");
        succeed(&mut again(here, moment));
        let after = objects(here);
        assert_pair(&after, &label);
        let name = (label, "public".to_owned());
        assert_eq!(before[&name], after[&name], "its id follows from the order");
    }
    // Half destroyed: the private key first, and the rest of it when it goes on. Another key of the same label is left alone.
    let destroy = "[[step]]\ndo = \"destroy-key\"\nkey = { token = \"hsm\", label = \"made-pair\" }\n";
    let mut command = ceremony(here, "destroy", destroy);
    fs::write(&dies, "destroyed").unwrap();
    let mut process = Process::start(command.env("DIES_FILE", &dies));
    assert!(!process.wait(crate::common::PATIENCE).unwrap().success() && !dies.exists(), "it was killed");
    assert_eq!(objects(here).keys().filter(|(found, _)| found == "made-pair").count(), 1, "the public half is left");
    import(here, "made-pair", "88");
    succeed(&mut again(here, "destroy"));
    let left = objects(here);
    assert_eq!(left[&("made-pair".to_owned(), "private".to_owned())], ["%88"], "{left:?}");
    assert_eq!(left[&("made-pair".to_owned(), "public".to_owned())], ["%88"], "{left:?}");
    ["foreign", "made-half"].iter().for_each(|label| assert_pair(&left, label));
}

#[test]
fn s1_5_half_a_key_pair_under_an_id_that_others_may_have_given_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &[]);
    let dies = dying(here);
    let mut command = ceremony(here, "named", &generate("named").replace("label = \"named\"", "label = \"named\", id = \"0a\""));
    fs::write(&dies, "half").unwrap();
    let mut process = Process::start(command.env("DIES_FILE", &dies));
    assert!(!process.wait(crate::common::PATIENCE).unwrap().success());
    let before = objects(here);
    let said = fail(&mut again(here, "named"));
    assert!(said.contains("found half a key pair with label 'named' and id 0a") && said.contains("by hand"), "{said}");
    assert_eq!(objects(here), before);
    crate::shell(
        here,
        "p11tool --provider /usr/lib/softhsm/libsofthsm2.so --login --set-pin=271828 --batch --delete 'pkcs11:token=kakunin;object=named'",
    );
    succeed(&mut again(here, "named"));
    assert_pair(&objects(here), "named");
}

#[test]
fn s1_4_a_ceremony_tries_a_pin_once_and_names_a_token_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &[]);
    dying(here);
    let (pin, config) = (fs::read_to_string(here.join("hsm.pin")).unwrap(), fs::read_to_string(here.join("kakunin.toml")).unwrap());
    let logins = || fs::read_to_string(here.join("logins")).map_or(0, |text| text.lines().count());
    let refused = |command: &mut Command| fail(command.env("LOGINS_FILE", here.join("logins")));
    fs::write(here.join("kakunin.toml"), config.replace("label = \"kakunin\"", "label = \"absent\"")).unwrap();
    let said = refused(&mut ceremony(here, "keys", &(generate("one") + &generate("two"))));
    assert!(said.contains("step 1: makes an ecdsa-p256 key 'one'") && said.contains("absent") && said.contains("run it again"), "{said}");
    fs::write(here.join("kakunin.toml"), config).unwrap();
    fs::write(here.join("hsm.pin"), "000000\n").unwrap();
    let said = refused(&mut again(here, "keys"));
    assert!(said.contains("wrong PIN") && !said.contains("000000"), "{said}");
    assert_eq!((logins(), objects(here).len()), (1, 0));
    fs::write(here.join("hsm.pin"), pin).unwrap();
    succeed(&mut again(here, "keys"));
    assert_eq!(objects(here).len(), 4);
}
