//! Which of some amounts add up to a sum, if there is exactly one answer. Meets in the middle: half the amounts from either side.

/// More candidates than this are not searched: 2^20 sums for either half.
pub(super) const CANDIDATES_MAX: usize = 40;

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// Exactly these, by position.
    Unique(Vec<usize>),
    /// More than one set of them.
    Several,
    /// Not searched: too many candidates, or sums beyond 64 bits, or the budget is spent.
    TooCostly,
}

/// Looks for the set of `amounts` that adds up to `target`. `nodes` counts the sums looked at, up to `nodes_max`.
pub(super) fn unique_subset(amounts: &[i64], target: i64, nodes: &mut u64, nodes_max: u64) -> Found {
    let total = amounts.iter().try_fold(target.unsigned_abs(), |sum, amount| sum.checked_add(amount.unsigned_abs()));
    if amounts.len() > CANDIDATES_MAX || total.is_none_or(|total| total > i64::MAX as u64) {
        return Found::TooCostly;
    }
    let (first, second) = amounts.split_at(amounts.len() / 2);
    let cost = (1u64 << first.len()) + (1u64 << second.len());
    if nodes.saturating_add(cost) > nodes_max {
        return Found::TooCostly;
    }
    *nodes += cost;
    let (first_sums, second_sums) = (sums(first), sums(second));
    let mut answer = None;
    let mut from = second_sums.len();
    // The first half rises while the second falls, so that their sum stays near the target.
    for run in first_sums.chunk_by(|a, b| a.0 == b.0) {
        let Some((sum, mask)) = run.first() else { continue };
        let wanted = target - sum;
        while from > 0 && second_sums.get(from - 1).is_some_and(|(sum, _)| *sum > wanted) {
            from -= 1;
        }
        let partners = second_sums.get(..from).unwrap_or_default().iter().rev().take_while(|(sum, _)| *sum == wanted);
        let mut partners = partners.take(2);
        let Some((_, other)) = partners.next() else { continue };
        if answer.is_some() || run.len() > 1 || partners.next().is_some() {
            return Found::Several;
        }
        answer = Some(u64::from(*mask) | u64::from(*other) << first.len());
    }
    match answer {
        None | Some(0) => Found::Nothing,
        Some(mask) => Found::Unique((0..amounts.len()).filter(|at| mask & (1 << at) != 0).collect()),
    }
}

/// The sum of every set of some amounts, smallest first, with a bit for each member.
fn sums(amounts: &[i64]) -> Vec<(i64, u32)> {
    let mut sums = Vec::with_capacity(1 << amounts.len());
    sums.push((0, 0u32));
    for (at, amount) in amounts.iter().enumerate() {
        for place in 0..sums.len() {
            let (sum, mask) = sums.get(place).copied().unwrap_or_default();
            sums.push((sum + amount, mask | 1 << at));
        }
    }
    sums.sort_unstable();
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn search(amounts: &[i64], target: i64) -> Found {
        unique_subset(amounts, target, &mut 0, u64::MAX)
    }

    #[test]
    fn only_one_answer_is_an_answer() {
        assert_eq!(search(&[100, 250, 75], 325), Found::Unique(vec![1, 2]));
        assert_eq!(search(&[100, 100, 75], 175), Found::Several);
        assert_eq!(search(&[100, 250], 99), Found::Nothing);
        assert_eq!(search(&[5, -5, 10], 10), Found::Several, "nothing and a zero sum are two ways");
        assert_eq!(search(&[], 0), Found::Nothing);
    }

    #[test]
    fn a_search_has_an_end() {
        let powers: Vec<i64> = (0..40).map(|power| 1 << power).collect();
        let mut nodes = 0;
        assert_eq!(unique_subset(&powers, (1 << 40) - 1, &mut nodes, 1 << 21), Found::Unique((0..40).collect()));
        assert_eq!(unique_subset(&powers, 3, &mut nodes, 1 << 21), Found::TooCostly);
        assert_eq!(search(&[1; 41], 1), Found::TooCostly);
        assert_eq!(search(&[i64::MAX, 1], 1), Found::TooCostly);
    }

    proptest! {
        #[test]
        fn as_trying_everything_says(amounts in prop::collection::vec(-20i64..20, 0..9), target in -40i64..40) {
            let fits = |mask: &u32| {
                let sum: i64 = amounts.iter().enumerate().filter(|(at, _)| mask & (1 << at) != 0).map(|(_, amount)| amount).sum();
                sum == target
            };
            let masks: Vec<u32> = (0..1 << amounts.len()).filter(fits).collect();
            let expected = match masks.as_slice() {
                [] | [0] => Found::Nothing,
                [mask] => Found::Unique((0..amounts.len()).filter(|at| mask & (1 << at) != 0).collect()),
                _ => Found::Several,
            };
            prop_assert_eq!(search(&amounts, target), expected);
        }
    }
}
