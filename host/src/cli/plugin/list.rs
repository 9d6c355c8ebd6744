//! `taskwarden plugin list`: what a running host has loaded.

use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use crate::cli::client::{Client, ServerArgs};

/// Arguments of `taskwarden plugin list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Print the host's own answer
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer: Value = reactor.block_on(async {
        let client = Client::new(&args.server)?;
        anyhow::Ok(client.send(client.request(Method::GET, "/v1/plugins")).await?.json().await?)
    })?;
    if args.json {
        println!("{answer}");
    } else {
        print!("{}", table(&answer));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(answer: &Value) -> String {
    let plugins = answer.get("plugins").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut rows = vec![["plugin", "version", "digest", "task types", "models", "capabilities"].map(str::to_owned)];
    for plugin in plugins {
        let text = |key: &str| plugin.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
        let list = |key: &str| -> String {
            let names = plugin.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        };
        let digest = text("digest").chars().take(12).collect();
        rows.push([text("name"), text("version"), digest, list("task_types"), list("ai_models"), list("capabilities")]);
    }
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 6]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let plugin = |name: &str| serde_json::json!({"name": name, "version": "1.0.0", "digest": "0123456789abcdef", "task_types": ["a", "b"], "ai_models": ["*"]});
        let shown = table(&serde_json::json!({"plugins": [plugin("echo"), plugin("anomaly-score")]}));
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[1], "echo           1.0.0    0123456789ab  a b         *");
        assert!(lines[2].starts_with("anomaly-score  1.0.0"));
        assert_eq!(table(&serde_json::json!({})).lines().count(), 1);
    }
}
