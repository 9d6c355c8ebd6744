//! Labelled series from a folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;
use taskwarden_anomaly_score::{Shape, Way, read_csv};

use super::{Case, Truth};

#[derive(Deserialize)]
struct Label {
    ranges: Vec<Range>,
}

#[derive(Deserialize)]
struct Range {
    start: usize,
    end: usize,
    #[serde(rename = "type")]
    name: String,
    direction: String,
}

pub(crate) fn cases(folder: &Path) -> Result<Vec<Case>, Box<dyn std::error::Error>> {
    let labels: BTreeMap<String, Label> = serde_json::from_reader(BufReader::new(File::open(folder.join("labels.json"))?))?;
    let mut cases = Vec::new();
    for (name, label) in labels {
        let series = read_csv(BufReader::new(File::open(folder.join(format!("{name}.csv")))?))?;
        let truths = label.ranges.iter().map(truth).collect::<Result<_, _>>()?;
        cases.push(Case { points: series.points, truths });
    }
    Ok(cases)
}

fn truth(range: &Range) -> Result<Truth, String> {
    // A dip to nothing is an outage, and a duplicated day is a spike like another.
    let (shapes, ends) = match range.name.as_str() {
        "dip" => (vec![Shape::Dip, Shape::Outage], true),
        "spike" | "duplicate_day" => (vec![Shape::Spike], true),
        "outage" => (vec![Shape::Outage], true),
        "level_up" | "level_down" => (vec![Shape::LevelShift], false),
        "slow_decline" => (vec![Shape::TrendChange], false),
        "variance" => (vec![Shape::Variance], true),
        "week_pattern" => (vec![Shape::SeasonBreak], true),
        other => return Err(format!("no kind of episode is known for the label {other}")),
    };
    let way = match range.direction.as_str() {
        "up" => Some(Way::Up),
        "down" => Some(Way::Down),
        _ => None,
    };
    Ok(Truth { shapes, way, start: range.start, end: ends.then_some(range.end), until: range.end })
}
