//! How fast a key signs: for capacity planning, and to hold the signing worker against.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Key, TokenError};

/// Octets of what is signed: those of an OCSP response's ResponseData.
const MESSAGE_BYTES: usize = 180;

/// Signatures a second that `threads` make with a key at the same time, measured for `duration` (and for as long as the last signatures take). Whatever is
/// signed begins like a trial signature, and can be used for nothing else. Fails with the first signature that fails.
pub fn signatures_per_second(key: &Key, threads: usize, duration: Duration) -> Result<f64, TokenError> {
    let (start, over) = (Instant::now(), AtomicBool::new(false));
    let sign = |thread: usize| {
        let mut message = [0; MESSAGE_BYTES];
        let name = b"kakunin: trial signature ";
        message[..name.len()].copy_from_slice(name);
        let mut count = 0u64;
        while !over.load(Ordering::Relaxed) {
            message[MESSAGE_BYTES - 16..].copy_from_slice(&[(thread as u64).to_be_bytes(), count.to_be_bytes()].concat());
            if let Err(failure) = key.sign(&message) {
                over.store(true, Ordering::Relaxed);
                return Err(failure);
            }
            count += 1;
            if start.elapsed() >= duration {
                over.store(true, Ordering::Relaxed);
            }
        }
        Ok(count)
    };
    let counts: Result<Vec<u64>, TokenError> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|thread| scope.spawn(move || sign(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    Ok(counts?.iter().sum::<u64>() as f64 / start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pki::{KeyAlgorithm, SignatureAlgorithm};
    use crate::token::SigningKey;
    use crate::token::software::SoftwareKey;

    #[test]
    fn a_key_signs_at_some_rate() {
        let key: Key = Arc::new(SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
        assert!(signatures_per_second(&key, 2, Duration::from_millis(20)).unwrap() > 1.0);
    }

    struct Failing;

    impl SigningKey for Failing {
        fn key_algorithm(&self) -> KeyAlgorithm {
            KeyAlgorithm::EcdsaP256
        }

        fn signature_algorithm(&self) -> SignatureAlgorithm {
            SignatureAlgorithm::EcdsaSha256
        }

        fn public_key(&self) -> &[u8] {
            &[]
        }

        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, TokenError> {
            Err(TokenError::Signing { key: KeyAlgorithm::EcdsaP256, why: "for the test".into() })
        }
    }

    #[test]
    fn a_signature_that_fails_ends_it() {
        let key: Key = Arc::new(Failing);
        assert!(signatures_per_second(&key, 2, Duration::from_secs(60)).is_err());
    }
}
