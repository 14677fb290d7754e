//! Notes how far each lane's part of the feed is reflected in what is published, so that a restart goes on from there.
//!
//! While the worker runs, a thread of its own writes it down: who waits for the disk here sees no revocation come.

use std::sync::mpsc::{Receiver, Sender};

use super::lane::Lane;
use crate::pki::Timestamp;
use crate::registry::{Registry, RegistryError};

/// A lane's place in the feed.
pub(super) struct Watermark {
    lane: u64,
    consumer: String,
    sequence: u64,
}

/// What came of writing one down.
pub(super) type Stored = (Watermark, Result<(), RegistryError>);

/// Where places are given to the thread that writes them down, and what has come of them.
pub(super) struct Clerk {
    wanted: Sender<Vec<Watermark>>,
    stored: Receiver<Vec<Stored>>,
    busy: bool,
}

impl Clerk {
    /// The other ends are [`serve`]'s.
    pub(super) fn new(wanted: Sender<Vec<Watermark>>, stored: Receiver<Vec<Stored>>) -> Clerk {
        Clerk { wanted, stored, busy: false }
    }

    /// Has the places of all lanes written down, as [`collect`] finds them. False, and nothing comes of it, while he writes others down.
    pub(super) fn store(&mut self, lanes: &[Lane], now: Timestamp, even_if_nothing_came: bool) -> bool {
        if self.busy {
            return false;
        }
        let wanted = collect(lanes, now, even_if_nothing_came);
        // Where the thread has ended there is nobody any more who waits for it.
        self.busy = !wanted.is_empty() && self.wanted.send(wanted).is_ok();
        true
    }

    /// What has been written down meanwhile.
    pub(super) fn stored(&mut self) -> Vec<Stored> {
        let stored: Vec<Stored> = self.stored.try_iter().flatten().collect();
        self.busy &= stored.is_empty();
        stored
    }
}

/// Writes down what is wanted, until nobody wants anything any more.
pub(super) fn serve(registry: &dyn Registry, wanted: &Receiver<Vec<Watermark>>, stored: &Sender<Vec<Stored>>) {
    while let Ok(watermarks) = wanted.recv() {
        let _ = stored.send(store(registry, watermarks));
    }
}

/// Writes them down now.
pub(super) fn store(registry: &dyn Registry, watermarks: Vec<Watermark>) -> Vec<Stored> {
    let store = |watermark: Watermark| {
        let stored = registry.set_watermark(&watermark.consumer, watermark.sequence);
        (watermark, stored)
    };
    watermarks.into_iter().map(store).collect()
}

/// The places that are further than what is stored. See [`super::agenda::Agenda::watermark_to_store`].
pub(super) fn collect(lanes: &[Lane], now: Timestamp, even_if_nothing_came: bool) -> Vec<Watermark> {
    let place = |lane: &Lane| {
        let sequence = lane.agenda.watermark_to_store(even_if_nothing_came).filter(|_| lane.agenda.may_work(now))?;
        Some(Watermark { lane: lane.number, consumer: lane.consumer.clone(), sequence })
    };
    lanes.iter().filter_map(place).collect()
}

/// Tells the lanes that are still there; returns what failed, in words.
pub(super) fn note(lanes: &mut [Lane], stored: Vec<Stored>, now: Timestamp) -> Vec<String> {
    let mut failures = Vec::new();
    for (Watermark { lane: number, consumer, sequence }, result) in stored {
        let lane = lanes.iter_mut().find(|lane| lane.number == number);
        match result {
            Ok(()) => lane.into_iter().for_each(|lane| lane.agenda.stored(sequence)),
            Err(failure) => {
                lane.into_iter().for_each(|lane| lane.agenda.not_stored(now));
                failures.push(format!("{consumer}: {failure}"));
            }
        }
    }
    failures
}
