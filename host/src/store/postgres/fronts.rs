//! From where the next claim looks.
//!
//! A front is the ready tasks of one lane, one tenant and one rank, in the order of their run keys. Within it, claims go on from where the last
//! one ended, so that they never pass again over rows that were deleted but that an old snapshot somewhere in the database keeps from
//! being cleaned away. What turns up behind that point has to say so:
//!
//! * what this host put there itself moves the point back after its commit;
//! * other hosts say so in a notice;
//! * a sweep looks from the very beginning from time to time, for what nobody told of.
//!
//! A claim takes its snapshot before it tells how far it came, so whatever moves the point back in between is remembered and wins.

use std::collections::BTreeMap;

/// A place in a front: run key and seq.
pub(super) type Place = (i64, i64);

/// Whose tasks they are, and how urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FrontKey {
    pub(super) lane_id: i32,
    /// 0 is nobody in particular.
    pub(super) tenant_id: i32,
    pub(super) rank: i16,
}

impl FrontKey {
    pub(super) fn new(lane_id: i32, tenant_id: i32, rank: i16) -> Self {
        Self { lane_id, tenant_id, rank }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Front {
    /// Everything before this is known to be gone; nothing when all of it is.
    from: Option<Place>,
    /// The lowest place that was put back since the claim under way began.
    put_back: Option<Place>,
}

#[derive(Debug, Default)]
pub(super) struct Fronts {
    fronts: BTreeMap<FrontKey, Front>,
    /// The same for scheduled tasks: the next is not due before this; nothing when none is known of.
    next_due_ms: Option<i64>,
    due_put_back_ms: Option<i64>,
    /// Whether what is known of the next scheduled task may be too early.
    due_doubtful: bool,
}

fn lower<T: Ord + Copy>(slot: &mut Option<T>, to: T) {
    *slot = Some(slot.map_or(to, |at| at.min(to)));
}

impl Fronts {
    /// There may be a task at this place.
    pub(super) fn put_back(&mut self, key: FrontKey, place: Place) {
        let front = self.fronts.entry(key).or_default();
        lower(&mut front.from, place);
        lower(&mut front.put_back, place);
    }

    /// There may be a scheduled task that is due then.
    pub(super) fn put_back_due(&mut self, run_at_ms: i64) {
        lower(&mut self.next_due_ms, run_at_ms);
        lower(&mut self.due_put_back_ms, run_at_ms);
    }

    /// A claim is about to begin; there is one at a time. Fronts with nothing in them are forgotten.
    pub(super) fn begin(&mut self) {
        self.fronts.retain(|_, front| {
            front.put_back = None;
            front.from.is_some()
        });
    }

    /// The next scheduled task may be gone.
    pub(super) fn doubt_due(&mut self) {
        self.due_doubtful = true;
    }

    /// Begins to look at what is scheduled, if there is a reason to; from when on.
    pub(super) fn begin_due(&mut self, now_ms: i64) -> Option<i64> {
        let from = self.next_due_ms.filter(|due| *due <= now_ms || self.due_doubtful)?;
        self.due_put_back_ms = None;
        self.due_doubtful = false;
        Some(from)
    }

    /// A claim saw everything of a front before `to`; nothing when it saw all of it.
    pub(super) fn advance(&mut self, key: FrontKey, to: Option<Place>) {
        let front = self.fronts.entry(key).or_default();
        front.from = match (to, front.put_back) {
            (Some(to), Some(back)) => Some(to.min(back)),
            (to, back) => to.or(back),
        };
    }

    /// The next scheduled task was seen to be due then; nothing when there is none.
    pub(super) fn advance_due(&mut self, to: Option<i64>) {
        self.next_due_ms = match (to, self.due_put_back_ms) {
            (Some(to), Some(back)) => Some(to.min(back)),
            (to, back) => to.or(back),
        };
    }

    /// When to look for what is due.
    pub(super) fn next_due_ms(&self) -> Option<i64> {
        self.next_due_ms
    }

    /// Where tasks may be.
    pub(super) fn open(&self) -> impl Iterator<Item = (FrontKey, Place)> + '_ {
        self.fronts.iter().filter_map(|(key, front)| Some((*key, front.from?)))
    }

    /// From where a front would be looked at.
    pub(super) fn from(&self, key: FrontKey) -> Option<Place> {
        self.fronts.get(&key).and_then(|front| front.from)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    const KEY: FrontKey = FrontKey { lane_id: 1, tenant_id: 0, rank: 2 };

    /// A claim between its beginning and its end.
    struct Claim {
        from: Option<Place>,
        /// How many it wanted and which it got, once it was carried out.
        got: Option<(usize, Vec<Place>)>,
    }

    /// One lane in a database that several writers commit to at any place and at any moment, while claims are under way.
    #[derive(Default)]
    struct World {
        fronts: Fronts,
        ready: BTreeSet<Place>,
        /// Committed by this host, which has not got round to saying so.
        unsaid: Vec<Place>,
        claim: Option<Claim>,
        claimed: usize,
    }

    impl World {
        fn commit(&mut self, place: Place) -> bool {
            let new = self.ready.insert(place);
            if new {
                self.unsaid.push(place);
            }
            new
        }

        fn say(&mut self) {
            if let Some(place) = self.unsaid.pop() {
                self.fronts.put_back(KEY, place);
            }
        }

        fn step_claim(&mut self, wanted: usize) {
            match self.claim.take() {
                None => {
                    self.fronts.begin();
                    self.claim = Some(Claim { from: self.fronts.from(KEY), got: None });
                }
                Some(Claim { from, got: None }) => {
                    let taken: Vec<Place> = from.map(|from| self.ready.range(from..).take(wanted).copied().collect()).unwrap_or_default();
                    for place in &taken {
                        self.ready.remove(place);
                    }
                    self.claimed += taken.len();
                    self.claim = Some(Claim { from, got: Some((wanted, taken)) });
                }
                Some(Claim { from: Some(_), got: Some((wanted, taken)) }) => {
                    let to = if taken.len() == wanted { taken.last().map(|last| (last.0, last.1 + 1)) } else { None };
                    self.fronts.advance(KEY, to);
                }
                Some(Claim { from: None, .. }) => {}
            }
        }
    }

    #[test]
    fn nothing_that_is_committed_behind_the_point_is_ever_passed_over() {
        for seed in 0..2_000 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut world = World::default();
            let mut committed = 0;
            for _ in 0..rng.random_range(1..120) {
                match rng.random_range(0..6) {
                    0 | 1 => committed += usize::from(world.commit((rng.random_range(0..20), rng.random_range(0..50)))),
                    2 => world.say(),
                    _ => world.step_claim(rng.random_range(1..4)),
                }
            }
            while !world.unsaid.is_empty() {
                world.say();
            }
            // Every claim takes three steps, and one may be under way.
            for _ in 0..3 * (committed + 2) {
                world.step_claim(1);
            }
            assert_eq!((world.claimed, world.ready.len()), (committed, 0), "seed {seed}");
        }
    }

    #[test]
    fn what_comes_in_while_a_claim_runs_is_looked_at_again() {
        let mut fronts = Fronts::default();
        fronts.put_back(KEY, (5, 1));
        fronts.begin();
        fronts.put_back(KEY, (3, 9));
        fronts.advance(KEY, Some((7, 0)));
        assert_eq!(fronts.from(KEY), Some((3, 9)));
        fronts.begin();
        fronts.advance(KEY, None);
        assert_eq!((fronts.from(KEY), fronts.open().count()), (None, 0));
        fronts.put_back_due(8);
        assert_eq!(fronts.begin_due(7), None, "not yet");
        assert_eq!(fronts.begin_due(8), Some(8));
        fronts.put_back_due(9);
        fronts.advance_due(Some(12));
        assert_eq!(fronts.next_due_ms(), Some(9));
    }
}
