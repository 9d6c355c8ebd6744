//! Stripe's events: verified, and written with their tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use reqwest::Client;
use taskwarden::app::Host;
use taskwarden::clock::{Clock as _, SystemClock};
use taskwarden::config::Config;
use taskwarden::secret::Secret;
use taskwarden::stripe::signature::{self, TOLERANCE_S, sign};

use crate::{Bench, row, table};

const ROUNDS: usize = 3;
const EVENTS: usize = 30_000;
const SENDERS: usize = 64;
const VERIFIED: u32 = 50_000;
const ONE_BY_ONE: usize = 300;
const SECRET: &str = "whsec_bench";

/// An event of the usual size: a charge with most of its fields.
fn body(number: usize) -> String {
    let filler = "\"description\":\"A field that nobody reads\",".repeat(60);
    format!(
        r#"{{"id":"evt_{number}","object":"event","api_version":"2026-09-30.endive","created":1800000000,"livemode":true,"pending_webhooks":1,
        "type":"charge.succeeded","data":{{"object":{{"id":"ch_{number}","object":"charge",{filler}"status":"succeeded","amount":1000,
        "amount_captured":1000,"amount_refunded":0,"captured":true,"currency":"eur","created":1800000000,"payment_intent":"pi_{number}"}}}}}}"#
    )
}

pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut rates, mut per_core, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (rate, cpu) = tokio.block_on(flood(bench, round))?;
        rates.push(rate);
        per_core.push(cpu);
        waits.extend(tokio.block_on(one_by_one(bench, round))?);
    }
    let (p50, p99) = (table::quantile(&mut waits, 0.5), table::quantile(&mut waits, 0.99));
    let rows = [
        row!["", "events", ""],
        row!["verified, one thread", table::per_second(verified_per_second()?), format!("{} bytes each", body(0).len())],
        row!["HTTP → verified → committed with its task", table::per_second(table::median(rates)), format!("{SENDERS} at once")],
        row![
            "the same for each second of processor time",
            table::per_second(table::median(per_core)),
            "sender and processing of the tasks included"
        ],
        row!["one after another: request → answer", format!("p50 {}", table::millis(p50)), format!("p99 {}", table::millis(p99))],
    ];
    table::print(&format!("(f) {EVENTS} events of Stripe's at synchronous=FULL, median of {ROUNDS} (aim: 5000/s for each core)"), &rows);
    Ok(())
}

fn verified_per_second() -> anyhow::Result<f64> {
    let (secret, body) = (Secret::new(SECRET)?, body(0));
    let header = sign(&secret, body.as_bytes(), 1_800_000_000);
    let secrets = [secret];
    let clock = SystemClock::new();
    for _ in 0..VERIFIED {
        signature::verify(&secrets, header.as_bytes(), body.as_bytes(), 1_800_000_000, TOLERANCE_S)?;
    }
    Ok(f64::from(VERIFIED) / clock.monotonic().as_secs_f64())
}

async fn start(bench: &Bench, name: &str) -> anyhow::Result<Host> {
    let data = bench.folder(name)?;
    let environment = [
        ("TASKWARDEN_LISTEN", "127.0.0.1:0"),
        ("TASKWARDEN_AUTH__MODE", "loopback_open"),
        ("TASKWARDEN_DATA_DIR", data.to_str().context("the scratch folder's name is not UTF-8")?),
        ("TASKWARDEN_STRIPE__WEBHOOK__SECRETS", SECRET),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Host::start(Config::assemble(None, environment)?, SystemClock::shared()).await
}

/// One event as Stripe sends it.
async fn send(client: &Client, url: &str, number: usize) -> anyhow::Result<()> {
    let (secret, body) = (Secret::new(SECRET)?, body(number));
    let now_s = u64::try_from(SystemClock::new().now().0 / 1000)?;
    let header = sign(&secret, body.as_bytes(), now_s);
    client.post(url).header("Stripe-Signature", header).body(body).send().await?.error_for_status()?;
    Ok(())
}

/// Events a second, by the clock and by processor time.
async fn flood(bench: &Bench, round: usize) -> anyhow::Result<(f64, f64)> {
    let host = start(bench, &format!("webhooks-{round}")).await?;
    let url = format!("http://{}/v1/webhooks/stripe", host.address());
    let next = Arc::new(AtomicUsize::new(0));
    let (clock, used) = (SystemClock::new(), processor_time()?);
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (next, url, client) = (Arc::clone(&next), url.clone(), Client::new());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= EVENTS {
                        return anyhow::Ok(());
                    }
                    send(&client, &url, number).await?;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await??;
    }
    let rate = EVENTS as f64 / clock.monotonic().as_secs_f64();
    let per_core = EVENTS as f64 / (processor_time()? - used).as_secs_f64();
    host.stop().await;
    Ok((rate, per_core))
}

async fn one_by_one(bench: &Bench, round: usize) -> anyhow::Result<Vec<Duration>> {
    let host = start(bench, &format!("webhook-{round}")).await?;
    let (client, url) = (Client::new(), format!("http://{}/v1/webhooks/stripe", host.address()));
    let mut waits = Vec::with_capacity(ONE_BY_ONE);
    for number in 0..ONE_BY_ONE {
        let clock = SystemClock::new();
        send(&client, &url, number).await?;
        waits.push(clock.monotonic());
    }
    host.stop().await;
    Ok(waits)
}

/// What this process has used of the processors so far, all threads together.
fn processor_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("processor time is read from /proc, which is Linux's")?;
    // Behind the name, which may have blanks in it, come the state and ten numbers; then the ticks of user and system.
    let ticks = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2)).context("no such line")?;
    let ticks: u64 = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    // The kernel shows hundredths of a second to all programs.
    Ok(Duration::from_millis(ticks * 10))
}
