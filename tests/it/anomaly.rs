//! The anomaly plugin as its users get it: compiled, packed, in the real sandbox; what it computes there, and what it costs.

use serde_json::{Value, json};
use taskwarden_anomaly_score::{Mode, Options, Table, read_csv, score, score_rows};
use taskwarden_testkit::{Kit, Outcome, TestRun, TestTask};

use crate::guests;

const DAY_S: i64 = 86_400;

fn kit() -> Kit {
    Kit::from_bytes(&guests::component("anomaly-score"))
}

/// A series of so many points from 2026 on, this many seconds apart.
fn csv(points: i64, step_s: i64, value: impl Fn(i64) -> f64) -> String {
    (0..points).map(|at| format!("{},{}\n", 1_767_225_600 + at * step_s, value(at))).collect()
}

/// Weekdays, weekends and some noise; on one day next to nothing.
fn daily(at: i64) -> f64 {
    let usual = 1000.0 + ((at * 37) % 23) as f64 - if at % 7 > 4 { 300.0 } else { 0.0 };
    if at == 300 { 20.0 } else { usual * 1.01 }
}

/// A wave a day with noise in steps of a thousandth, and a burst.
fn five_minutes(at: i64) -> f64 {
    let of_day = (at % 288) as f64 / 288.0;
    let wave = 40.0 * of_day * (1.0 - of_day) + ((at * 7919) % 997) as f64 / 997.0;
    if (2500..2510).contains(&at) { wave + 15.0 } else { wave }
}

/// A share of cases every hour, with how many there were: few at night; and some bad hours.
fn rates(hours: i64) -> String {
    let row = |at: i64| {
        let cases = if at % 24 < 7 { 1 + at % 3 } else { 80 + (at * 37) % 41 };
        let good = cases - ((at * 7919) % 97) / 33 % (cases + 1) - if (900..906).contains(&at) { cases / 4 } else { 0 };
        format!("{},{},{cases}\n", 1_767_225_600 + at * 3_600, good.max(0) as f64 / cases as f64)
    };
    (0..hours).map(row).collect()
}

/// One number of each line of `scores.csv`, as it is written there.
fn column(run: &TestRun, at: usize) -> Vec<String> {
    let text = String::from_utf8(run.output("scores.csv").to_vec()).expect("text");
    text.lines().skip(1).map(|line| line.split(',').nth(at).expect("a cell").to_owned()).collect()
}

#[test]
fn anomaly_scores_are_the_same_bits_in_the_sandbox_as_outside() {
    for (series, mode) in [
        (csv(400, DAY_S, daily), Mode::Streaming),
        (csv(400, DAY_S, daily), Mode::Batch),
        (csv(3000, 300, five_minutes), Mode::Streaming),
        (csv(3000, 300, five_minutes), Mode::Batch),
        (rates(1200), Mode::Streaming),
        (rates(1200), Mode::Batch),
    ] {
        let payload = json!({ "mode": mode, "last_point_partial": false });
        let task = || TestTask::new("anomaly.score").payload(&payload).input("series", series.clone());
        let (run, again) = (kit().run(task()), kit().run(task()));
        let points = read_csv(series.as_bytes()).expect("good").points;
        let (native, _) = score(&points, &Options { mode, ..Options::default() });
        // A number is written with as many digits as it takes to read the same bits back.
        let written =
            |number: fn(&taskwarden_anomaly_score::Scored) -> f64| native.iter().map(|p| number(p).to_string()).collect::<Vec<_>>();
        assert_eq!(column(&run, 2), written(|p| p.score), "{mode:?}");
        assert_eq!(column(&run, 3), written(|p| p.severity), "{mode:?}");
        assert_eq!(column(&run, 7), written(|p| p.lately), "{mode:?}");
        assert_eq!(run.output("scores.csv"), again.output("scores.csv"));
        assert_eq!(run.json(), again.json());
    }
}

#[test]
fn rows_are_scored_to_the_same_bits_too() {
    let mut text = "ms,tokens,load\n".to_owned();
    for row in 0..400i64 {
        let ms = if row % 3 == 0 { 2000.0 } else { 150.0 } + ((row * 7919) % 101) as f64 / 7.0;
        let tokens = if row == 200 { 9.0 } else { ms * 2.5 + ((row * 31) % 13) as f64 };
        text += &format!("{ms},{tokens},{}\n", (row * 17) % 29);
    }
    let run = kit().run(TestTask::new("anomaly.rows").input("rows", text.clone()));
    let native = score_rows(&Table::read_csv(text.as_bytes()).expect("good"));
    assert_eq!(column(&run, 1), native.iter().map(|row| row.score.to_string()).collect::<Vec<_>>());
    assert_eq!(run.json()["alerts"][0]["row"], 200);
    run.assert_memory_at_most(8 << 20);
}

#[test]
fn an_outage_is_an_episode_of_its_kind() {
    let run = kit().run(TestTask::new("anomaly.score").input("series", csv(400, DAY_S, daily)));
    let answer = run.json();
    let worst = answer["episodes"].as_array().and_then(|all| all.iter().max_by(|a, b| severity(a).total_cmp(&severity(b)))).cloned();
    let worst = worst.expect("an episode");
    assert_eq!((&worst["type"], &worst["direction"]), (&json!("outage"), &json!("down")));
    assert!(worst["explanation"].as_str().is_some_and(|why| why.contains("there was 20")), "{worst}");
}

fn severity(episode: &Value) -> f64 {
    episode["severity"].as_f64().expect("a number")
}

#[test]
fn a_state_goes_from_task_to_task() {
    let whole = csv(3000, 300, five_minutes);
    let (first, rest): (Vec<&str>, Vec<&str>) = (whole.lines().take(2000).collect(), whole.lines().skip(2000).collect());
    let payload = json!({ "last_point_partial": false });
    let task = |series: String| TestTask::new("anomaly.score").payload(&payload).input("series", series);
    let at_once = kit().run(task(whole.clone()));
    let first = kit().run(task(first.join("\n")));
    let state = first.output("state").to_vec();
    assert!(state.len() <= 64 * 1024, "{} bytes", state.len());
    let rest = kit().run(task(rest.join("\n")).input("state", state));
    assert_eq!(column(&at_once, 2)[2000..], column(&rest, 2));
}

#[test]
fn a_thousand_days_and_a_million_points_stay_within_their_means() {
    let whole = json!({ "last_point_partial": false });
    let days = kit().run(TestTask::new("anomaly.score").payload(json!({ "mode": "batch" })).input("series", csv(1000, DAY_S, daily)));
    days.assert_succeeded().assert_memory_at_most(8 << 20);
    let minutes = kit().run(TestTask::new("anomaly.score").payload(&whole).input("series", csv(20_000, 300, five_minutes)));
    minutes.assert_succeeded().assert_memory_at_most(8 << 20).assert_fuel_at_most(20_000 * 110_000);
    let batch = json!({ "mode": "batch", "last_point_partial": false });
    let minutes = kit().run(TestTask::new("anomaly.score").payload(&batch).input("series", csv(20_000, 300, five_minutes)));
    minutes.assert_succeeded().assert_memory_at_most(8 << 20).assert_fuel_at_most(20_000 * 240_000);
    // About the longest that is not refused.
    let longest = kit().run(TestTask::new("anomaly.score").payload(&whole).input("series", csv(400_000, 60, five_minutes)));
    longest.assert_succeeded().assert_memory_at_most(128 << 20);
    let too_many = kit().run(TestTask::new("anomaly.score").payload(json!({ "mode": "batch" })).input("series", csv(400_000, 60, daily)));
    too_many.assert_outcome(Outcome::Invalid).assert_error_contains("fuel").assert_error_contains("send a shorter stretch");
    let too_many = kit().run(TestTask::new("anomaly.score").payload(&whole).input("series", csv(450_000, 60, daily)));
    too_many.assert_outcome(Outcome::Invalid).assert_error_contains("fuel").assert_error_contains("carry the state");
}

#[test]
fn a_bad_line_is_the_submitters_and_is_named() {
    let run = kit().run(TestTask::new("anomaly.score").input("series", "timestamp,value\n2026-01-01,1\n2026-01-02,many\n"));
    run.assert_outcome(Outcome::Invalid).assert_error_contains("line 3").assert_error_contains("many");
    kit().run(TestTask::new("anomaly.score")).assert_outcome(Outcome::Invalid).assert_error_contains("series");
    kit().run(TestTask::new("anomaly.rows")).assert_outcome(Outcome::Invalid).assert_error_contains("rows");
}
