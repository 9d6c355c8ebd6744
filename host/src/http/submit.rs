//! From a submission as it was sent to a [`NewTask`] that cannot be wrong. Everything about one is checked here, once.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::config::ApiConfig;
use super::json::{canonical_digest, check_depth};
use super::problem::{Answer, Code, Problem};
use super::wire::{Submission, Text, UniqueMap};
use crate::clock::UnixMs;
use crate::limits::{Limit, LimitSet};
use crate::plugin::Misfit;
use crate::registry::{Plugin, Snapshot};
use crate::task::{AiModel, IdempotencyKey, InputRef, LaneKey, NameError, NewTask, TaskId, TaskPlan, TaskType, Tenant};

const INPUTS_MAX: usize = 64;
const TAGS_MAX: usize = 32;
const NAME_CHARS_MAX: usize = 128;

/// Checks submissions against one consistent state of the host.
pub(super) struct Checker<'a> {
    config: &'a ApiConfig,
    snapshot: &'a Snapshot,
    now: UnixMs,
    /// The lane of the submission before and who takes it: batches are mostly of one lane, and this spares them the look-ups.
    last: Option<(LaneKey, &'a Plugin)>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(config: &'a ApiConfig, snapshot: &'a Snapshot, now: UnixMs) -> Self {
        Self { config, snapshot, now, last: None }
    }

    /// Checks one submission. `header_key` is what the `Idempotency-Key` header said.
    pub(super) fn check(&mut self, submission: &Submission<'_>, header_key: Option<&str>) -> Answer<NewTask> {
        let (lane, plugin) = self.lane(submission)?;
        let payload = self.payload(submission, plugin)?;
        let defaults = self.config.defaults_of(&lane.task_type);
        let max_attempts = submission.max_attempts.unwrap_or(defaults.max_attempts);
        if max_attempts == 0 || max_attempts > self.config.max_attempts_max {
            let detail = format!("this must be a whole number from 1 to {}", self.config.max_attempts_max);
            return Err(Problem::invalid_field("max_attempts", detail));
        }
        let run_at = match &submission.run_at {
            None => self.now,
            Some(text) => UnixMs::parse_rfc3339(&text.0).map_err(|e| Problem::invalid_field("run_at", shown(&e)))?,
        };
        let plan =
            TaskPlan { inputs: inputs(&submission.inputs)?, tags: tags(&submission.tags)?, limits: submitted_limits(&submission.limits)? };
        Ok(NewTask {
            id: TaskId::new(),
            priority: submission.priority.unwrap_or(defaults.priority),
            payload,
            plan,
            run_at,
            max_attempts,
            tenant: name("tenant", submission.tenant.as_ref(), Tenant::new)?,
            idempotency: idempotency(submission, header_key)?,
            lane,
        })
    }

    fn lane(&mut self, submission: &Submission<'_>) -> Answer<(LaneKey, &'a Plugin)> {
        let model = submission.ai_model.as_ref().map(|text| text.0.as_ref());
        if let Some((last, plugin)) = &self.last
            && last.task_type.as_str() == submission.task_type.0
            && last.ai_model.as_ref().map(AiModel::as_str) == model
        {
            return Ok((last.clone(), *plugin));
        }
        let task_type = TaskType::new(&submission.task_type.0).map_err(|e| Problem::invalid_field("task_type", e.to_string()))?;
        let lane = LaneKey { task_type, ai_model: name("ai_model", submission.ai_model.as_ref(), AiModel::new)? };
        let plugin: &'a Plugin = self.snapshot.route(&lane).ok_or_else(|| no_plugin(&lane))?;
        self.last = Some((lane.clone(), plugin));
        Ok((lane, plugin))
    }

    fn payload(&self, submission: &Submission<'_>, plugin: &Plugin) -> Answer<Box<RawValue>> {
        let payload = submission.payload.unwrap_or(RawValue::NULL);
        let bytes = payload.get().len() as u64;
        if bytes > self.config.payload_bytes_max {
            let detail = format!(
                "the payload has {bytes} bytes and this host's payload_bytes_max is {}; put large data in a blob and name it in inputs",
                self.config.payload_bytes_max
            );
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::PayloadTooLarge, detail).at("payload"));
        }
        check_depth(payload.get())?;
        // Only a plugin with a schema makes its tasks pay for being parsed any further.
        if let Some(schema) = &plugin.manifest.payload_schema {
            schema.check(payload.get().as_bytes()).map_err(|misfit| misfit_of(plugin, &misfit))?;
        }
        Ok(payload.to_owned())
    }
}

/// Nobody takes such tasks: said now, rather than by a task that fails later.
pub(super) fn no_plugin(lane: &LaneKey) -> Problem {
    let model = lane.ai_model.as_ref().map_or_else(|| "without a model".to_owned(), |model| format!("for model {:?}", model.as_str()));
    let task_type = lane.task_type.as_str();
    let what_to_do = match task_type {
        "stripe.sync" | "stripe.repair" => "this host runs them itself once stripe.api.key is set",
        _ => "GET /v1/plugins says what is loaded",
    };
    let detail = format!("no loaded plugin takes tasks of type {task_type:?} {model}; {what_to_do}");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Code::NoPluginForTask, detail).at("task_type")
}

fn misfit_of(plugin: &Plugin, misfit: &Misfit) -> Problem {
    let detail = format!("plugin {} does not take this payload: {}", plugin.manifest.name, shown(&misfit.why));
    Problem::invalid_field(format!("payload{}", shown(&misfit.path)), detail)
}

fn name<T>(field: &str, text: Option<&Text<'_>>, new: impl Fn(&str) -> Result<T, NameError>) -> Answer<Option<T>> {
    text.map(|text| new(&text.0).map_err(|e| Problem::invalid_field(field, e.to_string()))).transpose()
}

fn inputs(sent: &UniqueMap<InputRef>) -> Answer<BTreeMap<String, InputRef>> {
    if sent.0.len() > INPUTS_MAX {
        return Err(Problem::invalid_field("inputs", format!("a task may have at most {INPUTS_MAX} inputs")));
    }
    for name in sent.0.keys() {
        label(&format!("inputs.{}", shown(name)), name)?;
    }
    Ok(sent.0.clone())
}

fn tags(sent: &[String]) -> Answer<Vec<String>> {
    if sent.len() > TAGS_MAX {
        return Err(Problem::invalid_field("tags", format!("a task may have at most {TAGS_MAX} tags")));
    }
    for (index, tag) in sent.iter().enumerate() {
        label(&format!("tags[{index}]"), tag)?;
    }
    Ok(sent.to_vec())
}

fn label(field: &str, text: &str) -> Answer<()> {
    let fine = !text.is_empty() && text.chars().count() <= NAME_CHARS_MAX && !text.chars().any(char::is_control);
    if fine {
        return Ok(());
    }
    Err(Problem::invalid_field(field, format!("this must have 1 to {NAME_CHARS_MAX} characters, none of them a control character")))
}

/// The limits of a submission or of a scope: every name known, no value zero.
pub(super) fn limit_set(sent: &UniqueMap<u64>) -> Answer<LimitSet> {
    let mut set = LimitSet::default();
    for (name, value) in &sent.0 {
        let field = format!("limits.{}", shown(name));
        let limit: Limit = shown(name).parse().map_err(|e: String| Problem::unknown_field(field.clone(), e))?;
        if *value == 0 {
            return Err(Problem::invalid_field(field, "with a limit of 0 no task could run; give at least 1"));
        }
        set = set.with(limit, *value);
    }
    Ok(set)
}

fn submitted_limits(sent: &UniqueMap<u64>) -> Answer<LimitSet> {
    if sent.0.is_empty() {
        return Ok(LimitSet::default());
    }
    let set = limit_set(sent)?;
    if set.get(Limit::ArtifactBytes).is_some() {
        return Err(Problem::invalid_field("limits.artifact_bytes", "this limit is about plugins, not about tasks; leave it out"));
    }
    Ok(set)
}

fn idempotency(submission: &Submission<'_>, header_key: Option<&str>) -> Answer<Option<(IdempotencyKey, [u8; 32])>> {
    let in_body = submission.idempotency_key.as_ref().map(|text| text.0.as_ref());
    if let (Some(header), Some(body)) = (header_key, in_body)
        && header != body
    {
        let detail = "the Idempotency-Key header and this field are both given and differ; give one of them";
        return Err(Problem::invalid_field("idempotency_key", detail));
    }
    let Some(key) = in_body.or(header_key) else { return Ok(None) };
    let key = IdempotencyKey::new(key).map_err(|e| Problem::invalid_field("idempotency_key", e.to_string()))?;
    Ok(Some((key, digest(submission)?)))
}

/// What a repeat must agree with. Defaults are not filled in: an operator who changes one must not turn repeats into conflicts.
fn digest(submission: &Submission<'_>) -> Answer<[u8; 32]> {
    let text = |text: &Option<Text<'_>>| text.as_ref().map(|text| text.0.to_string());
    let payload: Value = serde_json::from_str(submission.payload.unwrap_or(RawValue::NULL).get())
        .map_err(|e| Problem::invalid_field("payload", format!("the payload cannot be compared with a repeat of it: {e}")))?;
    Ok(canonical_digest(&json!([
        submission.task_type.0,
        text(&submission.ai_model),
        submission.priority,
        payload,
        submission.inputs.0,
        text(&submission.run_at),
        submission.max_attempts,
        submission.tags,
        submission.limits.0,
    ])))
}

/// What was sent, as it may appear in an answer: short, whatever was sent.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
