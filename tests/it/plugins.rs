//! The plugins that come with the host, as their users get them: compiled, packed, in the real sandbox.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use taskwarden::plugin::{Capability, unpack};
use taskwarden_testkit::{Kit, Limit, Outcome, TestTask};

use crate::guests;

fn echo() -> Kit {
    Kit::from_bytes(&guests::component("echo"))
}

#[test]
fn echo_answers_with_what_it_saw() {
    let payload = json!({"n": [1, 2.5, null], "log": "hello", "progress_steps": 4, "output_bytes": 100_000});
    let run = echo().run(TestTask::new("self_improvement").ai_model("claude-opus").payload(&payload));
    let expected = json!({"payload": payload, "task_type": "self_improvement", "ai_model": "claude-opus", "attempt": 1});
    assert_eq!(run.json(), expected);
    run.assert_logged("hello").assert_fuel_at_most(5_000_000).assert_memory_at_most(4 << 20);
    assert_eq!(run.output("filler.txt").len(), 100_000);
    assert_eq!(run.progress().last(), Some(&(1.0, "step 4 of 4".to_owned())));
    assert!(run.receipt().host_calls >= 6 && run.receipt().output_bytes > 100_000);
}

#[test]
fn echo_fails_as_it_is_asked_to() {
    let kit = echo();
    for (kind, outcome) in [("invalid", Outcome::Invalid), ("permanent", Outcome::Permanent), ("transient", Outcome::Transient)] {
        kit.run(TestTask::new("echo").payload(json!({"fail": kind}))).assert_outcome(outcome).assert_error_contains(kind);
    }
    let limited = echo().limit(Limit::Fuel, 1_000_000);
    limited.run(TestTask::new("echo").payload(json!({"spin_fuel": 100_000_000}))).assert_outcome(Outcome::OutOfFuel);
    limited.run(TestTask::new("echo")).assert_succeeded();
}

#[test]
fn spin_burns_about_the_fuel_it_is_told() {
    let run = echo().run(TestTask::new("echo").payload(json!({"spin_fuel": 50_000_000})));
    let used = run.assert_succeeded().receipt().fuel_used;
    assert!((40_000_000..60_000_000).contains(&used), "{used}");
}

#[test]
fn a_manifest_travels_inside_each_built_in_plugin() {
    for name in ["echo", "anomaly-score", "stripe-reconcile"] {
        let manifest = unpack(&guests::component(name)).expect("readable").expect("packed");
        assert_eq!(manifest.name, name);
        assert!(manifest.capabilities.contains(&Capability::Log));
    }
}

#[test]
fn stripe_reconcile_explains_every_unit_inside_the_sandbox() {
    let kit = Kit::from_bytes(&guests::component("stripe-reconcile"));
    let ledger = "source,amount,currency,created\nch_1,1000,usd,2026-01-05\nch_2,2000,usd,2026-01-06\n";
    let stripe = "id,type,source,amount,fee,net,currency,created\n\
                  txn_1,charge,ch_1,1000,59,941,usd,2026-01-05\n\
                  txn_3,charge,ch_3,3000,0,3000,usd,2026-01-07\n";
    let task = || TestTask::new("stripe.reconcile").input("ledger", ledger);
    let run = kit.run(task().input("stripe", stripe));
    let answer = run.json();
    assert_eq!((&answer["verdict"], &answer["gross_break_value"]["usd"]), (&json!("BREAKS"), &json!(5000)));
    let report: Value = serde_json::from_slice(run.output("report.json")).expect("JSON");
    let usd = &report["legs"][1]["currencies"][0];
    assert_eq!([&usd["difference"], &usd["explained"], &usd["residual"]], [1000, 1000, 0]);
    assert_eq!(run.output("matches.csv").iter().filter(|byte| **byte == b'\n').count(), 2);
    kit.run(task()).assert_outcome(Outcome::Invalid).assert_error_contains("stripe");
    let unknown = kit.run(task().input("stripe", stripe).payload(json!({"tolerence": 1})));
    unknown.assert_outcome(Outcome::Invalid).assert_error_contains("tolerence");
    let stray = kit.run(task().input("stripe", stripe).input("banks", ""));
    stray.assert_outcome(Outcome::Invalid).assert_error_contains("banks");
}

#[test]
fn the_kit_keeps_the_journal_from_one_attempt_to_the_next() {
    let kit = Kit::from_bytes(&guests::text("remembers"));
    let first = kit.run(TestTask::new("any").payload("the first"));
    first.assert_outcome(Outcome::Transient).assert_error_contains("not yet");
    assert_eq!(first.retry_after(), Some(Duration::from_millis(1_500)));
    let second = kit.run(first.next_attempt().payload("the second"));
    assert_eq!(second.json(), json!("the first"), "what the first attempt put down");
    // Another task has a journal of its own.
    kit.run(TestTask::new("any")).assert_outcome(Outcome::Transient);
}

#[test]
fn the_kits_clock_decides_when_a_sleeping_plugin_is_late() {
    let kit = Kit::from_bytes(&guests::component("wasi")).limit(Limit::WallMs, 90_000);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| kit.run(TestTask::new("any").payload(json!({"do": "sleep"}))));
        while kit.clock().sleepers() == 0 && !run.is_finished() {
            std::thread::yield_now();
        }
        kit.clock().advance(Duration::from_millis(89_999));
        assert_eq!(kit.clock().sleepers(), 1, "not late yet");
        kit.clock().advance(Duration::from_millis(1));
        run.join().expect("ends").assert_outcome(Outcome::Deadline).assert_error_contains("90000 ms");
    });
}

fn command_line(arguments: &[&str]) -> (i32, String, String) {
    let beside = std::env::current_exe().expect("this program has a path").ancestors().nth(2).expect("a target folder").join("taskwarden");
    let program = std::env::var_os("TASKWARDEN_BIN").map_or(beside, Into::into);
    let ran = Command::new(&program).args(arguments).output();
    let ran = ran.unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask test`, which builds the host first", program.display()));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (ran.status.code().unwrap_or(-1), text(ran.stdout), text(ran.stderr))
}

#[test]
fn plugin_run_prints_result_outcome_and_receipt() {
    let folder = tempfile::tempdir().expect("a folder");
    let wasm = folder.path().join("echo.wasm");
    std::fs::write(&wasm, guests::component("echo")).expect("written");
    let wasm = wasm.to_str().expect("text");
    let outputs = folder.path().join("out");
    let arguments = [
        "plugin",
        "run",
        wasm,
        "--task-type",
        "echo",
        "--payload",
        r#"{"output_bytes": 5}"#,
        "--output-dir",
        outputs.to_str().expect("text"),
    ];
    let (code, out, err) = command_line(&arguments);
    assert_eq!((code, out.lines().count()), (0, 1), "{err}");
    assert!(err.contains("outcome   succeeded") && err.contains("fuel "), "{err}");
    assert_eq!(std::fs::read(outputs.join("filler.txt")).expect("written"), b"xxxxx");

    let printed =
        |name: &str| command_line(&["plugin", "run", wasm, "--task-type", "echo", "--payload", r#"{"output_bytes": 5}"#, "--output", name]);
    let (code, out, _) = printed("filler.txt");
    assert_eq!((code, out.as_str()), (0, "xxxxx"), "the output alone, as it was written");
    let (code, out, err) = printed("scores.csv");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains(r#"no output "scores.csv"; it wrote filler.txt"#), "{err}");

    let spin = ["plugin", "run", wasm, "--task-type", "echo", "--payload", r#"{"spin_fuel": 9000000}"#, "--limit", "fuel=100000", "--json"];
    let (code, out, _) = command_line(&spin);
    let shown: Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!((code, &shown["outcome"], &shown["receipt"]["limits"]["fuel"]), (1, &json!("out_of_fuel"), &json!(100_000)));
    for key in ["outcome", "result", "error", "receipt", "logs", "outputs"] {
        assert!(shown.get(key).is_some(), "{key}");
    }
    assert_eq!(command_line(&["plugin", "run", wasm, "--task-type", "echo", "--payload", "{"]).0, 2);
    assert_eq!(command_line(&["plugin", "run", wasm, "--task-type", "echo", "--limit", "feul=1"]).0, 2);
}

#[test]
fn bench_measures_one_task_and_says_when_it_does_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let wasm = folder.path().join("echo.wasm");
    std::fs::write(&wasm, guests::component("echo")).expect("written");
    let wasm = wasm.to_str().expect("text");
    let bench = |more: &[&str]| command_line(&[&["bench", wasm, "--task-type", "echo", "--seconds", "1"][..], more].concat());
    let (code, out, err) = bench(&["--payload", "1", "--json"]);
    let shown: Value = serde_json::from_str(&out).expect("one JSON object");
    let number = |key: &str| shown[key].as_f64().unwrap_or_else(|| panic!("{key} in {shown}"));
    assert_eq!((code, &shown["plugin"]), (0, &json!("echo")), "{err}");
    assert!(number("runs") >= 1.0 && number("runs_per_second") > 0.0 && number("compile_ms") > 0.0, "{shown}");
    assert!(number("run_us_p50") <= number("run_us_p99") && number("run_us_p99") <= number("run_us_max"), "{shown}");
    assert!(number("fuel_min") > 0.0 && number("fuel_min") <= number("fuel_max") && number("memory_peak_bytes") > 0.0, "{shown}");
    let (code, out, err) = bench(&["--payload", r#"{"fail": "permanent"}"#]);
    assert_eq!((code, out.as_str()), (1, ""), "what did not run is not measured");
    assert!(err.contains("run 1 ended as permanent"), "{err}");
    assert_eq!(bench(&["--limit", "feul=1"]).0, 2);
    // Granting what the plugin cannot use is no way to try it.
    let (code, _, err) = bench(&["--http", "https://api.example.com"]);
    assert!(code == 1 && err.contains("does not ask for the capability http"), "{err}");
}

#[test]
fn plugin_check_and_pack_say_what_a_host_would() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    std::fs::write(path("echo.wasm"), guests::component("echo")).expect("written");
    let (code, out, _) = command_line(&["plugin", "check", &path("echo.wasm"), "--json"]);
    let found: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &found["accepted"], &found["manifest"]["name"]), (0, &json!(true), &json!("echo")));

    std::fs::write(path("plugin.toml"), "name = 'echo'\nversion = '2.0.0'\ntask_types = ['echo']\n").expect("written");
    let (code, _, err) =
        command_line(&["plugin", "pack", &path("echo.wasm"), "--manifest", &path("plugin.toml"), "-o", &path("bare.wasm")]);
    assert_eq!(code, 0, "{err}");
    let (code, out, _) = command_line(&["plugin", "check", &path("bare.wasm")]);
    assert_eq!(code, 1);
    assert!(out.contains("refused") && out.contains("taskwarden:plugin/outputs"), "{out}");

    std::fs::write(path("broken.wasm"), b"\0asm\x0d\0\x01\0\x07broken").expect("written");
    let (code, _, err) = command_line(&["plugin", "check", &path("broken.wasm")]);
    assert_eq!((code, err.contains("WebAssembly")), (1, true), "{err}");
}

#[test]
fn the_command_line_holds_payloads_to_the_schema_as_a_host_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    std::fs::write(path("noop.wasm"), guests::text("noop")).expect("written");
    let manifest = |schema: &str| format!("name = 'noop'\nversion = '1.0.0'\ntask_types = ['noop']\npayload_schema = {schema}\n");
    std::fs::write(path("plugin.toml"), manifest("{ required = ['n'], properties.n.type = 'integer' }")).expect("written");
    let (wasm, toml) = (path("noop.wasm"), path("plugin.toml"));
    let run =
        |payload: &str| command_line(&["plugin", "run", &wasm, "--manifest", &toml, "--task-type", "noop", "--payload", payload, "--json"]);
    let (code, out, err) = run(r#"{"n": "1"}"#);
    let shown: Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!((code, &shown["outcome"], &shown["receipt"]["fuel_used"]), (1, &json!("invalid"), &json!(0)), "{err}");
    assert!(shown["error"].as_str().is_some_and(|why| why.starts_with("payload.n: ") && why.contains("integer")), "{out}");
    assert_eq!(run(r#"{"n": 1}"#).0, 0);

    std::fs::write(&toml, manifest("{ type = 'whatever' }")).expect("written");
    for verb in [&["check", &wasm, "--manifest", &toml][..], &["pack", &wasm, "--manifest", &toml]] {
        let (code, _, err) = command_line(&[&["plugin"], verb].concat());
        assert!(code == 1 && err.contains("payload_schema is not"), "{err}");
    }
}

#[test]
fn plugin_new_makes_a_folder_that_tests_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = folder.path().join("word-count");
    let (code, _, err) = command_line(&["plugin", "new", "word-count", "--path", plugin.to_str().expect("text")]);
    assert_eq!(code, 0, "{err}");
    // The versions this workspace was built with are on this machine already, so nothing has to be fetched.
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::copy(root.join("Cargo.lock"), plugin.join("Cargo.lock")).expect("copied");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let ran = cargo
        .args(["test", "--offline"])
        .current_dir(&plugin)
        .env("CARGO_TARGET_DIR", plugin.join("target"))
        .output()
        .expect("cargo starts");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("2 passed"), "{said}");
    let (code, _, err) = command_line(&["plugin", "new", "word-count", "--path", plugin.to_str().expect("text")]);
    assert!(code == 1 && err.contains("not empty"), "{err}");
}
