//! Work in chunks on many threads, in one stage or two: taken from a source, worked on in parallel, handed to a sink one after the other. Bounded: no more
//! chunks are in memory than threads can hold and a few that wait.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Chunks that [`run_staged`] hands over at once at most, and that may wait meanwhile.
const TOGETHER: usize = 32;
/// How long a chunk that is done waits for others.
const GATHERING: Duration = Duration::from_secs(1);

/// Where chunks come from: each thread takes one when it has nothing to do. `None`: there are no more.
pub(super) type Source<'a, I, E> = &'a mut (dyn FnMut() -> Result<Option<I>, E> + Send);

/// Runs until the source has nothing more, or something fails: then what is at work is finished and comes to nothing. `sink` runs on the calling thread, and
/// sees chunks in the order in which they are done.
pub(super) fn run<I, O: Send, E: Send>(
    threads: usize,
    source: Source<'_, I, E>,
    work: &(dyn Fn(I) -> Result<O, E> + Sync),
    sink: &mut dyn FnMut(O) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.max(1);
    let source = Mutex::new(source);
    let (sender, receiver) = sync_channel(2 * threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, source) = (sender.clone(), &source);
            scope.spawn(move || take_chunks(source, work, &sender));
        }
        drop(sender);
        // Leaving this closure drops the receiver, which ends the threads.
        receiver.into_iter().try_for_each(|chunk| sink(chunk?))
    })
}

/// Threads of each of two stages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Threads {
    /// Of the first one.
    pub(super) first: usize,
    /// Of the second one, which may wait for something else than a processor.
    pub(super) second: usize,
}

/// The work of the first stage.
pub(super) type First<'a, I, M, E> = &'a (dyn Fn(I) -> Result<M, E> + Sync);
/// The work of the second stage.
pub(super) type Second<'a, M, O, E> = &'a (dyn Fn(M) -> Result<O, E> + Sync);

/// The same in two stages, each on threads of its own: the second has its next chunk waiting whenever it is the slower one. `sink` sees together what is done
/// within a moment: it may cost less for many chunks than for each.
pub(super) fn run_staged<I, M: Send, O: Send, E: Send>(
    threads: Threads,
    source: Source<'_, I, E>,
    first: First<'_, I, M, E>,
    second: Second<'_, M, O, E>,
    sink: &mut dyn FnMut(Vec<O>) -> Result<(), E>,
) -> Result<(), E> {
    let (first_threads, second_threads) = (threads.first.max(1), threads.second.max(1));
    let source = Mutex::new(source);
    let (between, waiting) = sync_channel(second_threads + 1);
    let (sender, receiver) = sync_channel(TOGETHER);
    // Dropped with the last thread of the second stage, which ends the first.
    let waiting = Arc::new(Mutex::new(waiting));
    std::thread::scope(|scope| {
        for _ in 0..first_threads {
            let (between, source) = (between.clone(), &source);
            scope.spawn(move || take_chunks(source, first, &between));
        }
        for _ in 0..second_threads {
            let (waiting, sender) = (Arc::clone(&waiting), sender.clone());
            scope.spawn(move || take_on(&waiting, second, &sender));
        }
        drop((between, waiting, sender));
        hand_over(receiver, sink)
    })
}

/// What was done before something failed is handed over before the failure is told.
fn hand_over<O, E>(done: Receiver<Result<O, E>>, sink: &mut dyn FnMut(Vec<O>) -> Result<(), E>) -> Result<(), E> {
    while let Ok(first) = done.recv() {
        let (mut together, mut outcome) = (vec![first?], Ok(()));
        let until = Instant::now() + GATHERING;
        while together.len() < TOGETHER && outcome.is_ok() {
            match done.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Ok(chunk)) => together.push(chunk),
                Ok(Err(failure)) => outcome = Err(failure),
                Err(_) => break,
            }
        }
        sink(together)?;
        outcome?;
    }
    Ok(())
}

/// Works on what comes out of the first stage until nothing does, something fails, or nobody takes it any more.
fn take_on<M, O, E>(waiting: &Mutex<Receiver<Result<M, E>>>, work: Second<'_, M, O, E>, sender: &SyncSender<Result<O, E>>) {
    loop {
        let Ok(next) = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv() else { return };
        let done = next.and_then(work);
        let failed = done.is_err();
        if sender.send(done).is_err() || failed {
            return;
        }
    }
}

/// Works on chunk after chunk until there are none left, one fails, or nobody takes them any more.
fn take_chunks<I, O, E>(source: &Mutex<Source<'_, I, E>>, work: &(dyn Fn(I) -> Result<O, E> + Sync), sender: &SyncSender<Result<O, E>>) {
    loop {
        let next = source.lock().unwrap_or_else(PoisonError::into_inner)();
        let done = match next {
            Ok(None) => return,
            Ok(Some(chunk)) => work(chunk),
            Err(failure) => Err(failure),
        };
        let failed = done.is_err();
        if sender.send(done).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(end: u32) -> impl FnMut() -> Result<Option<u32>, String> + Send {
        let mut numbers = 0..end;
        move || Ok(numbers.next())
    }

    #[test]
    fn everything_passes_once() {
        let mut seen = Vec::new();
        run(4, &mut numbers(1000), &|n| Ok(2 * n), &mut |n| {
            seen.push(n);
            Ok(())
        })
        .unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).map(|n| 2 * n).collect::<Vec<_>>());
    }

    #[test]
    fn what_fails_anywhere_ends_it() {
        let work = |n| if n == 500 { Err("work".to_owned()) } else { Ok(n) };
        assert_eq!(run(3, &mut numbers(1_000_000), &work, &mut |_| Ok(())), Err("work".to_owned()));
        let mut left = 10;
        let sink = &mut |_| {
            left -= 1;
            if left == 0 { Err("sink".to_owned()) } else { Ok(()) }
        };
        assert_eq!(run(3, &mut numbers(1_000_000), &Ok, sink), Err("sink".to_owned()));
        let mut source = || Err("source".to_owned());
        assert_eq!(run(3, &mut source, &|n: u32| Ok(n), &mut |_| Ok(())), Err("source".to_owned()));
    }

    const UNEQUAL: [Threads; 3] = [Threads { first: 1, second: 4 }, Threads { first: 4, second: 1 }, Threads { first: 3, second: 3 }];

    #[test]
    fn everything_passes_both_stages_once() {
        for threads in UNEQUAL {
            let mut seen = Vec::new();
            let sink = &mut |together: Vec<u64>| {
                seen.extend(together);
                Ok(())
            };
            run_staged(threads, &mut numbers(1000), &|n| Ok(u64::from(n)), &|n| Ok(3 * n), sink).unwrap();
            seen.sort_unstable();
            assert_eq!(seen, (0..1000).map(|n| 3 * n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_fails_in_either_stage_or_around_them_ends_both() {
        for threads in UNEQUAL {
            let fails = |here: &'static str| move |n: u32| if n == 500 { Err(here.to_owned()) } else { Ok(n) };
            let all = || numbers(1_000_000);
            assert_eq!(run_staged(threads, &mut all(), &fails("first"), &Ok, &mut |_| Ok(())), Err("first".to_owned()));
            assert_eq!(run_staged(threads, &mut all(), &Ok, &fails("second"), &mut |_| Ok(())), Err("second".to_owned()));
            let mut sink = |together: Vec<u32>| together.into_iter().try_for_each(|n| fails("sink")(n).map(|_| ()));
            assert_eq!(run_staged(threads, &mut all(), &Ok, &Ok, &mut sink), Err("sink".to_owned()));
            let mut source = || Err::<Option<u32>, _>("source".to_owned());
            assert_eq!(run_staged(threads, &mut source, &Ok, &Ok::<u32, _>, &mut |_| Ok(())), Err("source".to_owned()));
        }
    }

    #[test]
    fn what_was_done_before_a_failure_is_handed_over() {
        let threads = Threads { first: 1, second: 1 };
        let mut seen = Vec::new();
        let sink = &mut |together: Vec<u32>| {
            seen.extend(together);
            Ok(())
        };
        let fails = |n| if n == 30 { Err("work".to_owned()) } else { Ok(n) };
        assert_eq!(run_staged(threads, &mut numbers(1000), &Ok, &fails, sink), Err("work".to_owned()));
        assert_eq!(seen, (0..30).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_chunks_are_taken_than_can_be_held() {
        let (threads, taken) = (Threads { first: 3, second: 2 }, std::sync::atomic::AtomicU32::new(0));
        let held = 3 + (2 + 1) + 2 + TOGETHER as u32 + TOGETHER as u32;
        let mut source = || Ok(Some(taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
        let mut sink = |_: Vec<u32>| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(taken.load(std::sync::atomic::Ordering::Relaxed) <= held, "the sink is slow, and more and more waits for it");
            Err("enough".to_owned())
        };
        assert_eq!(run_staged(threads, &mut source, &Ok, &Ok::<u32, _>, &mut sink), Err("enough".to_owned()));
    }
}
