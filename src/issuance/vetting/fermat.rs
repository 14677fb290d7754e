//! Fermat's factorisation: finds the factors of an RSA modulus whose primes are close to each other, as those of a broken generator are (CVE-2022-26320).

use num_bigint::BigUint;

/// Tries, as the Baseline Requirements ask for (BR 6.1.1.3).
const ROUNDS: u32 = 100;
/// What the squares are modulo 64, 63, 65 and 11: few of the numbers that are no squares pass all four.
const SIEVES: [u64; 4] = [64, 63, 65, 11];

/// Whether the factors of an odd number, big-endian, are found within 100 rounds. Takes some ten microseconds, however the number is made.
pub(super) fn has_close_factors(modulus: &[u8]) -> bool {
    let modulus = BigUint::from_bytes_be(modulus);
    let mut a = modulus.sqrt();
    if &a * &a < modulus {
        a += 1u32;
    }
    // The modulus is (a + b) (a - b) where this is the square of b.
    let mut square = &a * &a - &modulus;
    for _ in 0..ROUNDS {
        if is_square(&square) {
            return true;
        }
        square += (&a << 1) + 1u32;
        a += 1u32;
    }
    false
}

fn is_square(number: &BigUint) -> bool {
    let may_be = |modulus: u64| {
        let residue = (number % modulus).to_u64_digits().first().copied().unwrap_or(0);
        (0..modulus).any(|root| root * root % modulus == residue)
    };
    SIEVES.into_iter().all(may_be) && {
        let root = number.sqrt();
        &root * &root == *number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2^1023 and a bit: what follows is odd, and of 1024 bits.
    fn large() -> BigUint {
        (BigUint::from(1u32) << 1023) + 0x1234_5678_9abc_def1u64
    }

    #[test]
    fn s3_1_close_factors_are_found_and_distant_ones_are_not() {
        let product = |distance: BigUint| (large() * (large() + distance)).to_bytes_be();
        for distance in [0u64, 2, 0x1000, 0xffff_ffff_ffff_fffe] {
            assert!(has_close_factors(&product(distance.into())), "{distance}");
        }
        // The n-th round finds what is up to 2^513 times the root of n apart: the fourth these, the thousandth those.
        assert!(has_close_factors(&product(BigUint::from(1u32) << 514)));
        assert!(!has_close_factors(&product(BigUint::from(1u32) << 518)));
    }

    #[test]
    fn squares_are_told_from_their_neighbours() {
        for root in [0u32, 1, 2, 3, 1000, u32::MAX] {
            let square = BigUint::from(root) * root;
            assert!(is_square(&square));
            assert!(!is_square(&(square + 2u32)), "{root}");
        }
    }
}
