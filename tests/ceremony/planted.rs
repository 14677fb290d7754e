//! Files that somebody puts where an interrupted ceremony is to write: none is taken for its own, and none is written over.

use std::fs;
use std::path::Path;

use crate::common::{fail, succeed};
use crate::kills::again;
use crate::steps::{ROOT, begin, foreign, leaf, links, root};
use crate::{ceremony, kakunin, shell};

/// A certificate by a thief for the public key on the token that has this label, as the file that a step is to make.
fn plant(here: &Path, label: &str, file: &str) {
    let script = format!(
        "p11tool --provider /usr/lib/softhsm/libsofthsm2.so --login --set-pin=271828 --batch \
           --export 'pkcs11:token=kakunin;object={label};type=public' > planted.pub\n\
         openssl x509 -new -force_pubkey planted.pub -subj '/C=JP/O=JPKI/OU=Governor of Example' -CA thief.pem -CAkey thief.key -days 1800 \
           -out {file}\n"
    );
    shell(here, &script);
}

fn log(here: &Path) -> Vec<serde_json::Value> {
    let said = succeed(&mut kakunin(here, &["order", "log", "--config", "kakunin.toml", "--json"]));
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn s1_5_s5_7_a_certificate_that_is_planted_for_an_interrupted_step_is_not_taken_for_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    // No CA is in the configuration: what they sign is registered with nobody.
    begin(here, &[]);
    foreign(here, "thief");
    let steps = root("old", ROOT) + &root("new", ROOT) + &links(&[]);
    let steps = steps.replace("certificate = \"old.pem\"", "certificate = \"roots/old.pem\"");
    let steps = steps.replace("certificate = \"new-with-old.pem\"", "certificate = \"links/new-with-old.pem\"");
    let said = fail(&mut ceremony(here, "rollover", &steps));
    assert!(said.contains("step 2: self-signs") && said.contains("run it again"), "{said}");
    let mut signed = Vec::new();
    for (part, key, file, step) in [("roots", "old", "roots/old.pem", 2), ("links", "new", "links/new-with-old.pem", 5)] {
        fs::create_dir(here.join(part)).unwrap();
        plant(here, key, file);
        let planted = fs::read(here.join(file)).unwrap();
        let said = fail(&mut again(here, "rollover"));
        assert!(said.contains(&format!("step {step}: ")) && said.contains(&format!("{file}: found another file, wanted none")), "{said}");
        assert_eq!(fs::read(here.join(file)).unwrap(), planted);
        assert!(!log(here).iter().any(|entry| entry["detail"]["step"] == step && entry["detail"]["did"].is_string()));
        // Nothing is signed a second time, when the file is gone.
        fs::remove_file(here.join(file)).unwrap();
        let noted = log(here).into_iter().rfind(|entry| entry["detail"]["signed"].is_string()).unwrap();
        signed.push((file, noted["detail"]["signed"].as_str().unwrap().to_owned()));
        if step == 2 {
            let said = fail(&mut again(here, "rollover"));
            assert!(said.contains("step 5: links") && here.join("old-with-new.pem").exists(), "{said}");
        }
    }
    succeed(&mut again(here, "rollover"));
    for (file, signed) in signed {
        assert_eq!(fs::read_to_string(here.join(file)).unwrap(), signed, "{file}");
    }
    assert_eq!(log(here).iter().filter(|entry| entry["detail"]["signed"].is_string()).count(), 4, "two roots and two links");
}

#[test]
fn s1_5_s4_8_a_ceremony_that_goes_on_writes_over_no_other_orders_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["old"]);
    succeed(&mut ceremony(here, "beginning", &root("old", ROOT)));
    let to = |label: &str| leaf("old", label).replace(&format!("certificate = \"{label}.pem\""), "certificate = \"sub/sub.pem\"");
    let said = fail(&mut ceremony(here, "first", &to("one")));
    assert!(said.contains("sub/sub.pem") && said.contains("run it again"), "{said}");
    fs::create_dir(here.join("sub")).unwrap();
    succeed(&mut ceremony(here, "second", &to("two")));
    let second = fs::read(here.join("sub/sub.pem")).unwrap();
    let said = fail(&mut again(here, "first"));
    assert!(said.contains("sub/sub.pem: found another file, wanted none: it is not written over"), "{said}");
    assert_eq!(fs::read(here.join("sub/sub.pem")).unwrap(), second);
    assert_eq!(fs::read_dir(here.join("sub")).unwrap().count(), 1, "nothing else is left");
    // Whoever has moved it away has the first one's, which was issued once.
    fs::rename(here.join("sub/sub.pem"), here.join("two.pem")).unwrap();
    succeed(&mut again(here, "first"));
    assert_ne!(fs::read(here.join("sub/sub.pem")).unwrap(), second);
    assert_eq!(crate::common::list(&here.join("kakunin.toml"), "old").len(), 2);
}
