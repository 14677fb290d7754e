//! The rounds of a batch: while the status of what one of them has issued is signed and published, the next one is issued. A key that signs both has always
//! something to sign, and what vetting leaves of the processors is used.

use std::iter;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use super::order::CHUNK;

/// Chunks that are handed out together, and the most of a round: some seconds' worth of signatures.
const MOST_CHUNKS: u64 = 200;
/// Chunks of the first round at least.
const LEAST_CHUNKS: u64 = 16;
/// A round rewrites the packs of all certificates that the issuer has: it issues at least this part of them, or what is handed out together.
const PART: u64 = 100;

/// Inputs between two signings of their status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Their numbers: whole chunks, but for the last.
    pub items: Range<u64>,
    /// What is handed out when they are published. The same for an order whenever it is run, however many certificates there are then.
    pub completes: Option<Range<u64>>,
}

impl Round {
    /// How many chunks it has.
    pub fn chunks(&self) -> usize {
        (self.items.end - self.items.start).div_ceil(CHUNK as u64) as usize
    }

    /// What is handed out with it where nothing comes after it.
    fn completed(&self) -> Range<u64> {
        let together = MOST_CHUNKS * CHUNK as u64;
        self.items.start / together * together..self.items.end
    }
}

/// The rounds for so many inputs of an issuer with so many certificates: short ones first, so that publishing begins soon, and each twice as long as the one before.
pub fn rounds(inputs: u64, certificates: u64) -> impl Iterator<Item = Round> {
    let together = MOST_CHUNKS * CHUNK as u64;
    let first = (certificates / PART / CHUNK as u64).clamp(LEAST_CHUNKS, MOST_CHUNKS) * CHUNK as u64;
    let round = move |start: u64, length: u64| {
        let until = inputs.min((start / together + 1) * together);
        let items = start..until.min(start + length);
        let round = Round { completes: None, items };
        let completes = (round.items.end == until).then(|| round.completed());
        (start < inputs).then_some((Round { completes, ..round }, (2 * length).min(together)))
    };
    iter::successors(round(0, first), move |(before, length)| round(before.items.end, *length)).map(|(round, _)| round)
}

/// Whether there is a reason to issue nothing more.
pub type HasFailed<'a> = &'a (dyn Fn() -> bool + Sync);

/// Issues round after round; says `issue` that nothing comes after it, that is the end, and the result. Meanwhile `publish` has the round before, and is done with it
/// before the next but one is begun: so little is issued and not handed out. After a failure of either, what the other one is about is finished, or given up by
/// `issue` where it asks; what failed first is told.
pub fn overlapped<E: Send>(
    rounds: impl Iterator<Item = Round>,
    issue: &mut dyn FnMut(&Round, HasFailed<'_>) -> Result<bool, E>,
    publish: &mut (dyn FnMut(&Round) -> Result<(), E> + Send),
) -> Result<bool, E> {
    let failed = AtomicBool::new(false);
    let has_failed = || failed.load(Ordering::Acquire);
    std::thread::scope(|scope| {
        let (issued, waiting) = sync_channel::<Round>(0);
        let publisher = scope.spawn(|| {
            // Dropped at the end, which ends the sending too.
            let published = waiting.into_iter().try_for_each(|round| publish(&round));
            failed.store(published.is_err(), Ordering::Release);
            published
        });
        let send_all = || {
            for mut round in rounds {
                let is_last = issue(&round, &has_failed)?;
                if is_last {
                    round.completes = Some(round.completed());
                }
                // Where nobody takes it, publishing has failed.
                if issued.send(round).is_err() || is_last {
                    return Ok(is_last);
                }
            }
            Ok(false)
        };
        let is_last = send_all();
        let publishing_failed_first = has_failed();
        drop(issued);
        let published = publisher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (is_last, published) {
            (Err(_), Err(failure)) if publishing_failed_first => Err(failure),
            (is_last, published) => is_last.and_then(|is_last| published.map(|()| is_last)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const TOGETHER: u64 = MOST_CHUNKS * CHUNK as u64;

    #[test]
    fn rounds_are_short_at_first_and_end_where_something_is_handed_out() {
        for (inputs, certificates) in
            [(1, 0), (499, 0), (8000, 0), (8001, 0), (1_000_000, 0), (1_234_567, 4_000_000), (300_000, 100_000_000)]
        {
            let all: Vec<Round> = rounds(inputs, certificates).collect();
            let ends: Vec<u64> = all.iter().map(|round| round.items.end).collect();
            assert_eq!(all.iter().map(|round| round.items.start).collect::<Vec<_>>(), [&[0][..], &ends[..ends.len() - 1]].concat());
            assert_eq!(*ends.last().unwrap(), inputs);
            let completed: Vec<_> = all.iter().filter_map(|round| round.completes.clone()).collect();
            let wanted: Vec<_> = (0..inputs).step_by(TOGETHER as usize).map(|first| first..inputs.min(first + TOGETHER)).collect();
            assert_eq!(completed, wanted, "the same for any number of certificates");
            let within = |round: &Round| round.completes.as_ref().is_none_or(|completes| completes.end == round.items.end);
            assert!(all.iter().all(within));
            assert!(all.iter().all(|round| round.chunks() as u64 <= MOST_CHUNKS && !round.items.is_empty()));
            assert!(all.iter().rev().skip(1).all(|round| round.items.end.is_multiple_of(CHUNK as u64)), "whole chunks");
        }
        let lengths = |certificates| rounds(300_000, certificates).map(|round| round.chunks()).collect::<Vec<_>>();
        assert_eq!(lengths(0), [16, 32, 64, 88, 200, 200]);
        assert_eq!(lengths(5_000_000), [100, 100, 200, 200]);
        assert_eq!(lengths(100_000_000), [200, 200, 200]);
        assert_eq!(rounds(0, 0).count(), 0);
    }

    #[test]
    fn a_round_is_published_while_the_next_is_issued_and_no_later() {
        let log = Mutex::new(Vec::new());
        let (began, begins) = sync_channel(0);
        let mut begins = begins.into_iter();
        let mut issue = |round: &Round, _: HasFailed<'_>| {
            // That the one before is being published.
            if round.items.start > 0 {
                assert_eq!(begins.next(), Some(()));
            }
            log.lock().unwrap().push(format!("issued {:?}", round.items));
            Ok::<bool, String>(false)
        };
        let mut publish = |round: &Round| {
            if round.items.end < 300_000 {
                began.send(()).unwrap();
            }
            log.lock().unwrap().push(format!("published {:?}", round.items));
            Ok(())
        };
        assert_eq!(overlapped(rounds(300_000, 100_000_000), &mut issue, &mut publish), Ok(false));
        let log = log.into_inner().unwrap();
        let place = |text: &str| log.iter().position(|line| line == text).unwrap();
        assert!(place("published 0..100000") < place("issued 200000..300000"), "{log:?}");
        assert_eq!(log.last().unwrap(), "published 200000..300000");
    }

    #[test]
    fn the_end_hands_out_what_there_is() {
        let mut published = Vec::new();
        let is_last =
            overlapped(rounds(300_000, 100_000_000), &mut |round, _| Ok::<_, String>(round.items.start == 100_000), &mut |round| {
                published.push(round.completes.clone());
                Ok(())
            });
        assert_eq!((is_last, published), (Ok(true), vec![Some(0..100_000), Some(100_000..200_000)]));
    }

    #[test]
    fn what_fails_first_is_told_and_ends_the_other() {
        let mut published = Vec::new();
        let failure = overlapped(
            rounds(1_000_000, 0),
            &mut |round, _| if round.items.start >= 24_000 { Err("token".to_owned()) } else { Ok(false) },
            &mut |round| {
                published.push(round.items.clone());
                Ok(())
            },
        );
        assert_eq!((failure, published), (Err("token".to_owned()), vec![0..8000, 8000..24_000]), "what was issued before is published");
        let mut issued = 0;
        let failure = overlapped(
            rounds(1_000_000, 0),
            &mut |_, has_failed| {
                issued += 1;
                // What takes long asks whether to go on.
                while issued == 2 && !has_failed() {
                    std::thread::yield_now();
                }
                if has_failed() { Err("given up".to_owned()) } else { Ok(false) }
            },
            &mut |_| Err("disk".to_owned()),
        );
        assert_eq!((failure, issued), (Err("disk".to_owned()), 2));
        let failure = overlapped(rounds(1_000_000, 0), &mut |_, _| Ok(false), &mut |_| Err("disk".to_owned()));
        assert_eq!(failure, Err("disk".to_owned()), "at the next round at the latest");
    }
}
