//! Work in chunks on all threads: taken from a source, worked on in parallel, handed to a sink one after the other. Bounded: no more chunks are in memory
//! than threads can hold and a few that wait.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

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
}
