//! The plugin natively, against a double of the host.

use serde_json::json;
use taskwarden_plugin::Failure;
use taskwarden_plugin::double::HostDouble;

use super::AnomalyScore;
use crate::time::show;

/// Nothing is left out at the end.
const WHOLE: &str = r#"{"last_point_partial": false}"#;

fn daily_csv(days: i64, value: impl Fn(i64) -> f64) -> String {
    let rows = (0..days).map(|day| format!("{},{}\n", show(day * 86_400_000), value(day)));
    format!("date,value\n{}", rows.collect::<String>())
}

fn steady(day: i64) -> f64 {
    100.0 + ((day * 37) % 11) as f64 - if day % 7 > 4 { 30.0 } else { 0.0 }
}

#[test]
fn a_doubled_value_is_an_episode_that_explains_itself() {
    let csv = daily_csv(90, |day| if day == 70 { 2.0 * steady(day) } else { steady(day) });
    let answer = HostDouble::new().payload(WHOLE).input("series", csv).run::<AnomalyScore>().json().expect("succeeds");
    assert_eq!(answer["points"], 90);
    assert_eq!(answer["model"]["season"], "day of the week");
    let episodes = answer["episodes"].as_array().expect("a list");
    assert_eq!(episodes.len(), 1, "{episodes:?}");
    assert_eq!((episodes[0]["peak"].as_str(), episodes[0]["direction"].as_str()), (Some("1970-03-12"), Some("up")));
    assert!(answer["scores"][70]["severity"].as_f64() > Some(50.0) && answer["scores"][69]["severity"].as_f64() < Some(50.0));
    assert!(answer["scores"][70]["high"].as_f64() < Some(2.0 * steady(70)));
}

#[test]
fn the_payload_may_carry_the_series_and_not_both() {
    let host = || {
        HostDouble::new()
            .payload(r#"{"series": [["2026-01-01", 1.0], ["2026-01-02", null]], "mode": "batch", "last_point_partial": false}"#)
    };
    assert_eq!(host().run::<AnomalyScore>().json().expect("succeeds")["points"], 1);
    let both = host().input("series", "1,1\n").run::<AnomalyScore>();
    assert!(matches!(both.result, Err(Failure::Invalid(_))));
}

#[test]
fn mistakes_are_the_submitters_and_say_where() {
    let run = |payload: &str, csv: &str| HostDouble::new().payload(payload).input("series", csv).run::<AnomalyScore>().result;
    assert!(matches!(run("{}", "1,2\n2,x\n"), Err(Failure::Invalid(why)) if why.contains("line 2")));
    assert!(matches!(run(r#"{"alert": 3}"#, ""), Err(Failure::Invalid(why)) if why.contains("alert")));
    assert!(matches!(run(r#"{"alert_score": 0}"#, ""), Err(Failure::Invalid(why)) if why.contains("alert_score")));
    assert!(matches!(HostDouble::new().run::<AnomalyScore>().result, Err(Failure::Invalid(why)) if why.contains("series")));
}

#[test]
fn long_series_leave_a_file_and_an_unfinished_day_is_left_out() {
    let ran = HostDouble::new().input("series", daily_csv(2_501, steady)).run::<AnomalyScore>();
    let answer = ran.json().expect("succeeds");
    assert_eq!((&answer["points"], &answer["dropped_last_point"]), (&json!(2_500), &json!(true)));
    let lines = String::from_utf8(ran.outputs["scores.csv"].bytes.clone()).expect("text");
    assert_eq!(lines.lines().count(), 2_502, "a header and a line for each row, the last one without a score");
    assert_eq!(lines.lines().last(), Some(",,0,0,,,,0,0"));
    let empty = HostDouble::new().payload("null").input("series", "").run::<AnomalyScore>();
    assert_eq!(empty.json().expect("succeeds")["points"], 0);
}

#[test]
fn a_state_carries_a_series_from_task_to_task() {
    for step in [86_400_000, 300_000] {
        let row = |at: i64| format!("{},{}\n", show(at * step), if at == 1150 { 900.0 } else { steady(at) });
        let whole: String = (0..1200).map(row).collect();
        let at_once = HostDouble::new().payload(WHOLE).input("series", &whole).run::<AnomalyScore>();
        let first: String = (0..1000).map(row).collect();
        let rest: String = (1000..1200).map(row).collect();
        let first = HostDouble::new().payload(WHOLE).input("series", first).run::<AnomalyScore>();
        let state = &first.outputs["state"].bytes;
        assert!(state.len() <= 64 * 1024, "{} bytes", state.len());
        let rest = HostDouble::new().payload(WHOLE).input("series", rest).input("state", state).run::<AnomalyScore>();
        let (at_once, rest) = (at_once.json().expect("succeeds"), rest.json().expect("succeeds"));
        assert_eq!(at_once["scores"].as_array().map(|all| &all[1000..]), rest["scores"].as_array().map(Vec::as_slice));
        assert_eq!((&rest["model"]["continued"], &rest["episodes"][0]["peak"]), (&json!(true), &json!(show(1150 * step))));
    }
}

#[test]
fn a_state_that_cannot_be_read_says_what_to_do() {
    let told = |state: &[u8]| match HostDouble::new().input("series", "1,1\n").input("state", state).run::<AnomalyScore>().result {
        Err(Failure::Invalid(why)) => why,
        other => panic!("{other:?}"),
    };
    let good = HostDouble::new().payload(WHOLE).input("series", daily_csv(40, steady)).run::<AnomalyScore>().outputs["state"].bytes.clone();
    assert!(told(b"nonsense").contains("not a state") && told(b"").contains("leave it out"));
    let mut older = good.clone();
    older[0] = b'3';
    assert!(told(&older).contains("has format 3, and this version reads format 4: run once without it"), "{}", told(&older));
    assert!(told(&good[..good.len() / 2]).contains("cut off"), "{}", told(&good[..good.len() / 2]));
}

#[test]
fn rows_that_a_state_has_seen_are_passed_over_and_gaps_between_runs_are_gaps() {
    let csv = daily_csv(90, |day| if (85..87).contains(&day) { 0.0 } else { steady(day) });
    let lines: Vec<&str> = csv.lines().collect();
    let run = |lines: &[&str], state: Option<&[u8]>, payload: &str| {
        let host = HostDouble::new().payload(payload).input("series", format!("{}\n", lines.join("\n")));
        state.into_iter().fold(host, |host, state| host.input("state", state)).run::<AnomalyScore>()
    };
    let first = run(&lines[..81], None, WHOLE);
    let state = first.outputs["state"].bytes.as_slice();
    let (next, weeks) = (run(&lines[81..], Some(state), WHOLE), run(&lines[40..], Some(state), WHOLE));
    let (told, overlapping) = (next.json().expect("succeeds"), weeks.json().expect("succeeds"));
    assert_eq!((&overlapping["already_seen"], &told["already_seen"]), (&json!(41), &serde_json::Value::Null));
    assert_eq!((&told["scores"], &told["episodes"]), (&overlapping["scores"], &overlapping["episodes"]));
    assert_eq!(next.outputs["state"].bytes, weeks.outputs["state"].bytes);
    let scores = String::from_utf8(weeks.outputs["scores.csv"].bytes.clone()).expect("text");
    assert_eq!((scores.lines().nth(1), scores.lines().count()), (Some(",,0,0,,,,0,0"), 52), "a line for each row that was sent");
    // The same two days without rows, between what two runs are given, and one row alone shows no step.
    let zero = r#"{"missing": "zero", "last_point_partial": false}"#;
    let before = run(&lines[..86], None, zero);
    let after = run(&lines[88..89], Some(&before.outputs["state"].bytes), zero).json().expect("succeeds");
    assert_eq!((&after["points"], &after["episodes"][0]["type"]), (&json!(3), &json!("outage")), "{after}");
}

#[test]
fn days_of_a_calendar_stay_where_they_are_in_every_time_zone() {
    let csv = daily_csv(90, |day| if day == 70 { 3.0 * steady(day) } else { steady(day) });
    let ran = |zone: &str, event: &str| {
        let payload =
            format!(r#"{{"last_point_partial": false, "time_zone": "{zone}", "events": [{{"from": "{event}", "effect": "ignore"}}]}}"#);
        HostDouble::new().payload(payload).input("series", &csv).run::<AnomalyScore>().json().expect("succeeds")
    };
    for event in ["1970-03-12", "1970/03/12", "19700312"] {
        let utc = ran("UTC0", event);
        assert_eq!(utc["episodes"], json!([]), "{event}");
        for zone in ["EST5EDT,M3.2.0,M11.1.0", "CET-1CEST,M3.5.0,M10.5.0/3", "NZST-12"] {
            assert_eq!(ran(zone, event)["scores"], utc["scores"], "{zone} {event}");
        }
    }
}

#[test]
fn rows_are_scored_by_their_own_task_type() {
    let mut csv = "ms,tokens\n".to_owned();
    for row in 0..120u32 {
        let ms = 100 + (row * 7919) % 50;
        csv += &format!("{ms},{}\n", if row == 60 { 9000 } else { ms * 3 + row % 5 });
    }
    let ran = HostDouble::new().task_type("anomaly.rows").input("rows", csv).run::<AnomalyScore>();
    let answer = ran.json().expect("succeeds");
    assert_eq!((&answer["rows"], &answer["alerts"][0]["row"]), (&json!(120), &json!(60)));
    assert_eq!(answer["alerts"][0]["reasons"][0]["column"], "tokens");
    assert_eq!(ran.outputs["scores.csv"].bytes.iter().filter(|byte| **byte == b'\n').count(), 121);
    let payload = HostDouble::new().task_type("anomaly.rows").payload(r#"{"rows": [[1, 2], [1, null], [2, 2]], "columns": ["a", "b"]}"#);
    assert_eq!(payload.run::<AnomalyScore>().json().expect("succeeds")["rows"], 3);
    let large = vec!["1"; 250].join(",");
    let table = format!("{}\n{}", (0..250).map(|at| format!("c{at}")).collect::<Vec<_>>().join(","), vec![large; 3_900].join("\n"));
    let refused = HostDouble::new().task_type("anomaly.rows").input("rows", table).run::<AnomalyScore>();
    assert!(matches!(refused.result, Err(Failure::Invalid(why)) if why.contains("fuel")), "refused before it is computed");
}

#[test]
fn a_step_without_a_row_means_what_the_submitter_says() {
    // Nothing at all came on days 80 to 82.
    let csv: String =
        (0..90).filter(|day| !(80..83).contains(day)).map(|day| format!("{},{}\n", show(day * 86_400_000), steady(day))).collect();
    let ran = |missing: &str| {
        let payload = format!(r#"{{"missing": "{missing}", "last_point_partial": false}}"#);
        HostDouble::new().payload(payload).input("series", &csv).run::<AnomalyScore>()
    };
    let zero = ran("zero");
    let answer = zero.json().expect("succeeds");
    assert_eq!((&answer["points"], &answer["episodes"][0]["type"]), (&json!(90), &json!("outage")));
    assert_eq!(answer["episodes"][0]["onset"], show(80 * 86_400_000));
    assert_eq!(zero.outputs["scores.csv"].bytes.iter().filter(|byte| **byte == b'\n').count(), 88, "one line for each row there was");
    let ignored = ran("ignore").json().expect("succeeds");
    assert_eq!((&ignored["points"], &ignored["episodes"]), (&json!(87), &json!([])));
}

#[test]
fn an_outage_is_told_while_it_lasts_and_not_when_it_is_over() {
    // Others: an outage without rows was reported at recovery. Here the last row is of day 87, and it is day 90.
    let csv = daily_csv(88, steady);
    let ran = |more: &str| {
        let payload = format!(r#"{{"missing": "zero", "last_point_partial": false{more}}}"#);
        HostDouble::new().payload(payload).input("series", &csv).run::<AnomalyScore>()
    };
    let until = format!(r#", "until": "{}""#, show(90 * 86_400_000));
    let answer = ran(&until).json().expect("succeeds");
    let episode = &answer["episodes"][0];
    assert_eq!((&answer["points"], &episode["type"], &episode["ongoing"]), (&json!(90), &json!("outage"), &json!(true)), "{answer}");
    assert_eq!(episode["onset"], show(88 * 86_400_000));
    assert_eq!(ran("").json().expect("succeeds")["episodes"], json!([]), "without it nobody knows that something should have come");
    let far = HostDouble::new().payload(r#"{"missing": "zero", "until": "9999-01-01"}"#).input("series", &csv).run::<AnomalyScore>();
    assert!(matches!(far.result, Err(Failure::Invalid(why)) if why.contains("more than 1000000 points")));
    let alone = HostDouble::new().payload(r#"{"until": "2026-01-01"}"#).input("series", &csv).run::<AnomalyScore>();
    assert!(matches!(alone.result, Err(Failure::Invalid(why)) if why.contains("missing")));
}

#[test]
fn an_unfinished_day_does_not_alert() {
    // Others: every check during the day fired, because the day was not complete.
    let csv = daily_csv(90, |day| if day == 89 { 0.2 * steady(day) } else { steady(day) });
    let answer = HostDouble::new().input("series", &csv).run::<AnomalyScore>().json().expect("succeeds");
    assert_eq!((&answer["dropped_last_point"], &answer["episodes"]), (&json!(true), &json!([])));
    let whole = HostDouble::new().payload(WHOLE).input("series", &csv).run::<AnomalyScore>().json().expect("succeeds");
    assert_eq!(whole["episodes"][0]["direction"], "down");
}

#[test]
fn what_goes_on_is_not_over_because_it_is_no_news_any_more() {
    // Three bad hours after less than three good days: the second and the third are like the first.
    let rate = |hour: i64| {
        if hour >= 60 {
            0.52
        } else if hour % 3 == 0 {
            0.96
        } else {
            1.0
        }
    };
    let csv: String = (0..63).map(|hour| format!("{},{},25\n", show(hour * 3_600_000), rate(hour))).collect();
    let answer = HostDouble::new().payload(WHOLE).input("series", csv).run::<AnomalyScore>().json().expect("succeeds");
    let episode = &answer["episodes"][0];
    assert_eq!((&episode["onset"], &episode["end"]), (&json!(show(60 * 3_600_000)), &json!(show(62 * 3_600_000))), "{episode}");
    assert_eq!((&episode["ongoing"], &episode["direction"], &answer["model"]["kind"]), (&json!(true), &json!("down"), &json!("ratio")));
}
