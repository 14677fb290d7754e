//! Ways to cheat dual control, in memory. `tests/dual_control` tries others through the program.

use std::time::Duration;

use der::asn1::BitString;
use der::{Decode, Encode};

use super::*;
use crate::pki::{Fingerprint, KeyAlgorithm, Timestamp};
use crate::token::SigningKey;
use crate::token::software::SoftwareKey;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Timestamp {
    Timestamp::from_unix(1_800_000_000).unwrap()
}

struct World {
    people: Vec<(&'static str, &'static str, SoftwareKey)>,
    operators: Operators,
}

fn pem(key: &SoftwareKey) -> String {
    der::pem::encode_string("PUBLIC KEY", der::pem::LineEnding::LF, key.public_key()).unwrap()
}

fn file(people: &[(&'static str, &'static str, SoftwareKey)]) -> String {
    let one = |(name, roles, key): &(&str, &str, SoftwareKey)| {
        format!("[[operator]]\nname = \"{name}\"\nroles = [{roles}]\nkey = \"\"\"\n{}\"\"\"\n", pem(key))
    };
    people.iter().map(one).collect()
}

fn parse(text: &str) -> Result<Operators, OperatorsError> {
    Operators::parse(text, &|file| Err(format!("{file} is not here")))
}

impl World {
    fn new() -> World {
        let key = |algorithm| SoftwareKey::generate(algorithm).unwrap();
        let people = vec![
            ("abe", "\"ra-clerk\"", key(KeyAlgorithm::EcdsaP256)),
            ("baba", "\"ra-manager\", \"ra-operator\"", key(KeyAlgorithm::EcdsaP256)),
            ("chiba", "\"ca-administrator\"", key(KeyAlgorithm::Ed25519)),
            ("doi", "\"ca-manager\", \"service-manager\"", key(KeyAlgorithm::EcdsaP384)),
            ("endo", "\"log-auditor\"", key(KeyAlgorithm::EcdsaP256)),
        ];
        let operators = parse(&file(&people)).unwrap();
        World { people, operators }
    }

    fn key(&self, name: &str) -> &SoftwareKey {
        &self.people.iter().find(|(known, ..)| *known == name).unwrap().2
    }

    fn statement(&self, name: &str) -> Statement {
        let operators = self.operators.fingerprint();
        Statement { operator: name.into(), order: order(), operators, at: now(), expires: now().saturating_add(DAY) }
    }

    fn approval(&self, name: &str) -> Approval {
        Approval::sign(self.statement(name), self.key(name)).unwrap()
    }

    fn case(&self, class: OrderClass) -> Case<'_> {
        let valid = (now().saturating_sub(HOUR), now().saturating_add(DAY));
        Case { order: order(), class, requester: "abe", valid, operators: &self.operators, now: now().saturating_add(HOUR) }
    }

    /// With the requester's own signature.
    fn judge(&self, class: OrderClass, approvals: &[Approval]) -> Judgement {
        judge_files(&self.case(class), &[approvals, &[self.approval("abe")]].concat())
    }

    /// The one reason for which a ceremony is refused that doi approved properly and `approval` is to be the second for.
    fn refused(&self, approval: Approval) -> Refusal {
        let judged = self.judge(OrderClass::Ceremony, &[self.approval("doi"), approval]);
        assert!(!judged.is_approved());
        assert_eq!(judged.accepted.len(), 1, "{judged:?}");
        judged.refused.into_iter().next().unwrap().why
    }

    fn signed(&self, name: &str, change: impl Fn(&mut Statement)) -> Approval {
        let mut statement = self.statement(name);
        change(&mut statement);
        Approval::sign(statement, self.key(name)).unwrap()
    }
}

fn order() -> Fingerprint {
    Fingerprint::of(b"an order")
}

fn judge_files(case: &Case<'_>, approvals: &[Approval]) -> Judgement {
    // As they come from files.
    let read = |(number, approval): (usize, &Approval)| (format!("{number}.approval"), Approval::parse(&approval.to_toml()));
    judge(case, &approvals.iter().enumerate().map(read).collect::<Vec<_>>())
}

#[test]
fn s1_5_two_people_who_may_approve_a_ceremony() {
    let world = World::new();
    let judged = world.judge(OrderClass::Ceremony, &[world.approval("chiba"), world.approval("doi")]);
    assert!(judged.is_approved(), "{judged:?}");
    assert_eq!((judged.missing(), judged.objections()), (0, vec![]));
    assert!(world.judge(OrderClass::Issue, &[world.approval("baba")]).is_approved());
}

#[test]
fn s1_5_nobody_and_one_person_alone_are_not_enough() {
    let world = World::new();
    for class in OrderClass::ALL {
        assert!(!world.judge(class, &[]).is_approved(), "{class:?}");
    }
    assert!(!world.judge(OrderClass::Ceremony, &[world.approval("doi")]).is_approved());
    assert!(!world.judge(OrderClass::IssueWithKeys, &[world.approval("baba")]).is_approved(), "keys need two");
}

#[test]
fn s1_5_the_requester_does_not_count() {
    let world = World::new();
    let case = Case { requester: "doi", ..world.case(OrderClass::Ceremony) };
    let judged = judge_files(&case, &[world.approval("doi"), world.approval("chiba")]);
    let names: Vec<_> = judged.accepted.iter().map(|accepted| accepted.operator.as_str()).collect();
    assert_eq!((judged.is_approved(), judged.missing(), names), (false, 1, vec!["chiba"]));
    assert_eq!(judged.request.map(|request| request.operator), Some("doi".to_owned()));
}

#[test]
fn s4_8_an_order_in_the_name_of_somebody_who_did_not_ask_for_it() {
    let world = World::new();
    let case = world.case(OrderClass::Issue);
    let unsigned = |approvals: &[Approval]| {
        let judged = judge_files(&case, approvals);
        assert!(!judged.is_approved() && judged.missing() == 0 && judged.request.is_none(), "{judged:?}");
        assert!(judged.objections().iter().any(|line| line.contains("wanted the signature of 'abe'")), "{:?}", judged.objections());
        judged.refused.into_iter().map(|refused| refused.why).next()
    };
    // One person writes the order and approves it; nor does it help to sign for the other.
    assert_eq!(unsigned(&[world.approval("baba")]), None);
    let forged = Approval::sign(world.statement("abe"), world.key("baba")).unwrap();
    assert_eq!(unsigned(&[world.approval("baba"), forged]), Some(Refusal::Signature("abe".into())));
    let other = world.signed("abe", |statement| statement.order = Fingerprint::of(b"an order."));
    assert!(matches!(unsigned(&[world.approval("baba"), other]), Some(Refusal::OtherOrder { .. })));
    let expired = world.signed("abe", |statement| statement.expires = now().saturating_add(HOUR));
    assert!(matches!(unsigned(&[world.approval("baba"), expired]), Some(Refusal::Expired { .. })));
    assert!(judge_files(&case, &[world.approval("baba"), world.approval("abe")]).is_approved());
}

#[test]
fn s1_5_one_person_twice_is_one_person() {
    let world = World::new();
    assert_eq!(world.refused(world.approval("doi")), Refusal::Twice("doi".into()));
    let later = world.signed("doi", |statement| statement.at = now().saturating_add(Duration::from_secs(1)));
    assert_eq!(world.refused(later), Refusal::Twice("doi".into()), "with another signature too");
}

#[test]
fn s1_6_a_role_that_may_not_approve() {
    let world = World::new();
    assert!(matches!(world.refused(world.approval("baba")), Refusal::Role { .. }), "the RA has no say about CA keys");
    assert!(matches!(world.refused(world.approval("endo")), Refusal::Role { .. }), "an auditor reads");
}

#[test]
fn s1_6_s2_3_nine_roles_and_what_each_may_approve() {
    // A letter for each class: i(ssue), k(eys for applicants), c(eremony), o(perators).
    let wanted = [
        ("service-manager", "ikco"),
        ("operations-manager", "co"),
        ("system-administrator", ""),
        ("ca-manager", "co"),
        ("ca-administrator", "c"),
        ("ra-manager", "ik"),
        ("ra-operator", "ik"),
        ("ra-clerk", ""),
        ("log-auditor", ""),
    ];
    let roles =
        wanted.map(|(role, _)| (role, format!("\"{role}\"").leak() as &str, SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap()));
    let operators = parse(&file(&roles)).unwrap();
    let world = World { people: Vec::from(roles), operators };
    for (role, classes) in wanted {
        let may = |class: OrderClass| {
            let case = Case { requester: "nobody", ..world.case(class) };
            !judge_files(&case, &[world.approval(role)]).accepted.is_empty()
        };
        let found: String =
            OrderClass::ALL.into_iter().zip("ikco".chars()).filter(|(class, _)| may(*class)).map(|(_, letter)| letter).collect();
        assert_eq!(found, classes, "{role}");
    }
}

#[test]
fn s4_8_a_stranger_and_a_borrowed_name() {
    let world = World::new();
    let stranger = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let statement = Statement { operator: "mallory".into(), ..world.statement("doi") };
    assert_eq!(world.refused(Approval::sign(statement, &stranger).unwrap()), Refusal::UnknownOperator("mallory".into()));
    let borrowed = Approval::sign(world.statement("chiba"), &stranger).unwrap();
    assert_eq!(world.refused(borrowed), Refusal::Signature("chiba".into()));
    let relabelled = Approval { statement: world.statement("chiba"), ..world.approval("doi") };
    assert_eq!(world.refused(relabelled), Refusal::Signature("chiba".into()));
}

#[test]
fn s4_8_an_approval_of_another_order_or_of_a_changed_one() {
    let world = World::new();
    let other = world.signed("chiba", |statement| statement.order = Fingerprint::of(b"an order."));
    assert!(matches!(world.refused(other.clone()), Refusal::OtherOrder { .. }));
    let patched = Approval { statement: world.statement("chiba"), ..other };
    assert_eq!(world.refused(patched), Refusal::Signature("chiba".into()));
}

#[test]
fn s4_8_times_are_part_of_what_is_signed() {
    let world = World::new();
    let expired = world.signed("chiba", |s| s.expires = now().saturating_add(HOUR));
    assert!(matches!(world.refused(expired.clone()), Refusal::Expired { .. }));
    let prolonged = Approval { statement: world.statement("chiba"), ..expired };
    assert_eq!(world.refused(prolonged), Refusal::Signature("chiba".into()));
    let future = world.signed("chiba", |s| (s.at, s.expires) = (now().saturating_add(2 * HOUR), now().saturating_add(DAY)));
    assert!(matches!(world.refused(future), Refusal::FutureDated { .. }));
    let long = world.signed("chiba", |s| s.expires = now().saturating_add(31 * DAY));
    assert!(matches!(world.refused(long), Refusal::TooLong { .. }));
    let before = world.signed("chiba", |s| s.at = now().saturating_sub(2 * HOUR));
    assert!(matches!(world.refused(before), Refusal::BeforeOrder { .. }), "approvals on stock");
}

#[test]
fn s4_8_an_order_that_is_too_old_or_too_new_is_not_run_whoever_approved() {
    let world = World::new();
    for now in [now().saturating_sub(2 * HOUR), now().saturating_add(DAY)] {
        let case = Case { now, ..world.case(OrderClass::Issue) };
        let judged = judge_files(&case, &[world.approval("baba"), world.approval("abe")]);
        assert!(judged.against.iter().any(|why| matches!(why, Refusal::NotNow { .. })) && !judged.is_approved());
    }
}

#[test]
fn s4_8_a_requester_who_is_nobody_or_an_auditor() {
    let world = World::new();
    for (requester, why) in [("mallory", Refusal::UnknownRequester("mallory".into())), ("endo", Refusal::RequesterAudits("endo".into()))] {
        let case = Case { requester, ..world.case(OrderClass::Ceremony) };
        let judged = judge_files(&case, &[world.approval("doi"), world.approval("chiba"), world.approval("endo")]);
        assert_eq!((judged.is_approved(), judged.against), (false, vec![why]));
    }
}

#[test]
fn s1_5_another_file_of_operators_makes_no_approvals_valid() {
    let (world, others) = (World::new(), World::new());
    let case = world.case(OrderClass::Ceremony);
    let judged = judge_files(&case, &[others.approval("doi"), others.approval("chiba")]);
    assert!(judged.refused.iter().all(|refused| matches!(refused.why, Refusal::OtherOperators { .. })) && !judged.is_approved());
    // The same people, one of whom has got another role meanwhile.
    let mut people = World::new().people;
    people[0].1 = "\"ca-manager\"";
    let promoted = parse(&file(&people)).unwrap();
    people[0].1 = "\"ra-clerk\"";
    assert_ne!(promoted.fingerprint(), parse(&file(&people)).unwrap().fingerprint());
}

#[test]
fn s1_5_a_signature_that_was_made_for_something_else() {
    let world = World::new();
    let statement = world.statement("chiba");
    for message in [statement.to_string().into_bytes(), order().to_string().into_bytes(), order().0.to_vec(), b"an order".to_vec()] {
        let signature = world.key("chiba").sign(&message).unwrap();
        assert_eq!(world.refused(Approval { statement: statement.clone(), signature }), Refusal::Signature("chiba".into()));
    }
}

#[test]
fn s1_5_a_file_in_which_one_person_is_two_is_refused() {
    let mut world = World::new();
    let (_, _, key) = world.people.remove(2);
    world.people.push(("doi2", "\"ca-administrator\"", SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap()));
    let text = file(&world.people);
    assert!(parse(&text).is_ok());
    let one_key = text.replace(&pem(&world.people[4].2), &pem(world.key("doi")));
    let said = parse(&one_key).unwrap_err().to_string();
    assert!(said.contains("the key of 'doi'") && said.contains("S1.5"), "{said}");
    // The same key in its other form: the point without the half that follows from the rest.
    let elliptic = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let whole = pem(&elliptic);
    let mut spki = spki::SubjectPublicKeyInfoOwned::from_der(elliptic.public_key()).unwrap();
    let point = spki.subject_public_key.raw_bytes().to_vec();
    spki.subject_public_key = BitString::from_bytes(&[&[2 + (point[64] & 1)], &point[1..33]].concat()).unwrap();
    let half = der::pem::encode_string("PUBLIC KEY", der::pem::LineEnding::LF, &spki.to_der().unwrap()).unwrap();
    let two_forms = text.replace(&pem(world.key("baba")), &whole).replace(&pem(&world.people[4].2), &half);
    assert!(parse(&two_forms).unwrap_err().to_string().contains("the key of 'baba'"));
    let one_name = text.replace("doi2", "doi");
    assert!(parse(&one_name).unwrap_err().to_string().contains("'doi' twice"));
    let trailing = text.replace(&pem(world.key("doi")), &format!("{}\n{}", pem(world.key("doi")), pem(&key)));
    assert!(parse(&trailing).is_err(), "two keys in one field");
}

#[test]
fn s1_5_s1_6_a_file_that_loosens_is_refused() {
    let text = file(&World::new().people);
    let with = |more: &str| parse(&format!("{text}\n{more}"));
    assert!(with("[approvals.issue]\ncount = 2\nroles = [\"ra-manager\"]").is_ok());
    for loose in [
        "[approvals.ceremony]\ncount = 1\nroles = [\"ca-manager\"]",
        "[approvals.issue-with-keys]\ncount = 1\nroles = [\"ra-manager\"]",
        "[approvals.issue]\ncount = 0\nroles = [\"ra-manager\"]",
        "[approvals.ceremony]\ncount = 2\nroles = [\"ca-manager\", \"ra-clerk\"]",
        "[approvals.operators]\ncount = 2\nroles = []",
    ] {
        let said = with(loose).unwrap_err().to_string();
        assert!(said.starts_with("approvals.") && said.contains("never"), "{loose}: {said}");
    }
    assert!(parse(&text.replace("\"log-auditor\"", "\"log-auditor\", \"ca-manager\"")).unwrap_err().to_string().contains("S1.6"));
    assert!(with("[approvals.issue]\ncount = 2\nroles = [\"ra-manager\"]\nwho = 1").is_err());
}

#[test]
fn files_that_are_no_approvals_are_refused_and_do_not_hide_the_others() {
    let world = World::new();
    for text in ["", "operator = 1", "signature = \"\"", &world.approval("doi").to_toml().replace("signature = \"", "signature = \"zz")] {
        assert!(Approval::parse(text).is_err(), "{text}");
    }
    let files = [
        ("junk".to_owned(), Approval::parse("junk")),
        ("doi".to_owned(), Ok(world.approval("doi"))),
        ("chiba".to_owned(), Ok(world.approval("chiba"))),
        ("abe".to_owned(), Ok(world.approval("abe"))),
    ];
    let judged = judge(&world.case(OrderClass::Ceremony), &files);
    assert!(judged.is_approved() && matches!(judged.refused[0].why, Refusal::Unreadable(_)));
}

#[test]
fn s1_6_a_file_after_which_nobody_could_put_another_in_force_is_told() {
    let world = World::new();
    // doi alone has one of the three roles that approve such an order.
    let said = world.operators.lockout().unwrap().to_string();
    assert!(said.contains("found 1 beside whoever asks, wanted at least 2 with one of the roles"), "{said}");
    let more = [("fuji", "\"operations-manager\"", SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap())];
    assert_eq!(parse(&(file(&world.people) + &file(&more))).unwrap().lockout(), None);
    // Nobody approves their own: one of the two who could would have to ask.
    let [doi] = ["doi"].map(|name| {
        format!("[[operator]]\nname = \"{name}\"\nroles = [\"service-manager\"]\nkey = \"\"\"\n{}\"\"\"\n", pem(world.key(name)))
    });
    assert!(parse(&(doi + &file(&more))).unwrap().lockout().is_some());
}
