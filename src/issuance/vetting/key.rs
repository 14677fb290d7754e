//! Public keys that nobody should have: too weak, or known to somebody else.

use der::asn1::UintRef;
use der::{Decode, Sequence};

use super::{BlockedKeys, Rejection, fermat};
use crate::issuance::profile::SubjectKey;

/// The odd primes below 752: no modulus has one of them as a factor (BR 6.1.6).
const SMALL_PRIMES: [u32; 132] = odd_primes();
/// The primes whose residues give away a modulus made by the flawed library (CVE-2017-15361): 3 to 167.
const ROCA_PRIMES: usize = 38;

/// The x coordinates of the curves' generators (SEC 2 2.4.2, 2.5.1).
const P256_GENERATOR: [u8; 32] = [
    0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb,
    0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
];
const P384_GENERATOR: [u8; 48] = [
    0xaa, 0x87, 0xca, 0x22, 0xbe, 0x8b, 0x05, 0x37, 0x8e, 0xb1, 0xc7, 0x1e, 0xf3, 0x20, 0xad, 0x74, 0x6e, 0x1d, 0x3b, 0x62, 0x8b, 0xa7,
    0x9b, 0x98, 0x59, 0xf7, 0x41, 0xe0, 0x82, 0x54, 0x2a, 0x38, 0x55, 0x02, 0xf2, 0x5d, 0xbf, 0x55, 0x29, 0x6c, 0x3a, 0x54, 0x5e, 0x38,
    0x72, 0x76, 0x0a, 0xb7,
];

/// The y-coordinates of the points of order 8 on edwards25519.
const ORDER_8: [[u8; 32]; 2] = [
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
        0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
        0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// RSAPublicKey (RFC 8017 A.1.1).
#[derive(Sequence)]
pub(super) struct RsaPublicKey<'a> {
    pub(super) modulus: UintRef<'a>,
    pub(super) exponent: UintRef<'a>,
}

/// What stands against a public key by itself. That its point is on its curve, and its size one that is known here, was found when the request was read.
pub fn check_key(spki: &[u8], key: SubjectKey, blocked: &BlockedKeys) -> Result<(), Rejection> {
    if blocked.has_key(spki) {
        return Err(Rejection::new("known-weak-key", "the key is on the list of blocked keys"));
    }
    let is_weak = match key {
        SubjectKey::Rsa1024 | SubjectKey::Rsa2048 | SubjectKey::Rsa3072 | SubjectKey::Rsa4096 => return check_rsa(spki, blocked),
        SubjectKey::EcdsaP256 => has_x(spki, &P256_GENERATOR),
        SubjectKey::EcdsaP384 => has_x(spki, &P384_GENERATOR),
        SubjectKey::Ed25519 => has_small_order(spki),
    };
    if is_weak {
        return Err(Rejection::new(
            "known-weak-key",
            "a point that anybody signs for: the curve's generator or its negation, or one of small order",
        ));
    }
    Ok(())
}

/// Whether the point with which the SubjectPublicKeyInfo of an Ed25519 key ends is of order 1, 2, 4 or 8, in whatever encoding: signatures for it need no key.
fn has_small_order(spki: &[u8]) -> bool {
    let Some((sign, y)) = spki.last_chunk::<32>().and_then(|point| point.split_last()) else { return false };
    let y = [y, &[sign & 0x7f]].concat();
    // The y-coordinates 0, 1 and -1, the first two also with the field's prime added.
    let (low, high) = y.split_at(1);
    let is_trivial = matches!(low, [0 | 1]) && high.iter().all(|octet| *octet == 0);
    let is_prime = matches!(low, [0xec..=0xee]) && high[30] == 0x7f && high[..30].iter().all(|octet| *octet == 0xff);
    is_trivial || is_prime || ORDER_8.iter().any(|known| y == known)
}

/// Whether the point, with whose two coordinates a SubjectPublicKeyInfo ends, has such a first one. It is uncompressed, as was found when the request was read.
fn has_x(spki: &[u8], x: &[u8]) -> bool {
    spki.len().checked_sub(2 * x.len()).is_some_and(|start| spki[start..].starts_with(x))
}

fn check_rsa(spki: &[u8], blocked: &BlockedKeys) -> Result<(), Rejection> {
    let malformed = |_| Rejection::new("key", "not an RSAPublicKey");
    let info = spki::SubjectPublicKeyInfoRef::from_der(spki).map_err(malformed)?;
    let key = RsaPublicKey::from_der(info.subject_public_key.raw_bytes()).map_err(malformed)?;
    check_exponent(key.exponent.as_bytes())?;
    let modulus = key.modulus.as_bytes();
    if modulus.last().is_none_or(|last| last % 2 == 0) {
        return Err(Rejection::new("key", "an even RSA modulus"));
    }
    if blocked.has_modulus(modulus) {
        return Err(Rejection::new("known-weak-key", "the key's modulus is on the list of blocked keys"));
    }
    let mut looks_like_roca = true;
    for (index, prime) in SMALL_PRIMES.into_iter().enumerate() {
        let residue = remainder(modulus, prime);
        if residue == 0 {
            return Err(Rejection::new("key", format!("an RSA modulus with the factor {prime}: wanted none below 752 (BR 6.1.6)")));
        }
        looks_like_roca &= index >= ROCA_PRIMES || is_power_of_65537(residue, prime);
    }
    if looks_like_roca {
        return Err(Rejection::new("known-weak-key", "an RSA modulus with the fingerprint of ROCA (CVE-2017-15361)"));
    }
    if fermat::has_close_factors(modulus) {
        return Err(Rejection::new("known-weak-key", "an RSA modulus whose factors Fermat's method finds (BR 6.1.1.3, CVE-2022-26320)"));
    }
    Ok(())
}

/// Odd, and from 2^16 + 1 to 2^256 - 1 (BR 6.1.6).
fn check_exponent(exponent: &[u8]) -> Result<(), Rejection> {
    let wanted = "wanted an odd number from 65537 to 2^256 - 1 (BR 6.1.6)";
    let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
    let is_long_enough = !matches!(exponent, [] | [_] | [_, _] | [1, 0, 0]);
    if is_odd && is_long_enough && exponent.len() <= 32 {
        return Ok(());
    }
    let hex: String = exponent.iter().take(33).map(|b| format!("{b:02x}")).collect();
    Err(Rejection::new("key", format!("the RSA exponent 0x{hex}: {wanted}")))
}

/// A big-endian number modulo a small one.
fn remainder(number: &[u8], divisor: u32) -> u32 {
    let (first, words) = number.as_rchunks::<4>();
    let start = first.iter().fold(0, |rest, octet| (rest << 8 | u64::from(*octet)) % u64::from(divisor));
    words.iter().fold(start, |rest, word| (rest << 32 | u64::from(u32::from_be_bytes(*word))) % u64::from(divisor)) as u32
}

/// Whether `residue` is a power of 65537 modulo the prime.
fn is_power_of_65537(residue: u32, prime: u32) -> bool {
    let generator = 65537 % prime;
    std::iter::successors(Some(1), |power| Some(power * generator % prime)).take(prime as usize).any(|power| power == residue)
}

const fn odd_primes() -> [u32; 132] {
    let (mut primes, mut count, mut number) = ([0; 132], 0, 3);
    while count < 132 {
        let (mut divisor, mut is_prime) = (3, true);
        while divisor * divisor <= number {
            if number % divisor == 0 {
                is_prime = false;
            }
            divisor += 2;
        }
        if is_prime {
            primes[count] = number;
            count += 1;
        }
        number += 2;
    }
    primes
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;

    use super::*;
    use crate::pki::der_encoding::{constructed, tag, tlv};
    use crate::pki::{Fingerprint, KeyAlgorithm};
    use crate::token::SigningKey;
    use crate::token::software::SoftwareKey;

    fn uint(magnitude: &[u8]) -> Vec<u8> {
        let content = if magnitude[0] >= 0x80 { [&[0], magnitude].concat() } else { magnitude.to_vec() };
        tlv(tag::INTEGER, &content)
    }

    fn spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let key = constructed(tag::SEQUENCE, &[&uint(modulus), &uint(exponent)]);
        let algorithm = [0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
        constructed(tag::SEQUENCE, &[&algorithm, &constructed(tag::BIT_STRING, &[&[0], &key])])
    }

    fn modulus_of(key: &SoftwareKey) -> Vec<u8> {
        let info = spki::SubjectPublicKeyInfoRef::from_der(key.public_key()).unwrap();
        RsaPublicKey::from_der(info.subject_public_key.raw_bytes()).unwrap().modulus.as_bytes().to_vec()
    }

    fn check(modulus: &[u8], exponent: &[u8]) -> Result<(), &'static str> {
        check_key(&spki(modulus, exponent), SubjectKey::Rsa2048, &BlockedKeys::default()).map_err(|rejection| rejection.rule)
    }

    /// A number of 2048 bits that is this modulo each of the first primes, without other small factors.
    fn number_with_residues(residue: impl Fn(u32) -> u32) -> Vec<u8> {
        // By the Chinese remainder theorem, in steps: `value` is right for the primes so far, `step` their product.
        let (mut value, mut step) = (vec![0u8; 256], vec![0u8; 256]);
        (value[0], value[255], step[255]) = (0xc0, 1, 2);
        for prime in &SMALL_PRIMES[..ROCA_PRIMES] {
            while remainder(&value, *prime) != residue(*prime) {
                add(&mut value, &step);
            }
            multiply(&mut step, *prime);
        }
        while SMALL_PRIMES[ROCA_PRIMES..].iter().any(|prime| remainder(&value, *prime) == 0) {
            add(&mut value, &step);
        }
        value
    }

    fn add(number: &mut [u8], other: &[u8]) {
        let mut carry = 0;
        for (a, b) in number.iter_mut().zip(other).rev() {
            let sum = u16::from(*a) + u16::from(*b) + carry;
            (*a, carry) = (sum as u8, sum >> 8);
        }
    }

    fn multiply(number: &mut [u8], factor: u32) {
        let mut carry = 0;
        for octet in number.iter_mut().rev() {
            let product = u32::from(*octet) * factor + carry;
            (*octet, carry) = (product as u8, product >> 8);
        }
    }

    const F4: &[u8] = &[1, 0, 1];

    #[test]
    fn s3_1_good_keys_pass_and_weak_exponents_and_factors_do_not() {
        let modulus = modulus_of(&SoftwareKey::generate(KeyAlgorithm::Rsa2048).unwrap());
        assert_eq!(check(&modulus, F4), Ok(()));
        assert_eq!(check(&modulus, &[1, 0, 3]), Ok(()));
        for exponent in [&[1u8][..], &[3], &[17], &[0xff, 0xff], &[1, 0, 0], &[1, 0, 2], &[1; 33]] {
            assert_eq!(check(&modulus, exponent), Err("key"), "{exponent:?}");
        }
        for factor in [3, 5, 751] {
            let mut multiple = modulus.clone();
            // Room for the product, and the product without the zeros before it.
            multiple[..2].fill(0);
            multiply(&mut multiple, factor);
            let start = multiple.iter().position(|octet| *octet != 0).unwrap();
            assert_eq!(check(&multiple[start..], F4), Err("key"), "{factor}");
        }
        let mut even = modulus;
        even[255] &= 0xfe;
        assert_eq!(check(&even, F4), Err("key"));
    }

    #[test]
    fn s3_1_a_modulus_with_the_fingerprint_of_roca_is_known_to_be_weak() {
        let flawed = number_with_residues(|prime| (0..7).fold(1, |power, _| power * (65537 % prime) % prime));
        assert_eq!(check(&flawed, F4), Err("known-weak-key"));
        // Wrong for one prime only: 11, of whose residues 65537 has but half as powers.
        let sound = number_with_residues(|prime| if prime == 11 { 2 } else { 1 });
        assert!(!is_power_of_65537(2, 11));
        assert_eq!(check(&sound, F4), Ok(()));
    }

    #[test]
    fn s3_1_a_modulus_of_two_close_factors_is_known_to_be_weak() {
        // Neither has a factor below 752, and both end the search for one; whether they are primes makes no difference to it.
        let factor = |from: u32| {
            let mut candidates = (0u32..).map(|step| (BigUint::from(3u32) << 1022) + from + 2 * step);
            let is_prime_to_all = |number: &BigUint| SMALL_PRIMES.iter().all(|prime| remainder(&number.to_bytes_be(), *prime) != 0);
            candidates.find(is_prime_to_all).unwrap()
        };
        let modulus = (factor(1) * factor(1_000_001)).to_bytes_be();
        assert_eq!((modulus.len(), check(&modulus, F4)), (256, Err("known-weak-key")));
    }

    #[test]
    fn s3_1_a_key_on_the_list_is_rejected() {
        let (known, other) =
            (SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap(), SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
        let list = format!("# compromised\n\n{} from an advisory\n", Fingerprint::of(known.public_key()));
        let blocked = BlockedKeys::parse(&list).unwrap();
        let check = |key: &SoftwareKey| check_key(key.public_key(), SubjectKey::EcdsaP256, &blocked);
        assert_eq!(check(&known).unwrap_err().rule, "known-weak-key");
        assert_eq!(check(&other), Ok(()));
    }

    #[test]
    fn s3_1_a_blocked_key_is_rejected_in_the_other_forms_that_its_holder_has_of_it() {
        let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        // The prime less the private key has the same x-coordinate: what is listed is one of the two, what is asked for is the other.
        let mut negated = key.public_key().to_vec();
        let prime = BigUint::parse_bytes(b"ffffffff00000001000000000000000000000000ffffffffffffffffffffffff", 16).unwrap();
        let y = (prime - BigUint::from_bytes_be(&negated[59..])).to_bytes_be();
        negated[59..].fill(0);
        negated[91 - y.len()..].copy_from_slice(&y);
        let modulus = modulus_of(&SoftwareKey::generate(KeyAlgorithm::Rsa2048).unwrap());
        let pairs = [
            (key.public_key().to_vec(), negated, SubjectKey::EcdsaP256),
            (spki(&modulus, F4), spki(&modulus, &[1, 0, 3]), SubjectKey::Rsa2048),
        ];
        for (known, other, kind) in pairs {
            let blocked = BlockedKeys::parse(&Fingerprint::of(&known).to_string()).unwrap();
            for spki in [known, other] {
                assert_eq!(check_key(&spki, kind, &blocked).unwrap_err().rule, "known-weak-key");
            }
        }
    }

    #[test]
    fn s3_1_a_point_whose_private_key_anybody_guesses_is_known_to_be_weak() {
        use aws_lc_rs::agreement::{ECDH_P256, ECDH_P384, PrivateKey};
        let one_less = |order: &str| (BigUint::parse_bytes(order.as_bytes(), 16).unwrap() - 1u32).to_bytes_be();
        let p256 = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
        let p384 = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
        for (algorithm, curve, order, length) in
            [(KeyAlgorithm::EcdsaP256, &ECDH_P256, p256, 32), (KeyAlgorithm::EcdsaP384, &ECDH_P384, p384, 48)]
        {
            let mut spki = SoftwareKey::generate(algorithm).unwrap().public_key().to_vec();
            let mut check = |private_key: &[u8]| {
                let point = PrivateKey::from_private_key(curve, private_key).unwrap().compute_public_key().unwrap();
                let start = spki.len() - 2 * length;
                spki[start..].copy_from_slice(&point.as_ref()[1..]);
                check_key(&spki, algorithm.into(), &BlockedKeys::default()).map_err(|rejection| rejection.rule)
            };
            let mut small = vec![0; length];
            for (number, wanted) in [(1, Err("known-weak-key")), (2, Ok(()))] {
                small[length - 1] = number;
                assert_eq!(check(&small), wanted, "{algorithm:?} {number}");
            }
            assert_eq!(check(&one_less(order)), Err("known-weak-key"), "{algorithm:?}");
        }
    }

    #[test]
    fn s3_1_points_of_small_order_are_known_to_be_weak() {
        let prime = (BigUint::from(1u32) << 255) - 19u32;
        let field = |number: BigUint| number % &prime;
        let d = field((&prime - 121_665u32) * BigUint::from(121_666u32).modpow(&(&prime - 2u32), &prime));
        // A point of order 8 doubled is one of order 4, whose y is 0: then x² = -y², and on the curve -x² + y² = 1 + d·x²·y² is 2·y² = 1 - d·y⁴.
        for y in ORDER_8.map(|y| BigUint::from_bytes_le(&y)) {
            let square = field(&y * &y);
            assert_eq!(field(BigUint::from(2u32) * &square), field(1u32 + &prime * &prime - field(&d * field(&square * &square))));
        }
        let spki = |y: &BigUint, sign: u8| {
            let mut point = y.to_bytes_le();
            point.resize(32, 0);
            point[31] |= sign;
            let algorithm = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
            constructed(tag::SEQUENCE, &[&algorithm, &constructed(tag::BIT_STRING, &[&[0], &point])])
        };
        let check =
            |y: &BigUint, sign| check_key(&spki(y, sign), SubjectKey::Ed25519, &BlockedKeys::default()).map_err(|rejection| rejection.rule);
        let one = BigUint::from(1u32);
        let weak = [BigUint::ZERO, one.clone(), &prime - &one, prime.clone(), &prime + &one]
            .into_iter()
            .chain(ORDER_8.map(|y| BigUint::from_bytes_le(&y)));
        for y in weak {
            assert_eq!([check(&y, 0), check(&y, 0x80)], [Err("known-weak-key"); 2], "{y}");
        }
        assert_eq!([check(&BigUint::from(4u32), 0), check(&(&prime - 2u32), 0x80)], [Ok(()); 2]);
        let good = SoftwareKey::generate(KeyAlgorithm::Ed25519).unwrap();
        assert_eq!(check_key(good.public_key(), SubjectKey::Ed25519, &BlockedKeys::default()), Ok(()));
    }

    #[test]
    fn the_primes_are_those_below_752() {
        assert_eq!((SMALL_PRIMES[0], SMALL_PRIMES[131], SMALL_PRIMES[ROCA_PRIMES - 1]), (3, 751, 167));
    }
}
