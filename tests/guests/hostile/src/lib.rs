//! A plugin that attacks its host. The payload `{"attack": "…"}` chooses how; `{"attack": "list"}` answers with every name it
//! knows, so that the tests notice an attack that nobody expects.
#![cfg(target_family = "wasm")]
#![expect(unsafe_code, reason = "generated bindings cross the boundary by pointers, and one attack hands over bytes as text")]

wit_bindgen::generate!({ path: "../../../wit", world: "executor" });

use taskwarden::plugin::inputs::{self, Reader};
use taskwarden::plugin::outputs;
use taskwarden::plugin::types::Transient;
use taskwarden::plugin::{journal, log, progress, settings, tasks};

struct Hostile;

export!(Hostile);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    attack: String,
}

type Answer = Result<Vec<u8>, Failure>;

/// Every attack by its name.
const ATTACKS: &[(&str, fn() -> Answer)] = &[
    ("endless_loop", endless_loop),
    ("announced_loop", announced_loop),
    ("deep_recursion", deep_recursion),
    ("grow_memory", grow_memory),
    ("one_huge_allocation", one_huge_allocation),
    ("huge_string", huge_string),
    ("huge_list", huge_list),
    ("huge_result", huge_result),
    ("result_over_limit", result_over_limit),
    ("log_flood", log_flood),
    ("empty_log_flood", empty_log_flood),
    ("output_flood", output_flood),
    ("journal_flood", journal_flood),
    ("input_flood", input_flood),
    ("host_call_flood", host_call_flood),
    ("expensive_host_calls", expensive_host_calls),
    ("handle_leak", handle_leak),
    ("trap_with_resources", trap_with_resources),
    ("invalid_utf8", invalid_utf8),
    ("nan_progress", nan_progress),
    ("long_note", long_note),
    ("blocked_read", blocked_read),
    ("result_not_json", result_not_json),
    ("result_not_text", result_not_text),
    ("long_failure", long_failure),
    ("endless_retry_after", endless_retry_after),
    ("output_name_escapes", output_name_escapes),
    ("ungranted_setting", ungranted_setting),
    ("child_flood", child_flood),
    ("large_children", large_children),
    ("ungranted_child", ungranted_child),
];

impl Guest for Hostile {
    fn execute(task: Task) -> Answer {
        let payload: Payload = serde_json::from_slice(&task.payload).map_err(|error| Failure::Invalid(error.to_string()))?;
        if payload.attack == "list" {
            let names: Vec<&str> = ATTACKS.iter().map(|(name, _)| *name).collect();
            return serde_json::to_vec(&names).map_err(|error| Failure::Permanent(error.to_string()));
        }
        match ATTACKS.iter().find(|(name, _)| *name == payload.attack) {
            Some((_, attack)) => attack(),
            None => Err(Failure::Invalid(format!("there is no attack {:?}", payload.attack))),
        }
    }
}

fn survived() -> Answer {
    Ok(b"\"survived\"".to_vec())
}

fn endless_loop() -> Answer {
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

/// Says that it begins, so that a test knows when to cancel it.
fn announced_loop() -> Answer {
    progress::report(0.0, "looping");
    endless_loop()
}

fn deep_recursion() -> Answer {
    #[expect(unconditional_recursion, reason = "the attack")]
    fn deeper(n: u64) -> u64 {
        let here = std::hint::black_box([n; 8]);
        let below = deeper(n + 1);
        below.wrapping_add(here.iter().sum())
    }
    Ok(deeper(0).to_string().into_bytes())
}

fn grow_memory() -> Answer {
    let mut held = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

fn one_huge_allocation() -> Answer {
    let huge = std::hint::black_box(vec![0_u8; 1 << 30]);
    Ok(huge.len().to_string().into_bytes())
}

fn huge_string() -> Answer {
    log::write(log::Level::Info, &"a".repeat(32 << 20), &[]);
    survived()
}

fn huge_list() -> Answer {
    log::write(log::Level::Info, "", &vec![(String::new(), String::new()); 1 << 20]);
    survived()
}

fn huge_result() -> Answer {
    Ok(vec![b'1'; 32 << 20])
}

fn result_over_limit() -> Answer {
    Ok(vec![b'1'; (1 << 20) + 1])
}

fn log_flood() -> Answer {
    let line = "flood ".repeat(100);
    loop {
        log::write(log::Level::Warn, &line, &[("a".to_owned(), "b".to_owned())]);
    }
}

/// Lines without text still occupy the host.
fn empty_log_flood() -> Answer {
    loop {
        log::write(log::Level::Trace, "", &[]);
    }
}

fn output_flood() -> Answer {
    let writer = outputs::create("flood.bin", "application/octet-stream").map_err(Failure::Permanent)?;
    loop {
        writer.write(&[0; 65_536]).map_err(Failure::Permanent)?;
    }
}

fn journal_flood() -> Answer {
    for step in 0_u64.. {
        journal::put(&step.to_string(), &[0; 1_000]).map_err(Failure::Permanent)?;
    }
    survived()
}

fn open() -> Result<Reader, Failure> {
    inputs::open("series").map_err(Failure::Permanent)
}

fn input_flood() -> Answer {
    loop {
        let reader = open()?;
        while !reader.read(u32::MAX).map_err(Failure::Permanent)?.is_empty() {}
    }
}

fn host_call_flood() -> Answer {
    loop {
        std::hint::black_box(settings::get("a"));
    }
}

/// Few instructions of its own, much work for the host.
fn expensive_host_calls() -> Answer {
    loop {
        progress::report(0.5, "");
    }
}

fn handle_leak() -> Answer {
    loop {
        std::mem::forget(open()?);
    }
}

fn trap_with_resources() -> Answer {
    let held = (open()?, outputs::create("half.txt", "text/plain").map_err(Failure::Permanent)?);
    held.1.write(b"half of it").map_err(Failure::Permanent)?;
    std::arch::wasm32::unreachable()
}

fn invalid_utf8() -> Answer {
    let bytes = std::hint::black_box(vec![0xff_u8, 0xfe, 0x80]);
    // SAFETY: there is none, which is the attack; the string is never looked at on this side.
    let text = unsafe { String::from_utf8_unchecked(bytes) };
    log::write(log::Level::Info, &text, &[]);
    survived()
}

fn nan_progress() -> Answer {
    progress::report(f32::NAN, "not a number");
    progress::report(f32::INFINITY, "beyond");
    survived()
}

fn long_note() -> Answer {
    progress::report(0.5, &"ä".repeat(100_000));
    survived()
}

/// Reads from an input that never gives anything.
fn blocked_read() -> Answer {
    let reader = inputs::open("stuck").map_err(Failure::Permanent)?;
    reader.read(1).map_err(Failure::Permanent)?;
    survived()
}

fn result_not_json() -> Answer {
    Ok(b"{\"open\": ".to_vec())
}

fn result_not_text() -> Answer {
    Ok(vec![b'"', 0xff, b'"'])
}

fn long_failure() -> Answer {
    Err(Failure::Permanent("long ".repeat(100_000)))
}

fn endless_retry_after() -> Answer {
    Err(Failure::Transient(Transient { reason: "never again".to_owned(), retry_after_ms: Some(u64::MAX) }))
}

fn output_name_escapes() -> Answer {
    for name in ["../escape", "/etc/passwd", "", ".hidden/../../x", "nul\0"] {
        if outputs::create(name, "text/plain").is_ok() {
            return Err(Failure::Permanent(format!("the host took {name:?} as a name")));
        }
    }
    survived()
}

fn ungranted_setting() -> Answer {
    for name in ["PATH", "HOME", "secret", ""] {
        if settings::get(name).is_some() {
            return Err(Failure::Permanent(format!("the host gave {name:?} away")));
        }
    }
    survived()
}

fn child(task_type: &str, key: u64, payload: Vec<u8>) -> tasks::NewTask {
    tasks::NewTask { task_type: task_type.to_owned(), ai_model: None, payload, key: key.to_string() }
}

fn child_flood() -> Answer {
    for key in 0.. {
        tasks::submit(&child("test", key, b"1".to_vec())).map_err(Failure::Permanent)?;
    }
    survived()
}

/// Few children, each as large as a payload may be.
fn large_children() -> Answer {
    let text = format!("\"{}\"", "x".repeat(60_000));
    for key in 0.. {
        tasks::submit(&child("test", key, text.clone().into_bytes())).map_err(Failure::Permanent)?;
    }
    survived()
}

/// Of a type that was not granted, in names and payloads that no submission may have.
fn ungranted_child() -> Answer {
    let bad = [
        child("other", 1, b"1".to_vec()),
        child("no type", 2, b"1".to_vec()),
        child("test", 3, b"{".to_vec()),
        child("test", 4, vec![0xff, b'1']),
        child("test", 5, "[".repeat(200_000).into_bytes()),
        tasks::NewTask { key: "*".to_owned(), ..child("test", 6, b"1".to_vec()) },
        tasks::NewTask { key: String::new(), ..child("test", 7, b"1".to_vec()) },
        tasks::NewTask { ai_model: Some("\n".to_owned()), ..child("test", 8, b"1".to_vec()) },
    ];
    for (at, child) in bad.iter().enumerate() {
        if let Ok(id) = tasks::submit(child) {
            return Err(Failure::Permanent(format!("the host took child {at} as {id}")));
        }
    }
    survived()
}
