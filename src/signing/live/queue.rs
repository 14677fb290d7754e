//! A bounded queue between those who must not wait and those who do nothing else.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue of at most `limit` things.
#[derive(Debug)]
pub(super) struct Queue<T> {
    limit: usize,
    state: Mutex<State<T>>,
    came: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
    /// Threads that sleep until something comes. To wake one is a call of the system, whether or not there is one.
    sleeping: usize,
}

impl<T> Queue<T> {
    pub(super) fn new(limit: usize) -> Queue<T> {
        Queue { limit, state: Mutex::new(State { waiting: VecDeque::new(), closed: false, sleeping: 0 }), came: Condvar::new() }
    }

    /// Puts something at the end, or gives it back: the queue is full, or closed.
    pub(super) fn push(&self, thing: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed || state.waiting.len() >= self.limit {
            return Err(thing);
        }
        state.waiting.push_back(thing);
        let sleeping = state.sleeping;
        drop(state);
        if sleeping > 0 {
            self.came.notify_one();
        }
        Ok(())
    }

    /// Takes what has waited longest, and tells how many things are left; blocks until there is something. `None`: closed.
    pub(super) fn pop(&self) -> Option<(T, usize)> {
        let mut state = self.lock();
        while !state.closed {
            if let Some(thing) = state.waiting.pop_front() {
                return Some((thing, state.waiting.len()));
            }
            state.sleeping += 1;
            state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleeping -= 1;
        }
        None
    }

    /// The same without blocking; `None` where there is nothing.
    pub(super) fn pop_now(&self) -> Option<(T, usize)> {
        let mut state = self.lock();
        let thing = state.waiting.pop_front()?;
        Some((thing, state.waiting.len()))
    }

    /// Drops what waits, and takes nothing more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        // Outside the lock: what is dropped may do something about it.
        drop(waiting);
        self.came.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_first_goes_first_and_what_does_not_fit_comes_back() {
        let queue = Queue::new(2);
        assert_eq!([1, 2, 3].map(|n| queue.push(n)), [Ok(()), Ok(()), Err(3)]);
        assert_eq!(queue.pop_now(), Some((1, 1)));
        assert_eq!(queue.push(4), Ok(()));
        assert_eq!((queue.pop(), queue.pop()), (Some((2, 1)), Some((4, 0))));
        assert_eq!(queue.pop_now(), None);
        queue.close();
        assert_eq!((queue.push(5), queue.pop()), (Err(5), None));
    }

    #[test]
    fn who_waits_is_woken_by_a_thing_and_by_the_end() {
        let queue = Queue::new(10);
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| std::iter::from_fn(|| queue.pop()).count())).collect();
            (0..10).for_each(|n| assert_eq!(queue.push(n), Ok(())));
            while !queue.lock().waiting.is_empty() {
                std::thread::yield_now();
            }
            queue.close();
            assert_eq!(waiting.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 10);
        });
    }
}
