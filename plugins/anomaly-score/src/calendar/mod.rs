//! Series with a point a day or fewer: a baseline that knows the calendar, and what counts as unusual against it.

mod baseline;
mod search;
mod unusual;

use crate::kind::Scale;
use crate::math::{interpolate, interpolate_back};
use crate::model::{Heed, Judged};
use crate::state::{Reader, StateError, Writer};
use baseline::Baseline;
pub(crate) use baseline::{CYCLE_MAX, Place};
use search::{Model, Search};
use unusual::Unusual;

/// From standard deviations to −log10 of the share of days that are as unusual: measured on the development series, on days
/// without a labelled anomaly.
const CALIBRATION: [(f64, f64); 8] = [(0.0, 0.0), (1.33, 0.3), (1.73, 0.52), (2.46, 1.0), (3.3, 1.5), (4.1, 2.0), (5.66, 2.52), (8.5, 3.0)];

#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    scale: Scale,
    baseline: Baseline,
    unusual: Unusual,
    alerting: bool,
    /// The cycle that was found in the series, if it has one that is in no calendar.
    found: Option<usize>,
    /// While one is looked for.
    search: Option<Search>,
}

/// One point for the calendar model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Day {
    pub(crate) place: Place,
    pub(crate) value: f64,
    /// The denominator of a ratio.
    pub(crate) total: Option<f64>,
    pub(crate) heed: Heed,
    /// How far this day is known to be off, on the model's scale: a holiday that was seen before.
    pub(crate) known_effect: f64,
}

impl Calendar {
    pub(crate) fn new(scale: Scale, cycle: usize, by_month: bool) -> Self {
        Self { scale, baseline: Baseline::new(cycle, by_month), unusual: Unusual::default(), alerting: false, found: None, search: None }
    }

    /// One that looks for a cycle that the calendar does not know, as it goes.
    pub(crate) fn searching(self) -> Self {
        Self { search: Some(Search::default()), ..self }
    }

    fn with_found(scale: Scale, cycle: usize, by_month: bool) -> Self {
        Self { found: Some(cycle), ..Self::new(scale, cycle, by_month) }
    }

    /// The cycle that was found in the series, if it has one that is in no calendar.
    pub(crate) fn found(&self) -> Option<usize> {
        self.found
    }

    /// The residual on the model's scale comes back beside the judgement.
    pub(crate) fn push(&mut self, met: Day, options: &crate::Options) -> (Judged, f64) {
        let day = Day { place: self.found.map_or(met.place, |cycle| met.place.in_cycle(cycle)), ..met };
        let y = self.scale.forth(day.value) - day.known_effect;
        let floor = self.scale.noise_floor(day.total);
        let forecast = self.baseline.forecast(day.place, floor);
        let off = y - forecast.mean;
        let boundary = interpolate_back(&CALIBRATION, options.alert_score);
        let back = |offset: f64| self.scale.back(forecast.mean + day.known_effect + offset);
        let (expected, low, high) = (back(0.0), back(-boundary * forecast.sd), back(boundary * forecast.sd));
        if day.heed == Heed::Ignore {
            return (Judged { low, high, ..Judged::quiet(expected) }, off);
        }
        let z = forecast.z(off);
        let unusual = self.unusual.push(z, options.direction);
        self.baseline.learn(day.place, y, &forecast, day.heed);
        let ratio = unusual / boundary;
        let opens = ratio >= 1.0 && !self.alerting;
        self.alerting = ratio >= 1.0;
        let judged = Judged {
            expected,
            low,
            high,
            score: interpolate(&CALIBRATION, unusual),
            deviation: z,
            lately: unusual,
            evidence: unusual,
            ratio,
            opens,
        };
        let model = Model { scale: self.scale, cycle: self.baseline.cycle(), by_month: self.baseline.by_month() };
        if let Some(better) = self.search.as_mut().and_then(|search| search.push(met, off, z, model, options)) {
            *self = better;
        }
        (judged, off)
    }

    /// Starts again as the same kind of model.
    pub(crate) fn forget(&mut self) {
        *self = Self { baseline: self.baseline.fresh(), unusual: Unusual::default(), ..self.clone() };
    }

    /// From going backwards to going forwards: what is known of the calendar stays, where the level goes from here does not.
    pub(crate) fn turn(&mut self) {
        self.baseline.turn();
        self.unusual = Unusual::default();
        self.alerting = false;
    }

    pub(crate) fn save(&self, to: &mut Writer) {
        self.scale.save(to);
        to.u8(u8::from(self.alerting));
        self.unusual.save(to);
        self.baseline.save(to);
        to.u32(self.found.and_then(|cycle| u32::try_from(cycle).ok()).unwrap_or(0));
        to.u8(u8::from(self.search.is_some()));
        if let Some(search) = &self.search {
            search.save(to);
        }
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let scale = Scale::load(from)?;
        let alerting = from.u8()? != 0;
        let (unusual, baseline) = (Unusual::load(from)?, Baseline::load(from)?);
        let found = Some(from.count(CYCLE_MAX)?).filter(|cycle| *cycle > 0);
        let search = if from.u8()? == 0 { None } else { Some(Search::load(from)?) };
        Ok(Self { scale, baseline, unusual, alerting, found, search })
    }
}
