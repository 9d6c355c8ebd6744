//! Rows that lie together. Among those that stand apart: ten tasks that went wrong in the same way are one piece of news, not ten. Among all of
//! them: which kinds of rows there are, and whether one of the kinds is small (DBSCAN: Ester et al., "A density-based algorithm for
//! discovering clusters", KDD 1996).

#![expect(clippy::indexing_slicing, reason = "positions are below the number of points")]

use crate::matrix::Matrix;

/// So many rows close together are a group.
const MEMBERS_MIN: usize = 5;

/// The number of each point's group, or none. Groups are numbered in the order of their first members. Neighbours are looked for when they are
/// needed: all of them together would not fit into memory.
pub(crate) fn groups(points: &Matrix, within: f64) -> Vec<Option<usize>> {
    let count = points.rows();
    let square = within * within;
    let close = |at: usize, found: &mut Vec<usize>| {
        let here = points.row(at);
        let near = |other: &usize| here.iter().zip(points.row(*other)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() <= square;
        found.clear();
        found.extend((0..count).filter(near));
    };
    let mut group = vec![None; count];
    let mut groups = 0;
    let mut near = Vec::new();
    for first in 0..count {
        if group[first].is_some() {
            continue;
        }
        close(first, &mut near);
        if near.len() < MEMBERS_MIN {
            continue;
        }
        group[first] = Some(groups);
        let mut waiting: Vec<usize> = near.iter().copied().filter(|other| group[*other].is_none()).collect();
        waiting.iter().for_each(|at| group[*at] = Some(groups));
        while let Some(at) = waiting.pop() {
            close(at, &mut near);
            // Points at a group's edge belong to it and do not carry it on.
            if near.len() < MEMBERS_MIN {
                continue;
            }
            for other in near.iter().copied() {
                if group[other].is_none() {
                    group[other] = Some(groups);
                    waiting.push(other);
                }
            }
        }
        groups += 1;
    }
    group
}

/// The same with groups numbered by their size, the largest first; of equally large ones the one that begins first.
pub(crate) fn by_size(groups: &mut [Option<usize>]) {
    let count = groups.iter().flatten().max().map_or(0, |last| last + 1);
    let mut sizes = vec![0usize; count];
    groups.iter().flatten().for_each(|group| sizes[*group] += 1);
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|group| (std::cmp::Reverse(sizes[*group]), *group));
    let mut rank = vec![0; count];
    order.iter().enumerate().for_each(|(new, old)| rank[*old] = new);
    groups.iter_mut().flatten().for_each(|group| *group = rank[*group]);
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
        let mut renumbered = vec![Some(0), None, Some(1), Some(1), Some(2)];
        by_size(&mut renumbered);
        assert_eq!(renumbered, [Some(1), None, Some(0), Some(0), Some(2)]);
    }
}
