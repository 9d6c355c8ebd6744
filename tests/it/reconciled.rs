//! Reconciliation as an operator has it: what the webhook brought against the balance transactions that were imported, every night by a
//! schedule, in the real plugin in its sandbox over the host's own tables; what is missing becomes a finding, and goes when it arrives. Only the
//! clock stands where the test puts it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use taskwarden::app::Host;
use taskwarden::clock::{Clock as _, SharedClock, UnixMs, VirtualClock};
use taskwarden::config::Config;
use taskwarden::secret::Secret;
use taskwarden::stripe::signature::sign;

const SECRET: &str = "whsec_test_secret";
const DAY: Duration = Duration::from_secs(86_400);
/// How often the schedule is asked for its last task before it is given up. Each time is a request, and the host works meanwhile.
const LOOKS_MAX: u32 = 100_000;

struct Books {
    host: Host,
    clock: Arc<VirtualClock>,
    http: Client,
    base: String,
    _folder: tempfile::TempDir,
}

impl Books {
    async fn open(now: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let set = |name: &str, value: &str| (format!("TASKWARDEN_{name}"), value.to_owned());
        let settings = [
            set("LISTEN", "127.0.0.1:0"),
            set("DATA_DIR", folder.path().to_str().expect("a path of text")),
            set("AUTH__MODE", "loopback_open"),
            set("RUNTIME__SLOTS", "1"),
            set("STRIPE__WEBHOOK__SECRETS", SECRET),
        ];
        let clock = VirtualClock::starting_at(UnixMs::parse_rfc3339(now).expect("a time"));
        let config = Config::assemble(None, settings).expect("good settings");
        let host = Host::start(config, Arc::clone(&clock) as SharedClock).await.expect("a host");
        let base = format!("http://{}", host.address());
        let books = Self { host, clock, base, http: Client::builder().no_proxy().build().expect("a client"), _folder: folder };
        books.ask(books.http.post(books.url("/v1/admin/plugins")).body(crate::guests::component("stripe-reconcile"))).await;
        books
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Value {
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
        answer.json().await.expect("JSON")
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(self.http.request(Method::GET, self.url(path))).await
    }

    /// A charge, as the webhook tells of it, and processed.
    async fn charged(&self, id: &str, amount: i64) {
        let created = self.clock.now().0 / 1000;
        let charge = json!({ "id": id, "object": "charge", "status": "succeeded", "amount": amount, "amount_captured": amount,
                             "captured": true, "currency": "eur", "created": created, "balance_transaction": null });
        self.told("charge.succeeded", charge).await;
    }

    /// An event about an object, processed.
    async fn told(&self, event_type: &str, object: Value) {
        let created = self.clock.now().0 / 1000;
        let id = object["id"].as_str().expect("an id");
        let body = json!({ "id": format!("evt_{id}"), "object": "event", "type": event_type, "created": created, "livemode": true,
                           "data": { "object": object } });
        let body = body.to_string();
        let header = sign(&Secret::new(SECRET).expect("a secret"), body.as_bytes(), created.cast_unsigned());
        let received = self.ask(self.http.post(self.url("/v1/webhooks/stripe")).header("Stripe-Signature", header).body(body)).await;
        let task = received["task"].as_str().expect("a task").to_owned();
        assert_eq!(self.ended(&task).await["state"], "succeeded");
    }

    /// The balance transaction of a charge, as a file of the API's.
    async fn settled(&self, id: &str, charge: &str, amount: i64) {
        let created = self.clock.now().0 / 1000;
        let list = json!([{ "id": id, "object": "balance_transaction", "amount": amount, "fee": 50, "net": amount - 50, "currency": "eur",
                            "created": created, "available_on": created, "status": "available", "type": "charge",
                            "reporting_category": "charge", "source": charge }]);
        let counts = self.ask(self.http.post(self.url("/v1/admin/stripe/import?kind=api&mode=live")).body(list.to_string())).await;
        assert_eq!((&counts["added"], &counts["quarantined"]), (&json!(1), &json!(0)), "{counts}");
    }

    async fn ended(&self, task: &str) -> Value {
        self.get(&format!("/v1/tasks/{task}?wait=60s")).await
    }

    /// Lets a night pass; the reconciliation of that night, as it ended.
    async fn night(&self) -> Value {
        const PATH: &str = "/v1/admin/schedules";
        let last = |schedules: &Value| schedules["schedules"][0]["last_task"].as_str().map(str::to_owned);
        let before = last(&self.get(PATH).await);
        self.clock.advance(DAY);
        for _ in 0..LOOKS_MAX {
            match last(&self.get(PATH).await) {
                Some(task) if Some(&task) != before.as_ref() => return self.ended(&task).await,
                _ => tokio::task::yield_now().await,
            }
        }
        panic!("no task was submitted that night");
    }

    /// The findings, once the one that is expected has this state.
    async fn findings(&self, state: &str) -> Vec<Value> {
        for _ in 0..LOOKS_MAX {
            let found = self.get("/v1/findings").await["findings"].as_array().expect("findings").clone();
            if found.iter().any(|finding| finding["state"] == state) {
                return found;
            }
            tokio::task::yield_now().await;
        }
        panic!("no finding became {state}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_found_by_night_and_resolved_when_it_arrives() {
    let books = Books::open("2026-11-24T12:00:00Z").await;
    books.charged("ch_1", 1999).await;
    books.charged("ch_2", 500).await;
    books.settled("txn_1", "ch_1", 1999).await;
    // What else a shop hears of, none of which moves money.
    for (event_type, object) in [
        ("radar.early_fraud_warning.created", json!({ "id": "issfr_1", "object": "radar.early_fraud_warning", "charge": "ch_1" })),
        ("reporting.report_run.succeeded", json!({ "id": "frr_1", "object": "reporting.report_run", "status": "succeeded" })),
        ("checkout.session.completed", json!({ "id": "cs_1", "object": "checkout.session", "status": "complete", "currency": null })),
        (
            "charge.succeeded",
            json!({ "id": "ch_3", "object": "charge", "status": "succeeded", "amount": 700, "amount_captured": 0,
                                     "captured": false, "currency": "eur" }),
        ),
    ] {
        books.told(event_type, object).await;
    }
    let schedule = json!({ "cron": "0 2 * * *", "task": { "task_type": "stripe.reconcile", "payload": { "as_of": "${due}" },
        "inputs": { "ledger": { "table": "stripe_transactions" }, "stripe": { "table": "stripe_balance_transactions" } } } });
    books.ask(books.http.put(books.url("/v1/admin/schedules/nightly")).json(&schedule)).await;

    let first = books.night().await;
    assert_eq!(first["state"], "succeeded", "{first}");
    let result = &first["result"];
    assert_eq!(
        (&result["verdict"], &result["as_of"], &result["rows"]["ledger"]),
        (&json!("BREAKS"), &json!("2026-11-25T02:00:00Z"), &json!(6))
    );
    assert_eq!(result["gross_break_value"], json!({ "eur": 500 }), "{result}");
    let found = books.findings("new").await;
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((&finding["kind"], &finding["source_task"]), (&json!("break.missing_in_stripe"), &first["id"]));
    assert_eq!(finding["gross_value"], json!({ "currency": "eur", "minor": 500 }), "{finding}");

    let second = books.night().await;
    assert_eq!(second["result"]["verdict"], "BREAKS", "{second}");
    let kept = books.findings("persisting").await;
    assert_eq!((kept.len(), &kept[0]["id"], &kept[0]["times_seen"]), (1, &finding["id"], &json!(2)));

    books.settled("txn_2", "ch_2", 500).await;
    let third = books.night().await;
    assert_eq!(third["result"]["verdict"], "RECONCILED", "{third}");
    let gone = books.findings("resolved").await;
    assert_eq!((gone.len(), &gone[0]["id"], &gone[0]["source_task"]), (1, &finding["id"], &third["id"]));
    books.host.stop().await;
}
