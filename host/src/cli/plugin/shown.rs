//! How the end of a run is printed.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::show;
use crate::limits::Limits;
use crate::runtime::Report;
use crate::task::{AiModel, LogLine, NewTask, Outcome, Receipt, TaskType};

/// One ended run, as `--json` prints it.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    outcome: Outcome,
    result: Option<&'a RawValue>,
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u128>,
    receipt: Receipt,
    logs: &'a [LogLine],
    outputs: Vec<ShownOutput<'a>>,
    /// What it submitted; nothing runs it here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<ShownChild<'a>>,
}

#[derive(Serialize)]
struct ShownChild<'a> {
    task_type: &'a TaskType,
    ai_model: Option<&'a AiModel>,
    payload: &'a RawValue,
    idempotency_key: Option<&'a str>,
}

#[derive(Serialize)]
struct ShownOutput<'a> {
    name: &'a str,
    media_type: &'a str,
    bytes: usize,
    /// Where it was written, with `--output-dir`.
    file: Option<PathBuf>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(
        report: &'a Report,
        limits: Limits,
        plugin: String,
        plugin_version: String,
        plugin_digest: String,
        mut written: BTreeMap<String, PathBuf>,
    ) -> anyhow::Result<Self> {
        let usage = &report.usage;
        let receipt = Receipt {
            fuel_used: usage.fuel,
            memory_peak_bytes: usage.memory_peak_bytes,
            queue_ms: 0,
            run_ms: u64::try_from(usage.run_time.as_millis()).unwrap_or(u64::MAX),
            host_calls: usage.host_calls,
            input_bytes: usage.input_bytes,
            output_bytes: usage.output_bytes,
            http_requests: usage.http_requests,
            http_bytes: usage.http_bytes,
            child_tasks: usage.child_tasks,
            plugin,
            plugin_version,
            plugin_digest,
            host: "plugin run".to_owned(),
            limits,
        };
        let outputs = report.outputs.iter().map(|output| ShownOutput {
            name: &output.name,
            media_type: &output.media_type,
            bytes: output.bytes.len(),
            file: written.remove(&output.name),
        });
        Ok(Self {
            outcome: report.outcome,
            result: report.result.as_deref().map(serde_json::from_str).transpose().context("the result is not JSON")?,
            error: report.error.as_deref(),
            retry_after_ms: report.retry_after.map(|after| after.as_millis()),
            receipt,
            logs: &report.logs,
            outputs: outputs.collect(),
            children: report.children.iter().map(child).collect(),
        })
    }

    pub(super) fn print_json(&self) -> anyhow::Result<()> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }

    /// The result on stdout, or an output that was wanted in its place; the log, the outcome and the receipt on stderr.
    pub(super) fn print(&self, wanted: Option<&[u8]>) -> anyhow::Result<()> {
        for line in self.logs {
            let fields: String = line.fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            eprintln!("{:<9} {}{fields}", format!("{:?}", line.level).to_lowercase(), line.message);
        }
        if let Some(output) = wanted {
            // Whoever reads only the first lines of it closes the pipe, which is no failure.
            match std::io::stdout().write_all(output) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    return Err(error).context("cannot write to standard output");
                }
                _ => {}
            }
        } else if let Some(result) = self.result {
            println!("{}", result.get());
        }
        eprintln!("outcome   {}", self.outcome);
        if let Some(error) = self.error {
            eprintln!("error     {error}");
        }
        if let Some(after) = self.retry_after_ms {
            eprintln!("retry     after {after} ms");
        }
        for output in &self.outputs {
            let place = output.file.as_ref().map_or_else(|| "not kept, see --output-dir".to_owned(), |file| file.display().to_string());
            eprintln!("output    {} ({}, {} bytes): {place}", output.name, output.media_type, output.bytes);
        }
        for child in &self.children {
            let model = child.ai_model.map(|model| format!(" for {model}")).unwrap_or_default();
            eprintln!("child     {}{model}: {}", child.task_type, child.payload.get());
        }
        eprint!("{}", show::receipt_lines(&serde_json::to_value(&self.receipt).unwrap_or_default()));
        Ok(())
    }
}

fn child(task: &NewTask) -> ShownChild<'_> {
    ShownChild {
        task_type: &task.lane.task_type,
        ai_model: task.lane.ai_model.as_ref(),
        payload: &task.payload,
        idempotency_key: task.idempotency.as_ref().map(|(key, _)| key.as_str()),
    }
}
