//! Which tasks come next, given the first ones of each front. Pure; the database only shows and takes.
//!
//! Tenants take turns by their passes (see [`fair`](crate::task::fair)); whose turn it is gives its first task in the order of
//! [`turn`](crate::task::turn).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::fronts::{FrontKey, Place};
use crate::task::fair::{Account, Service};
use crate::task::turn::Turn;

/// The first tasks of a front, in order.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) key: FrontKey,
    pub(super) places: Vec<Place>,
    /// Whether there may be more of them than were shown.
    pub(super) more: bool,
}

/// How many of each front's first tasks are among the next `max`, when of each lane no more may start than `slots` says; lanes that it
/// does not name are free. `account` answers how a tenant stands, or its lanes of one weight; `weight` and `expected` what a lane weighs and
/// what its next task is charged with.
///
/// # Errors
/// The front of which more has to be shown to tell.
pub(super) fn quotas(
    shown: &[Shown],
    slots: &HashMap<i32, u32>,
    max: usize,
    account: impl Fn(i32, Option<u32>) -> Account,
    weight: impl Fn(i32) -> u32,
    expected: impl Fn(i32) -> Service,
) -> Result<Vec<(FrontKey, u32)>, FrontKey> {
    let mut left: HashMap<i32, u32> = slots.clone();
    let mut taken = vec![0_usize; shown.len()];
    let mut turns: HashMap<i32, (Account, Turn)> = HashMap::new();
    for (index, front) in shown.iter().enumerate() {
        if let Some(first) = front.places.first() {
            let tenant = front.key.tenant_id;
            let weight = weight(front.key.lane_id);
            let (_, turn) = turns.entry(tenant).or_insert_with(|| (account(tenant, None), Turn::default()));
            turn.push(weight, || account(tenant, Some(weight)), *first, index);
        }
    }
    // Tenants by pass, then by their next task.
    let mut tenants: BinaryHeap<Reverse<(u64, Place, i32)>> =
        turns.iter().filter_map(|(tenant, (account, turn))| Some(Reverse((account.pass, turn.head()?, *tenant)))).collect();
    let mut picked = 0;
    while picked < max
        && let Some(Reverse((_, _, tenant))) = tenants.pop()
    {
        let Some((standing, turn)) = turns.get_mut(&tenant) else { continue };
        let Some((_, index)) = turn.pop() else { continue };
        let (Some(front), Some(count)) = (shown.get(index), taken.get_mut(index)) else { continue };
        let lane_id = front.key.lane_id;
        // A lane that is full leaves the turn, with this task in it.
        if left.get(&lane_id) != Some(&0) {
            left.entry(lane_id).and_modify(|slots| *slots -= 1);
            *count += 1;
            picked += 1;
            let (weight, expected) = (weight(lane_id), expected(lane_id));
            standing.charge(expected);
            turn.charge(weight, expected);
            match front.places.get(*count) {
                Some(next) => turn.push(weight, || account(tenant, Some(weight)), *next, index),
                None if front.more && picked < max && left.get(&lane_id) != Some(&0) => return Err(front.key),
                None => {}
            }
        }
        if let Some(first) = turn.head() {
            tenants.push(Reverse((standing.pass, first, tenant)));
        }
    }
    let counts = shown.iter().zip(taken).filter(|(_, count)| *count > 0);
    Ok(counts.map(|(front, count)| (front.key, u32::try_from(count).unwrap_or(u32::MAX))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(lane_id: i32, tenant_id: i32, rank: i16) -> FrontKey {
        FrontKey { lane_id, tenant_id, rank }
    }

    fn front(key: FrontKey, run_keys: &[i64], more: bool) -> Shown {
        Shown { key, places: run_keys.iter().map(|run_key| (*run_key, 0)).collect(), more }
    }

    fn pick(shown: &[Shown], slots: &HashMap<i32, u32>, max: usize) -> Result<Vec<(FrontKey, u32)>, FrontKey> {
        quotas(shown, slots, max, |_, _| Account::default(), |_| 1, |_| Service::from_micros(1_000))
    }

    #[test]
    fn the_smallest_over_all_fronts_of_a_tenant_are_counted() {
        let (low, high, other) = (key(1, 0, 2), key(1, 0, 3), key(2, 0, 2));
        let shown = [front(low, &[1, 5, 9], false), front(high, &[2, 3], false), front(other, &[4], false)];
        assert_eq!(pick(&shown, &HashMap::new(), 4), Ok(vec![(low, 1), (high, 2), (other, 1)]));
        assert_eq!(pick(&shown, &HashMap::from([(1, 2)]), 9), Ok(vec![(low, 1), (high, 1), (other, 1)]), "a cap of two");
        assert_eq!(pick(&shown, &HashMap::from([(1, 0)]), 9), Ok(vec![(other, 1)]));
    }

    #[test]
    fn a_front_that_was_not_shown_far_enough_has_to_be_shown_again() {
        let (one, other) = (key(1, 0, 2), key(2, 0, 2));
        let shown = [front(one, &[1, 2], true), front(other, &[9], true)];
        assert_eq!(pick(&shown, &HashMap::new(), 3), Err(one));
        assert_eq!(pick(&shown, &HashMap::new(), 2), Ok(vec![(one, 2)]));
        assert_eq!(pick(&shown, &HashMap::from([(1, 2)]), 3), Ok(vec![(one, 2), (other, 1)]), "full before it is empty");
    }

    #[test]
    fn tenants_take_turns_by_weight_whatever_their_run_keys() {
        let (noisy, quiet) = (key(1, 7, 2), key(1, 8, 2));
        let shown = [front(noisy, &(0..20).collect::<Vec<_>>(), false), front(quiet, &(100..120).collect::<Vec<_>>(), false)];
        assert_eq!(pick(&shown, &HashMap::new(), 8), Ok(vec![(noisy, 4), (quiet, 4)]));
        let weighted = |tenant, _| Account { weight: if tenant == 8 { 300 } else { 100 }, pass: 0 };
        let picked = quotas(&shown, &HashMap::new(), 8, weighted, |_| 1, |_| Service::from_micros(1_000));
        assert_eq!(picked, Ok(vec![(noisy, 2), (quiet, 6)]));
    }

    #[test]
    fn lanes_take_turns_by_weight_and_those_of_one_weight_go_by_run_key() {
        let (light, other, heavy) = (key(1, 0, 2), key(2, 0, 4), key(3, 0, 2));
        let shown = [
            front(light, &(0..20).collect::<Vec<_>>(), false),
            front(other, &(-2..2).collect::<Vec<_>>(), false),
            front(heavy, &(100..120).collect::<Vec<_>>(), false),
        ];
        let weight = |lane| if lane == 3 { 6 } else { 1 };
        let account = |_, class: Option<u32>| Account { weight: class.map_or(100, |weight| if weight == 1 { 2 } else { weight }), pass: 0 };
        // Of eight, six are the heavy lane's; the two lanes of weight 1 have two between them, and give their most urgent ones.
        let picked = quotas(&shown, &HashMap::new(), 8, account, weight, |_| Service::from_micros(1_000));
        assert_eq!(picked, Ok(vec![(other, 2), (heavy, 6)]));
    }
}
