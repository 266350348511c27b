//! A list that is worked through on a few threads.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Calls `work` for the items, begun in their order, at most `threads` of them at one time. After a failure no other is begun;
/// of several failures that of the first item is returned.
pub fn for_each<T: Sync, E: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(BTreeMap::new());
    let run = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return };
            if let Err(error) = work(item) {
                next.store(items.len(), Ordering::Relaxed);
                failures.lock().unwrap_or_else(PoisonError::into_inner).insert(at, error);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            scope.spawn(run);
        }
        run();
    });
    let first = failures.into_inner().unwrap_or_else(PoisonError::into_inner).pop_first();
    first.map_or(Ok(()), |(_, error)| Err(error))
}

/// What `work` makes of the items, in their order, at most `threads` of them at one time.
pub fn map<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let results = Mutex::new(BTreeMap::new());
    let numbered: Vec<(usize, &T)> = items.iter().enumerate().collect();
    let Ok(()) = for_each(&numbered, threads, |&(at, item)| -> Result<(), Infallible> {
        let result = work(item);
        results.lock().unwrap_or_else(PoisonError::into_inner).insert(at, result);
        Ok(())
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn every_item_is_worked_on_once_and_side_by_side() {
        let items: Vec<usize> = (0..100).collect();
        let done = Mutex::new(Vec::new());
        // Nobody gets past it alone.
        let together = Barrier::new(4);
        let work = |item: &usize| {
            together.wait();
            done.lock().expect("no panic").push(*item);
            Ok::<(), ()>(())
        };
        assert_eq!(for_each(&items, 4, work), Ok(()));
        let mut done = done.into_inner().expect("no panic");
        done.sort_unstable();
        assert_eq!(done, items);
        assert_eq!(for_each(&[0; 0], 4, |_| Err(())), Ok(()));
    }

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..20).collect();
        // The first take longest.
        let slow = |item: &u64| {
            thread::sleep(std::time::Duration::from_millis(20 - item));
            item * 2
        };
        assert_eq!(map(&items, 4, slow), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(map(&[0; 0], 4, |_| 1), [0; 0]);
    }

    #[test]
    fn the_first_failure_is_told_and_nothing_is_begun_after_it() {
        let begun = AtomicUsize::new(0);
        let both = Barrier::new(2);
        let items: Vec<usize> = (0..100).collect();
        let work = |item: &usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            // Both fail, the later item first.
            both.wait();
            if *item == 0 {
                thread::sleep(std::time::Duration::from_millis(20));
            }
            Err(*item)
        };
        assert_eq!(for_each(&items, 2, work), Err(0));
        assert_eq!(begun.into_inner(), 2);
        assert_eq!(for_each(&items, 1, |item| if *item > 5 { Err(*item) } else { Ok(()) }), Err(6));
    }
}
