//! Local outlier factor: how much thinner it is around a point than around its neighbours (Breunig et al., "LOF: identifying density-based
//! local outliers", SIGMOD 2000). One means as dense as the neighbours.

use crate::matrix::{Matrix, Neighbour};
use crate::stats::median;

/// Neighbours of the reference points, and how dense it is around each.
pub(crate) struct Local<'a> {
    among: &'a Matrix,
    count: usize,
    neighbours: Vec<Neighbour>,
    reach: Vec<f64>,
    /// No point is closer to another than this. Among whole numbers many points are one, and nothing is thin beside what is infinitely dense.
    grain: f64,
    density: Vec<f64>,
}

impl<'a> Local<'a> {
    pub(crate) fn new(among: &'a Matrix, count: usize) -> Self {
        let count = count.min(among.rows().saturating_sub(1)).max(1);
        let mut found = Vec::with_capacity(among.rows());
        let mut neighbours: Vec<Neighbour> = Vec::with_capacity(among.rows() * count);
        let mut reach = Vec::with_capacity(among.rows());
        for at in 0..among.rows() {
            among.nearest(among.row(at), u32::try_from(at).ok(), count, &mut found);
            reach.push(found.last().map_or(0.0, |neighbour| neighbour.0));
            neighbours.extend_from_slice(&found);
        }
        let apart =
            neighbours.chunks(count).filter_map(|around| around.iter().map(|(distance, _)| *distance).find(|distance| *distance > 0.0));
        let grain = median(&mut apart.collect::<Vec<_>>());
        let density = neighbours.chunks(count).map(|around| density(around, &reach, grain)).collect();
        Self { among, count, neighbours, reach, grain, density }
    }

    /// The neighbours of a point: of one of the reference points they are known, of another they are looked for.
    pub(crate) fn around<'b>(&'b self, point: &[f64], itself: Option<usize>, found: &'b mut Vec<Neighbour>) -> &'b [Neighbour] {
        if let Some(known) = itself.and_then(|at| self.neighbours.chunks(self.count).nth(at)) {
            return known;
        }
        self.among.nearest(point, None, self.count, found);
        found
    }

    /// The factor of a point with these neighbours.
    pub(crate) fn factor(&self, around: &[Neighbour]) -> f64 {
        let densities: f64 = around.iter().filter_map(|(_, at)| self.density.get(*at as usize)).sum();
        densities / around.len().max(1) as f64 / density(around, &self.reach, self.grain)
    }
}

fn density(neighbours: &[Neighbour], reach: &[f64], grain: f64) -> f64 {
    let sum: f64 = neighbours.iter().map(|(distance, at)| distance.max(reach.get(*at as usize).copied().unwrap_or(0.0)).max(grain)).sum();
    1.0 / (sum / neighbours.len().max(1) as f64 + 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_point_is_thinner_than_its_neighbours() {
        let mut cells: Vec<f64> = (0..50).map(f64::from).collect();
        cells.push(90.0);
        let points = Matrix { width: 1, cells };
        let local = Local::new(&points, 5);
        let mut found = Vec::new();
        assert!(local.factor(local.around(&[90.0], Some(50), &mut found)) > 5.0);
        assert!((local.factor(local.around(&[25.0], Some(25), &mut found)) - 1.0).abs() < 0.1);
        assert!(local.factor(local.around(&[150.0], None, &mut found)) > 5.0);
        assert_eq!(found.len(), 5);
    }
}
