//! Reading a great CRL's entries on one thread while another encodes them.

use std::sync::mpsc::{TryRecvError, sync_channel};

use crate::pki::crl::CrlEntry;
use crate::registry::{Result, RevokedVisitor};

/// Entries that are handed over together, and how many such batches may wait: half a megabyte.
const BATCH: usize = 1024;
const BATCHES_AHEAD: usize = 6;

/// Reads on a thread of its own, while `visitor` looks at what has been read.
pub(super) fn read_ahead<T: Send>(
    read: impl FnOnce(&mut dyn FnMut(&CrlEntry)) -> Result<T> + Send,
    visitor: &mut dyn RevokedVisitor,
) -> Result<T> {
    let (full, batches) = sync_channel::<Vec<CrlEntry>>(BATCHES_AHEAD);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut batch = Vec::with_capacity(BATCH);
            let outcome = read(&mut |entry| {
                batch.push(*entry);
                if batch.len() == BATCH {
                    // Nobody takes it where the visitor has panicked: the receiver is gone then, and this thread must not wait for it.
                    let _ = full.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
                }
            });
            let _ = full.send(batch);
            outcome
        });
        // Dropped here, whatever becomes of the visitor: whoever reads must not wait for it.
        let batches = batches;
        loop {
            let batch = match batches.try_recv() {
                Err(TryRecvError::Empty) if visitor.meanwhile() => continue,
                Err(TryRecvError::Empty) => batches.recv().map_err(TryRecvError::from),
                arrived => arrived,
            };
            let Ok(batch) = batch else { break };
            batch.iter().for_each(|entry| visitor.visit(entry));
        }
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Revocation, Timestamp};
    use crate::registry::RegistryError;

    #[test]
    fn what_is_read_ahead_comes_whole_in_order_and_with_its_outcome() {
        let entry = |n: u64| CrlEntry {
            serial: format!("{:016x}", n + (1 << 60)).parse().unwrap(),
            revocation: Revocation { at: Timestamp::from_unix(n).unwrap(), reason: None },
            invalidity_date: None,
        };
        for count in [0, 1, BATCH as u64, 20 * BATCH as u64 + 7] {
            let read = |visit: &mut dyn FnMut(&CrlEntry)| {
                (0..count).for_each(|n| visit(&entry(n)));
                if count == 1 { Err(RegistryError::UnknownIssuer(7)) } else { Ok(count) }
            };
            let mut seen = Vec::new();
            let outcome = read_ahead(read, &mut |entry: &CrlEntry| seen.push(entry.revocation.at.unix()));
            assert!(seen.into_iter().eq(0..count));
            match outcome {
                Err(RegistryError::UnknownIssuer(7)) => assert_eq!(count, 1),
                outcome => assert_eq!(outcome.unwrap(), count),
            }
        }
        // What there is to do meanwhile neither delays nor loses anything.
        struct Busy(Vec<u64>, u64);
        impl RevokedVisitor for Busy {
            fn visit(&mut self, entry: &CrlEntry) {
                self.0.push(entry.revocation.at.unix());
            }
            fn meanwhile(&mut self) -> bool {
                self.1 += 1;
                !self.1.is_multiple_of(3)
            }
        }
        let mut busy = Busy(Vec::new(), 0);
        let slow = |visit: &mut dyn FnMut(&CrlEntry)| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            (0..5 * BATCH as u64 + 7).for_each(|n| visit(&entry(n)));
            Ok(())
        };
        read_ahead(slow, &mut busy).unwrap();
        assert!(busy.0.into_iter().eq(0..5 * BATCH as u64 + 7) && busy.1 > 0);
        let endless = |visit: &mut dyn FnMut(&CrlEntry)| -> Result<()> {
            (0..100 * BATCH as u64).for_each(|n| visit(&entry(n)));
            Ok(())
        };
        let visited = std::panic::catch_unwind(|| read_ahead(endless, &mut |_: &CrlEntry| panic!("a visitor's fault")));
        assert!(visited.is_err(), "it comes to light, and nobody waits for ever");
    }
}
