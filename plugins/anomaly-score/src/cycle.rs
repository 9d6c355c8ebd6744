//! Where a series comes back to itself: cycles in what a model leaves unexplained, by autocorrelation.

/// Longer cycles are not looked for: what is known of them would take too long to learn from.
pub(crate) const LONGEST: usize = 35;
/// A cycle has to be seen so often.
const CYCLES_MIN: usize = 4;
/// What is off comes again after a cycle: at least with this correlation, ...
const CORRELATION_MIN: f64 = 0.3;
/// ... and by this many standard errors of one.
const ERRORS_MIN: f64 = 5.0;
/// A shorter cycle speaks for its multiples when it correlates almost as well.
const ALMOST: f64 = 0.9;
/// No single point has more of a say than this, in standard deviations.
pub(crate) const CLIP: f64 = 3.0;
/// What the calendar leaves has to become smaller by this share, or its own cycle is kept.
pub(crate) const SMALLER_BY: f64 = 0.15;

/// The cycles worth a try for a series that a calendar with a cycle of its own does not explain: the lag at which it comes again, and that
/// together with the calendar's.
pub(crate) fn candidates(off: &[f64], calendar: usize) -> impl Iterator<Item = usize> {
    let found = period(off);
    let both = found.map(|period| least_common_multiple(period, calendar)).filter(|both| found != Some(*both));
    found.into_iter().chain(both).filter(move |cycle| *cycle <= LONGEST && *cycle != calendar)
}

/// The lag at which a series is most like itself, if it is.
fn period(off: &[f64]) -> Option<usize> {
    let mean = off.iter().sum::<f64>() / off.len().max(1) as f64;
    let square: f64 = off.iter().map(|x| (x - mean) * (x - mean)).sum();
    let correlation = |lag: usize| {
        let later = off.get(lag..).unwrap_or_default();
        later.iter().zip(off).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / square.max(f64::MIN_POSITIVE)
    };
    let longest = LONGEST.min(off.len() / CYCLES_MIN);
    let all: Vec<f64> = (0..=longest + 1).map(correlation).collect();
    let at = |lag: usize| all.get(lag).copied().unwrap_or(0.0);
    // A cycle is a peak: what only changes slowly is like itself at every lag.
    let peak = |lag: &usize| at(*lag) > at(lag - 1) && at(*lag) >= at(lag + 1) && at(*lag) > at(1) + 0.1;
    let least = CORRELATION_MIN.max(ERRORS_MIN / (off.len() as f64).sqrt());
    let lags = || (2..=longest).filter(peak).filter(|lag| at(*lag) >= least);
    let highest = lags().map(at).fold(0.0, f64::max);
    lags().find(|lag| at(*lag) >= ALMOST * highest)
}

fn least_common_multiple(one: usize, other: usize) -> usize {
    let (mut a, mut b) = (one, other);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    one / a.max(1) * other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_and_nothing() {
        assert_eq!((least_common_multiple(10, 7), least_common_multiple(14, 7), period(&[])), (70, 14, None));
        let ten: Vec<f64> = (0..100).map(|at| if at % 10 == 3 { 2.0 } else { 0.0 }).collect();
        assert_eq!(candidates(&ten, 7).collect::<Vec<_>>(), [10]);
        assert_eq!(candidates(&ten, 10).count(), 0);
    }
}
