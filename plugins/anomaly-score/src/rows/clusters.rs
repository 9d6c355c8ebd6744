//! Groups among rows that stand apart: ten tasks that went wrong in the same way are one piece of news, not ten (DBSCAN: Ester et al.,
//! "A density-based algorithm for discovering clusters", KDD 1996).

#![expect(clippy::indexing_slicing, reason = "positions are below the number of points")]

use crate::matrix::Matrix;

/// So many rows close together are a group.
const MEMBERS_MIN: usize = 5;

/// The number of each point's group, or none. Groups are numbered in the order of their first members.
pub(crate) fn groups(points: &Matrix, within: f64) -> Vec<Option<usize>> {
    let count = points.rows();
    let close: Vec<Vec<usize>> = (0..count)
        .map(|at| {
            let here = points.row(at);
            let near = |other: &usize| here.iter().zip(points.row(*other)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() <= within * within;
            (0..count).filter(near).collect()
        })
        .collect();
    let mut group = vec![None; count];
    let mut groups = 0;
    for first in 0..count {
        if group[first].is_some() || close[first].len() < MEMBERS_MIN {
            continue;
        }
        let mut waiting = vec![first];
        while let Some(at) = waiting.pop() {
            if group[at].is_some() {
                continue;
            }
            group[at] = Some(groups);
            // Points at a group's edge belong to it and do not carry it on.
            if close[at].len() >= MEMBERS_MIN {
                waiting.extend(close[at].iter().copied().filter(|other| group[*other].is_none()));
            }
        }
        groups += 1;
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_together_is_a_group_and_what_lies_alone_is_none() {
        let mut cells: Vec<f64> = (0..8).map(|i| f64::from(i) * 0.1).collect();
        cells.extend([50.0, 100.0]);
        cells.extend((0..6).map(|i| 200.0 + f64::from(i) * 0.1));
        let found = groups(&Matrix { width: 1, cells }, 0.5);
        assert_eq!((found[0], found[7], found[8], found[9], found[15]), (Some(0), Some(0), None, None, Some(1)));
    }
}
