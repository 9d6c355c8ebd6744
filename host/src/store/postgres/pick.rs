//! Which tasks come next, given the first ones of each front. Pure; the database only shows and takes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::fronts::{FrontKey, Place};

/// The first tasks of a front, in order.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) key: FrontKey,
    pub(super) places: Vec<Place>,
    /// Whether there may be more of them than were shown.
    pub(super) more: bool,
}

/// How many of each front's first tasks belong to the `max` smallest, when of each lane no more may start than `slots` says; lanes that
/// it does not name are free. Nothing when more has to be shown to tell.
pub(super) fn quotas(shown: &[Shown], slots: &HashMap<i32, u32>, max: usize) -> Option<Vec<(FrontKey, u32)>> {
    let mut left: HashMap<i32, u32> = slots.clone();
    let mut taken = vec![0_usize; shown.len()];
    let mut heap: BinaryHeap<Reverse<(Place, usize)>> =
        shown.iter().enumerate().filter_map(|(index, front)| Some(Reverse((*front.places.first()?, index)))).collect();
    let mut picked = 0;
    while picked < max
        && let Some(Reverse((_, index))) = heap.pop()
    {
        let (Some(front), Some(count)) = (shown.get(index), taken.get_mut(index)) else { continue };
        match left.get_mut(&front.key.0) {
            Some(0) => continue,
            Some(slots) => *slots -= 1,
            None => {}
        }
        *count += 1;
        picked += 1;
        match front.places.get(*count) {
            Some(next) => heap.push(Reverse((*next, index))),
            None if front.more && picked < max && left.get(&front.key.0) != Some(&0) => return None,
            None => {}
        }
    }
    let counts = shown.iter().zip(taken).filter(|(_, count)| *count > 0);
    Some(counts.map(|(front, count)| (front.key, u32::try_from(count).unwrap_or(u32::MAX))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front(lane: i32, rank: i16, keys: &[i64], more: bool) -> Shown {
        Shown { key: (lane, rank), places: keys.iter().map(|key| (*key, 0)).collect(), more }
    }

    #[test]
    fn the_smallest_over_all_fronts_are_counted() {
        let shown = [front(1, 2, &[1, 5, 9], false), front(1, 3, &[2, 3], false), front(2, 2, &[4], false)];
        assert_eq!(quotas(&shown, &HashMap::new(), 4), Some(vec![((1, 2), 1), ((1, 3), 2), ((2, 2), 1)]));
        assert_eq!(quotas(&shown, &HashMap::from([(1, 2)]), 9), Some(vec![((1, 2), 1), ((1, 3), 1), ((2, 2), 1)]), "a cap of two");
        assert_eq!(quotas(&shown, &HashMap::from([(1, 0)]), 9), Some(vec![((2, 2), 1)]));
    }

    #[test]
    fn a_front_that_was_not_shown_far_enough_has_to_be_shown_again() {
        let shown = [front(1, 2, &[1, 2], true), front(2, 2, &[9], true)];
        assert_eq!(quotas(&shown, &HashMap::new(), 3), None);
        assert_eq!(quotas(&shown, &HashMap::new(), 2), Some(vec![((1, 2), 2)]));
        assert_eq!(quotas(&shown, &HashMap::from([(1, 2)]), 3), Some(vec![((1, 2), 2), ((2, 2), 1)]), "full before it is empty");
    }
}
