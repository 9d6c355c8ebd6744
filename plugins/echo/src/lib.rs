//! Answers with the payload and what it saw of the task. Options in the payload let people try the host.

use std::io::Write;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use taskwarden_plugin::{Failure, OrFail, Plugin, Task, log, output, progress};

/// What is answered.
#[derive(Serialize)]
pub struct Echo {
    payload: Box<RawValue>,
    task_type: String,
    ai_model: Option<String>,
    attempt: u32,
}

/// The plugin.
pub struct EchoPlugin;

impl Plugin for EchoPlugin {
    /// Any JSON: it is handed back as it came, key order and number spelling included.
    type Payload = Box<RawValue>;
    type Output = Echo;

    fn execute(task: &Task, payload: Box<RawValue>) -> Result<Echo, Failure> {
        if payload.get().starts_with('{') {
            follow(&serde_json::from_str(payload.get()).or_invalid("payload")?)?;
        }
        Ok(Echo { payload, task_type: task.task_type.clone(), ai_model: task.ai_model.clone(), attempt: task.attempt })
    }
}

taskwarden_plugin::export!(EchoPlugin);

/// Does what the options say. Fields that are no option are just payload.
fn follow(options: &Value) -> Result<(), Failure> {
    if let Some(line) = options.get("log").and_then(Value::as_str) {
        log::info(line);
    }
    if let Some(steps) = number(options, "progress_steps")? {
        for step in 1..=steps {
            progress(step as f32 / steps as f32, format!("step {step} of {steps}"));
        }
    }
    if let Some(fuel) = number(options, "spin_fuel")? {
        spin(fuel);
    }
    if let Some(bytes) = number(options, "output_bytes")? {
        write_output(bytes)?;
    }
    match options.get("fail").map(|kind| kind.as_str().unwrap_or_default()) {
        None => Ok(()),
        Some("invalid") => Err(Failure::invalid("the payload asked for an invalid task")),
        Some("permanent") => Err(Failure::permanent("the payload asked for a permanent failure")),
        Some("transient") => Err(Failure::transient("the payload asked for a transient failure")),
        Some(_) => Err(Failure::invalid("fail is \"invalid\", \"permanent\" or \"transient\"")),
    }
}

fn number(options: &Value, name: &str) -> Result<Option<u64>, Failure> {
    options.get(name).map(|value| value.as_u64().or_invalid(format!("{name} is a whole number"))).transpose()
}

/// Burns roughly `fuel` units, one being about one instruction.
fn spin(fuel: u64) {
    /// Instructions in one turn of the loop, as measured by what the host counts.
    const FUEL_PER_TURN: u64 = 11;
    let mut state = fuel | 1;
    for _ in 0..fuel / FUEL_PER_TURN {
        state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

fn write_output(bytes: u64) -> Result<(), Failure> {
    let mut out = output("filler.txt", "text/plain")?;
    let line = [b'x'; 1024];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(line.len());
        out.write_all(line.get(..part).unwrap_or_default())?;
        left -= part as u64;
    }
    Ok(out.finish()?)
}

#[cfg(test)]
mod tests {
    use taskwarden_plugin::double::{HostDouble, Ran};

    use super::*;

    fn echo(payload: &str) -> Ran {
        HostDouble::new().task_type("implement_idea").ai_model("opus").payload(payload).run::<EchoPlugin>()
    }

    #[test]
    fn the_payload_comes_back_as_it_went_in() {
        for payload in ["null", "[1.0,2e5]", r#"{"z":1,"a":{"10000000000000000000001":1}}"#] {
            let answer = String::from_utf8(echo(payload).result.expect("succeeds")).expect("text");
            let expected = format!(r#"{{"payload":{payload},"task_type":"implement_idea","ai_model":"opus","attempt":1}}"#);
            assert_eq!(answer, expected);
        }
    }

    #[test]
    fn options_are_followed() {
        let ran = echo(r#"{"log": "hi", "progress_steps": 4, "spin_fuel": 1000, "output_bytes": 2500}"#);
        assert!(ran.result.is_ok());
        assert_eq!(ran.logs.first().map(|line| line.message.as_str()), Some("hi"));
        assert_eq!(ran.progress.last(), Some(&(1.0, "step 4 of 4".to_owned())));
        assert_eq!(ran.outputs["filler.txt"].bytes.len(), 2500);
    }

    #[test]
    fn it_fails_as_asked_and_says_when_the_asking_was_wrong() {
        assert!(matches!(echo(r#"{"fail": "invalid"}"#).result, Err(Failure::Invalid(_))));
        assert!(matches!(echo(r#"{"fail": "permanent"}"#).result, Err(Failure::Permanent(_))));
        assert!(matches!(echo(r#"{"fail": "transient"}"#).result, Err(Failure::Transient { .. })));
        assert!(matches!(echo(r#"{"fail": 3}"#).result, Err(Failure::Invalid(reason)) if reason.contains("transient")));
        assert!(matches!(echo(r#"{"spin_fuel": -1}"#).result, Err(Failure::Invalid(reason)) if reason.contains("spin_fuel")));
    }
}
