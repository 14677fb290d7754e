//! The PKCS#11 back end against a real token: SoftHSM2. Needs `softhsm2-util`, its module and `openssl`; without them the tests fail.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "common/softhsm.rs"]
mod softhsm_token;

use std::path::Path;
use std::time::Instant;

use common::{succeed, tool};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use kakunin::pki::{KeyAlgorithm, SignatureAlgorithm};
use kakunin::token::pkcs11::{KeyRequest, Left, PairName, Pkcs11Token};
use kakunin::token::software::SoftwareKey;
use kakunin::token::{SigningKey, TokenError, verify_pair};
use softhsm_token::{MODULE, PIN, TOKEN, import, labelled, open, pin, with_token};

/// A read-write session beside the program's own, for what an administrator would do.
fn administrator() -> (Pkcs11, Session) {
    let context = Pkcs11::new(MODULE).unwrap();
    let _ = context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slot = context.get_slots_with_initialized_token().unwrap()[0];
    let session = context.open_rw_session(slot).unwrap();
    (context, session)
}

/// The module as after a failure of the token: every session and the login are gone.
fn restart(context: Pkcs11) {
    context.finalize().unwrap();
    drop(administrator());
}

fn openssl_verifies(directory: &Path, key: &dyn SigningKey, message: &[u8], signature: &[u8]) {
    let [spki, data, value] = ["spki.der", "message", "signature"].map(|name| directory.join(name).to_str().unwrap().to_owned());
    std::fs::write(&spki, key.public_key()).unwrap();
    std::fs::write(&data, message).unwrap();
    std::fs::write(&value, signature).unwrap();
    let hash = match key.signature_algorithm() {
        SignatureAlgorithm::RsaSha384 | SignatureAlgorithm::EcdsaSha384 => "-sha384",
        SignatureAlgorithm::RsaSha512 => "-sha512",
        SignatureAlgorithm::RsaSha1 => "-sha1",
        _ => "-sha256",
    };
    let arguments = match key.signature_algorithm() {
        SignatureAlgorithm::Ed25519 => {
            vec!["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", &spki, "-rawin", "-in", &data, "-sigfile", &value]
        }
        _ => vec!["dgst", hash, "-keyform", "DER", "-verify", &spki, "-signature", &value, &data],
    };
    succeed(tool("openssl").args(arguments));
}

#[test]
fn every_key_signs_with_every_algorithm_it_may_use() {
    with_token("every_key_signs_with_every_algorithm_it_may_use", |directory| {
        for (number, algorithm) in KeyAlgorithm::ALL.into_iter().enumerate() {
            let imported = import(directory, algorithm, algorithm.name(), &format!("0{number}"));
            let token = open(directory, 2);
            for signature in SignatureAlgorithm::ALL.into_iter().filter(|s| algorithm.can_sign(*s)) {
                let request = KeyRequest { signature: Some(signature), ..labelled(algorithm.name()) };
                let key = token.key(&request).unwrap();
                assert_eq!((key.key_algorithm(), key.signature_algorithm()), (algorithm, signature));
                assert_eq!(key.public_key(), imported.public_key(), "{algorithm}");
                verify_pair(&key, imported.public_key()).unwrap();
                let message = format!("signed by {key:?}");
                let made = key.sign(message.as_bytes()).unwrap();
                assert!(signature.verify(imported.public_key(), message.as_bytes(), &made), "{algorithm} {signature}");
                openssl_verifies(directory, &key, message.as_bytes(), &made);
            }
            let by_id = KeyRequest { id: Some(vec![number as u8]), ..Default::default() };
            assert_eq!(token.key(&by_id).unwrap().public_key(), imported.public_key());
        }
    });
}

#[test]
fn s4_1_o15_a_token_signs_with_sha_1_where_it_is_told_to() {
    with_token("s4_1_o15_a_token_signs_with_sha_1_where_it_is_told_to", |directory| {
        import(directory, KeyAlgorithm::Rsa2048, "legacy", "01");
        let token = open(directory, 1);
        let key = token.key(&KeyRequest { signature: Some(SignatureAlgorithm::RsaSha1), ..labelled("legacy") }).unwrap();
        verify_pair(&key, key.public_key()).unwrap();
        let signature = key.sign(b"message").unwrap();
        openssl_verifies(directory, &key, b"message", &signature);
        assert!(!SignatureAlgorithm::RsaSha256.verify(key.public_key(), b"message", &signature));
        assert_eq!(token.key(&labelled("legacy")).unwrap().signature_algorithm(), SignatureAlgorithm::RsaSha256, "never by itself");
    });
}

#[test]
fn a_key_generated_on_the_token_signs() {
    use cryptoki::mechanism::Mechanism;
    with_token("a_key_generated_on_the_token_signs", |directory| {
        let token = open(directory, 1);
        let (_context, session) = administrator();
        let p256 = vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let named =
            |class| vec![Attribute::Class(class), Attribute::Token(true), Attribute::Label(b"made here".to_vec()), Attribute::Id(vec![9])];
        let public = [named(ObjectClass::PUBLIC_KEY), vec![Attribute::Private(false), Attribute::EcParams(p256)]].concat();
        let private =
            [named(ObjectClass::PRIVATE_KEY), vec![Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::Sign(true)]]
                .concat();
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).unwrap();
        let key = token.key(&labelled("made here")).unwrap();
        assert_eq!(key.key_algorithm(), KeyAlgorithm::EcdsaP256);
        verify_pair(&key, key.public_key()).unwrap();
    });
}

#[test]
fn a_wrong_module_token_or_number_of_sessions_is_named() {
    with_token("a_wrong_module_token_or_number_of_sessions_is_named", |directory| {
        let open =
            |module: &str, token: &str, sessions| Pkcs11Token::open(Path::new(module), token, pin(directory, PIN), sessions).unwrap_err();
        assert!(matches!(open("/nonexistent/module.so", TOKEN, 1), TokenError::Module { .. }));
        assert!(matches!(open("/etc/passwd", TOKEN, 1), TokenError::Module { .. }));
        let message = open(MODULE, "other", 1).to_string();
        assert_eq!(message, format!("token 'other': 0 tokens with this label, wanted one; the module {MODULE} shows: '{TOKEN}'"));
        assert!(matches!(open(MODULE, TOKEN, 0), TokenError::Sessions { found: 0, .. }));
        assert!(matches!(open(MODULE, TOKEN, 100_000), TokenError::Sessions { found: 100_000, .. }));
    });
}

#[test]
fn two_tokens_with_one_label_are_ambiguous() {
    with_token("two_tokens_with_one_label_are_ambiguous", |directory| {
        succeed(tool("softhsm2-util").args(["--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "12345678"]));
        let error = Pkcs11Token::open(Path::new(MODULE), TOKEN, pin(directory, PIN), 1).unwrap_err();
        assert!(matches!(error, TokenError::TokenLabel { count: 2, .. }), "{error}");
    });
}

#[test]
fn a_wrong_pin_is_said_to_be_wrong_and_the_right_one_still_works() {
    with_token("a_wrong_pin_is_said_to_be_wrong_and_the_right_one_still_works", |directory| {
        for wrong in ["000000", "1"] {
            let error = Pkcs11Token::open(Path::new(MODULE), TOKEN, pin(directory, wrong), 1).unwrap_err();
            let place = directory.join("pin").display().to_string();
            assert_eq!(error, TokenError::WrongPin { token: TOKEN.to_owned(), place });
            assert!(!error.to_string().contains("000000"));
        }
        open(directory, 1);
    });
}

#[test]
fn a_refused_pin_is_not_tried_again() {
    with_token("a_refused_pin_is_not_tried_again", |directory| {
        import(directory, KeyAlgorithm::EcdsaP256, "key", "01");
        let token = open(directory, 1);
        let key = token.key(&labelled("key")).unwrap();
        let set_pin = |old: &str, new: &str| {
            let (context, session) = administrator();
            let _ = session.login(UserType::User, Some(&AuthPin::new(old.into())));
            session.set_pin(&AuthPin::new(old.into()), &AuthPin::new(new.into())).unwrap();
            drop(session);
            restart(context);
        };
        set_pin(PIN, "999999");
        assert!(matches!(key.sign(b"message"), Err(TokenError::WrongPin { .. })));
        // It would be right again: that it is still refused shows that the token was not asked.
        set_pin("999999", PIN);
        assert!(matches!(key.sign(b"message"), Err(TokenError::WrongPin { .. })));
        let reopened = open(directory, 1).key(&labelled("key")).unwrap();
        verify_pair(&reopened, key.public_key()).unwrap();
    });
}

#[test]
fn missing_and_ambiguous_keys_are_named() {
    with_token("missing_and_ambiguous_keys_are_named", |directory| {
        import(directory, KeyAlgorithm::EcdsaP256, "twin", "01");
        let second = import(directory, KeyAlgorithm::EcdsaP256, "twin", "02");
        let token = open(directory, 1);
        let message = token.key(&labelled("absent")).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("token '{TOKEN}': 0 private keys with label 'absent', wanted one; labels on the token: 'twin', 'twin'")
        );
        let ambiguous = token.key(&labelled("twin")).unwrap_err();
        assert!(matches!(ambiguous, TokenError::KeyCount { count: 2, .. }), "{ambiguous}");
        let both = token.key(&KeyRequest { id: Some(vec![2]), ..labelled("twin") }).unwrap();
        verify_pair(&both, second.public_key()).unwrap();
        let wrong =
            token.key(&KeyRequest { id: Some(vec![1]), signature: Some(SignatureAlgorithm::EcdsaSha384), ..labelled("twin") }).unwrap_err();
        assert_eq!(wrong, TokenError::SignatureAlgorithm { key: KeyAlgorithm::EcdsaP256, found: SignatureAlgorithm::EcdsaSha384 });
    });
}

#[test]
fn without_a_public_key_object_rsa_tells_it_and_ecdsa_needs_the_certificate() {
    with_token("without_a_public_key_object_rsa_tells_it_and_ecdsa_needs_the_certificate", |directory| {
        let rsa = import(directory, KeyAlgorithm::Rsa2048, "rsa", "01");
        let ecdsa = import(directory, KeyAlgorithm::EcdsaP256, "ecdsa", "02");
        let token = open(directory, 1);
        let (_context, session) = administrator();
        for object in session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY)]).unwrap() {
            session.destroy_object(object).unwrap();
        }
        verify_pair(&token.key(&labelled("rsa")).unwrap(), rsa.public_key()).unwrap();
        assert!(matches!(token.key(&labelled("ecdsa")), Err(TokenError::PublicKey { .. })));
        let request = KeyRequest { certificate_spki: Some(ecdsa.public_key().to_vec()), ..labelled("ecdsa") };
        verify_pair(&token.key(&request).unwrap(), ecdsa.public_key()).unwrap();
        let other = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let request = KeyRequest { certificate_spki: Some(other.public_key().to_vec()), ..labelled("ecdsa") };
        assert_eq!(
            verify_pair(&token.key(&request).unwrap(), other.public_key()),
            Err(TokenError::TrialSignature(SignatureAlgorithm::EcdsaSha256)),
            "another certificate's key is noticed"
        );
    });
}

#[test]
fn lost_sessions_and_logins_are_made_good() {
    with_token("lost_sessions_and_logins_are_made_good", |directory| {
        import(directory, KeyAlgorithm::EcdsaP256, "key", "01");
        let token = open(directory, 2);
        let key = token.key(&labelled("key")).unwrap();
        verify_pair(&key, key.public_key()).unwrap();
        let (context, session) = administrator();
        drop(session);
        restart(context);
        verify_pair(&key, key.public_key()).unwrap();
        administrator().1.logout().unwrap();
        verify_pair(&key, key.public_key()).unwrap();
        verify_pair(&token.key(&labelled("key")).unwrap(), key.public_key()).unwrap();
    });
}

#[test]
fn a_key_that_was_replaced_under_its_label_signs_nothing() {
    with_token("a_key_that_was_replaced_under_its_label_signs_nothing", |directory| {
        let before = import(directory, KeyAlgorithm::EcdsaP256, "key", "01");
        let token = open(directory, 2);
        let key = token.key(&labelled("key")).unwrap();
        let replace = || {
            let (context, session) = administrator();
            let _ = session.login(UserType::User, Some(&AuthPin::new(PIN.into())));
            for object in session.find_objects(&[Attribute::Label(b"key".to_vec())]).unwrap() {
                session.destroy_object(object).unwrap();
            }
            drop(session);
            restart(context);
        };
        replace();
        import(directory, KeyAlgorithm::EcdsaP256, "key", "02");
        for _ in 0..2 {
            let refused = key.sign(b"message");
            assert!(
                matches!(&refused, Err(TokenError::ChangedKey { token, key }) if token == TOKEN && key == "label 'key'"),
                "{refused:?}"
            );
        }
        replace();
        let file = directory.join("before.pem");
        before.create_file(&file).unwrap();
        let arguments = ["--import", file.to_str().unwrap(), "--token", TOKEN, "--label", "key", "--id", "01", "--pin", PIN];
        succeed(tool("softhsm2-util").args(arguments));
        verify_pair(&key, before.public_key()).unwrap();
    });
}

#[test]
fn four_threads_sign_at_once_also_through_a_logout() {
    with_token("four_threads_sign_at_once_also_through_a_logout", |directory| {
        let algorithms = [(KeyAlgorithm::EcdsaP256, "01"), (KeyAlgorithm::Rsa2048, "02"), (KeyAlgorithm::Ed25519, "03")];
        for (algorithm, id) in algorithms {
            import(directory, algorithm, algorithm.name(), id);
        }
        for sessions in [1, 3, 4] {
            let token = open(directory, sessions);
            for (algorithm, _) in algorithms {
                let key = token.key(&labelled(algorithm.name())).unwrap();
                let start = Instant::now();
                sign_on_four_threads(&key, 100);
                println!("{algorithm}, {sessions} sessions: {:.0} signatures/s", 400.0 / start.elapsed().as_secs_f64());
            }
        }
        let token = open(directory, 4);
        let key = token.key(&labelled("ecdsa-p256")).unwrap();
        // Between the rounds, since SoftHSM2 answers CKR_GENERAL_ERROR where a logout hits a C_SignInit half-way.
        for _ in 0..20 {
            sign_on_four_threads(&key, 10);
            administrator().1.logout().unwrap();
        }
    });
}

fn sign_on_four_threads(key: &dyn SigningKey, count: usize) {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for number in 0..count {
                    let message = format!("{thread}/{number}");
                    let signature = key.sign(message.as_bytes()).unwrap();
                    assert!(key.signature_algorithm().verify(key.public_key(), message.as_bytes(), &signature));
                }
            });
        }
    });
}

#[test]
fn s1_5_a_key_that_is_made_on_the_token_stays_there_until_it_is_destroyed() {
    with_token("s1_5_a_key_that_is_made_on_the_token_stays_there_until_it_is_destroyed", |directory| {
        let token = open(directory, 1);
        let (_context, session) = administrator();
        for algorithm in KeyAlgorithm::ALL {
            let request = labelled(algorithm.name());
            let name = PairName { label: algorithm.name().to_owned(), id: vec![1, 2, 3] };
            assert_eq!(token.left(&name).unwrap(), Left::Nothing);
            token.generate(&name, algorithm).unwrap();
            assert_eq!((token.left(&name).unwrap(), token.name_of(&request).unwrap()), (Left::Pair, name.clone()));
            let key = token.key(&request).unwrap();
            assert_eq!(key.key_algorithm(), algorithm);
            verify_pair(&key, key.public_key()).unwrap();
            for taken in [PairName { id: vec![4], ..name.clone() }, PairName { label: "other".to_owned(), ..name.clone() }] {
                let again = token.generate(&taken, algorithm).unwrap_err().to_string();
                assert!(again.contains("2 objects with that label or id already"), "{again}");
            }
            let private = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(algorithm.name().into())];
            let [object] = session.find_objects(&private).unwrap()[..] else { panic!("{algorithm}: not one private key") };
            use cryptoki::object::AttributeType as T;
            let said = session.get_attributes(object, &[T::Extractable, T::Sensitive, T::Local]).unwrap();
            assert_eq!(said, [Attribute::Extractable(false), Attribute::Sensitive(true), Attribute::Local(true)]);
            assert_eq!(token.count_keys(&request).unwrap(), 1);
            token.destroy(&name).unwrap();
            let label = [Attribute::Label(algorithm.name().into())];
            assert_eq!((token.count_keys(&request).unwrap(), session.find_objects(&label).unwrap().len()), (0, 0), "both halves");
            assert!(matches!(token.name_of(&request), Err(TokenError::KeyCount { count: 0, .. })));
        }
    });
}

#[test]
fn s1_5_half_a_key_pair_is_told_from_a_whole_one() {
    with_token("s1_5_half_a_key_pair_is_told_from_a_whole_one", |directory| {
        let token = open(directory, 1);
        let (_context, session) = administrator();
        for algorithm in KeyAlgorithm::ALL {
            let [name, other] = ["one", "other"].map(|id| PairName { label: algorithm.name().to_owned(), id: id.into() });
            for lost in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                token.generate(&name, algorithm).unwrap();
                let half = [Attribute::Class(lost), Attribute::Id(name.id.clone())];
                session.destroy_object(session.find_objects(&half).unwrap()[0]).unwrap();
                assert_eq!((token.left(&name).unwrap(), token.left(&other).unwrap()), (Left::Half, Left::Nothing), "{algorithm}");
                token.destroy(&other).unwrap();
                assert_eq!(token.count_named(&name).unwrap(), 1, "another's name leaves it alone");
                token.destroy(&name).unwrap();
                assert_eq!(token.count_named(&name).unwrap(), 0);
            }
        }
    });
}
