//! What Stripe sends.

use taskwarden::http::StripeEndpoint;
use taskwarden::native::stripe_event::ProcessStripeEvent;
use taskwarden::secret::Secret;
use taskwarden::store::stripe::{StripeStore as _, Verdict};
use taskwarden::stripe::kind::Kind;
use taskwarden::stripe::ledger::{ORDER_KEY, Owner};
use taskwarden::stripe::signature::sign;
use taskwarden::stripe::transaction::{Key, Transaction};
use taskwarden::task::{NativeCall, NativeFailure, NativeTask as _};

use super::*;

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text).expect("a secret")
}

fn seconds(server: &Server) -> u64 {
    server.clock.now().0.cast_unsigned() / 1000
}

/// Sends a body with this header.
async fn send(server: &Server, header: &str, body: &[u8]) -> Reply {
    let request = server.request(Method::POST, "/v1/webhooks/stripe").header("Stripe-Signature", header).body(body.to_vec());
    Reply::of(request.send().await.expect("an answer")).await
}

/// Sends a body as Stripe would.
pub(super) async fn deliver(server: &Server, body: &str) -> Reply {
    let header = sign(&secret("whsec_test_secret"), body.as_bytes(), seconds(server));
    send(server, &header, body.as_bytes()).await
}

/// An event about an object.
pub(super) fn event(id: &str, event_type: &str, created_s: i64, object: &str) -> String {
    format!(
        r#"{{"id":"{id}","object":"event","type":"{event_type}","created":{created_s},"livemode":true,"api_version":"2026-09-30.endive","data":{{"object":{object}}}}}"#
    )
}

fn charge(more: &str) -> String {
    format!(
        r#"{{"id":"ch_1","object":"charge","status":"succeeded","amount":1000,"amount_captured":1000,"captured":true,"currency":"eur","created":1800000000{more}}}"#
    )
}

/// Runs the next task as a host would, and ends it.
pub(super) async fn process(server: &Server) -> Result<Value, NativeFailure> {
    let task = server.claim().await;
    assert_eq!(task.lane.task_type.as_str(), "stripe.event");
    let answer = run(server, &task.payload).await;
    server.finish(&task, if answer.is_ok() { Outcome::Succeeded } else { Outcome::Permanent }).await;
    answer
}

async fn run(server: &Server, payload: &str) -> Result<Value, NativeFailure> {
    let native = ProcessStripeEvent {
        store: Arc::clone(&server.store) as Arc<dyn Store>,
        clock: server.clock.clone(),
        order_key: ORDER_KEY.to_owned(),
    };
    let call = NativeCall {
        id: taskwarden::task::TaskId::new(),
        lane: taskwarden::task::LaneKey { task_type: "stripe.event".parse().expect("a type"), ai_model: None },
        attempt: 1,
        max_attempts: 1,
        payload: payload.into(),
        idempotency_key: None,
        cancel: CancellationToken::new(),
    };
    native.execute(call).await.map(|result| serde_json::from_str(&result).expect("JSON"))
}

/// Whose the events are that name no account.
fn ours() -> Owner {
    Owner { account: String::new(), livemode: true }
}

async fn known(server: &Server, kind: Kind, id: &str) -> Option<Transaction> {
    let key = Key { owner: ours(), kind, id: id.to_owned() };
    server.store.stripe_transaction(&key).await.expect("an answer")
}

#[tokio::test]
async fn an_event_is_kept_with_its_task_and_processed_once() {
    let server = Server::start().await;
    let body = event("evt_1", "charge.succeeded", 1_800_000_000, &charge(""));
    let reply = deliver(&server, &body).await;
    assert_eq!((reply.status, reply.body["verdict"].as_str(), reply.body["known"].as_bool()), (200, Some("accepted"), Some(false)));
    let task = reply.body["task"].as_str().expect("a task").to_owned();
    let again = deliver(&server, &body).await;
    assert_eq!((again.status, again.body["known"].as_bool(), again.body.get("task")), (200, Some(true), None));

    let kept = server.store.stripe_event("evt_1").await.expect("an answer").expect("it is there");
    assert_eq!((&*kept.body, kept.verdict, kept.created_at.0), (body.as_bytes(), Verdict::Accepted, 1_800_000_000_000));
    use sha2::Digest as _;
    assert_eq!(kept.body_sha256, <[u8; 32]>::from(sha2::Sha256::digest(&body)));

    assert_eq!(process(&server).await.expect("done")["changed"], 1);
    assert_eq!(server.get(&format!("/v1/tasks/{task}")).await.body["state"], "succeeded");
    assert_eq!(server.get("/v1/tasks?state=queued").await.body["tasks"], json!([]), "the repeat made no second task");
    let row = known(&server, Kind::Charge, "ch_1").await.expect("a row");
    assert_eq!((row.standing.status.as_str(), row.captured.amount), ("succeeded", 1000));
    server.stop().await;
}

#[tokio::test]
async fn odd_bodies_are_kept_and_say_what_is_wrong_with_them() {
    let server = Server::start().await;
    let named = |id: &str, object: &str| event(id, "charge.updated", 1, object).into_bytes();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let mut not_text = named("evt_text", &charge(r#","description":"?""#));
    let at = not_text.iter().rposition(|byte| *byte == b'?').expect("it is there");
    not_text[at] = 0xff;
    for (body, verdict, processed) in [
        ([b"\xef\xbb\xbf".as_slice(), &named("evt_bom", &charge(""))].concat(), "unreadable", None),
        (not_text, "unreadable", None),
        (br#"{"id":"evt_a","id":"evt_b","type":"charge.updated"}"#.to_vec(), "unreadable", None),
        (b"[]".to_vec(), "unreadable", None),
        (named("evt_none", "null"), "accepted", Some("carries none")),
        (named("evt_deep", &charge(&format!(r#","metadata":{deep}"#))), "accepted", Some("cannot be read")),
        (named("evt_float", &charge("").replace("\"amount\":1000", "\"amount\":1000.0")), "accepted", Some("amount of ch_1 is 1000.0")),
        (named("evt_huge", &charge("").replace("\"amount\":1000", "\"amount\":9223372036854775808")), "accepted", Some("amount of ch_1")),
        (named("evt_exp", &charge("").replace("\"amount\":1000", "\"amount\":1e999")), "accepted", Some("cannot be read")),
        (named("evt_least", &charge("").replace("\"amount\":1000", "\"amount\":-9223372036854775808")), "accepted", Some("amount of ch_1")),
        (named("evt_kind", r#"{"id":"thing_1","object":"thing","amount":1}"#), "accepted", Some("\"thing\" is no kind")),
        (named("evt_gone", r#"{"id":"ch_9","object":"charge","deleted":true}"#), "accepted", Some("amount of ch_9 is missing")),
        (named("evt_fine", &charge("")), "accepted", Some("")),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let header = sign(&secret("whsec_test_secret"), &body, seconds(&server));
        let reply = send(&server, &header, &body).await;
        assert_eq!((reply.status, reply.body["verdict"].as_str()), (200, Some(verdict)), "{shown}: {}", reply.body);
        let kept = server.store.stripe_event(reply.body["event"].as_str().expect("an id")).await.expect("an answer").expect("it is kept");
        assert_eq!(&*kept.body, body.as_slice(), "{shown}");
        match (processed, if processed.is_some() { Some(process(&server).await) } else { None }) {
            (Some(why), Some(Err(NativeFailure::Permanent(said)))) if !why.is_empty() => assert!(said.contains(why), "{shown}: {said}"),
            (None, None) | (Some(""), Some(Ok(_))) => {}
            (_, other) => panic!("{shown}: {other:?}"),
        }
    }
    let row = known(&server, Kind::Charge, "ch_1").await.expect("the last one");
    assert_eq!(row.standing.amount, 1000);
    server.stop().await;
}

#[tokio::test]
async fn an_event_whose_body_was_taken_out_says_so() {
    let server = Server::start().await;
    deliver(&server, &event("evt_1", "charge.succeeded", 1_800_000_000, &charge(""))).await;
    let later = server.clock.now().plus(Duration::from_secs(1));
    assert_eq!(server.store.prune_stripe_bodies(later, 10).await.expect("an answer"), 1);
    let failure = process(&server).await.expect_err("nothing is left to process");
    assert!(matches!(&failure, NativeFailure::Invalid(why) if why.contains("body_retention_ms")), "{failure:?}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_genuine_is_refused_and_leaves_nothing() {
    let server = Server::start().await;
    let body = event("evt_1", "charge.succeeded", 1, &charge(""));
    let (right, now) = (secret("whsec_test_secret"), seconds(&server));
    let good = sign(&right, body.as_bytes(), now);
    for header in [
        sign(&secret("whsec_other"), body.as_bytes(), now),
        sign(&right, body.as_bytes(), now - 400),
        sign(&right, body.as_bytes(), now + 400),
        good.replace("v1=", "v0="),
        "t=1".to_owned(),
        "rubbish".to_owned(),
        format!("{good},{}", "x=y,".repeat(2000)),
    ] {
        send(&server, &header, body.as_bytes()).await.is_problem(400, "invalid_signature", None);
    }
    send(&server, &good, body.replace("1000", "9000").as_bytes()).await.is_problem(400, "invalid_signature", None);
    let twice = server.request(Method::POST, "/v1/webhooks/stripe").header("Stripe-Signature", &good).header("Stripe-Signature", &good);
    Reply::of(twice.body(body.clone()).send().await.expect("an answer")).await.is_problem(400, "invalid_signature", None);
    let none = server.request(Method::POST, "/v1/webhooks/stripe").body(body.clone());
    Reply::of(none.send().await.expect("an answer")).await.is_problem(400, "invalid_signature", None);
    assert!(server.store.stripe_event("evt_1").await.expect("an answer").is_none());
    assert_eq!(server.get("/v1/tasks").await.body["tasks"], json!([]));
    let metrics = server.request(Method::GET, "/metrics").send().await.expect("an answer").text().await.expect("text");
    assert!(metrics.contains("taskwarden_stripe_events_refused_total{verdict=\"mismatch\"} 2"), "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn without_a_secret_nothing_is_believed_and_a_rolled_one_counts_beside_the_new() {
    let closed = Server::start_with(SystemClock::shared(), |config| config.stripe.secrets.clear()).await;
    deliver(&closed, "{}").await.is_problem(503, "webhook_not_configured", None);
    closed.stop().await;
    let rolled = Server::start_with(SystemClock::shared(), |config| {
        config.auth = AuthMode::Tokens;
        config.stripe.secrets = vec![secret("whsec_new"), secret("whsec_old")];
    })
    .await;
    let (body, now) = (event("evt_1", "charge.updated", 1, &charge("")), seconds(&rolled));
    let (new, old) = (sign(&secret("whsec_new"), body.as_bytes(), now), sign(&secret("whsec_old"), body.as_bytes(), now));
    let both = format!("{new},{},v1=bad", old.split_once(',').expect("two parts").1);
    for header in [&new, &old, &both] {
        assert_eq!(send(&rolled, header, body.as_bytes()).await.status, 200, "no token is needed: {header}");
    }
    rolled.stop().await;
}

#[tokio::test]
async fn bodies_have_a_bound() {
    let server = Server::start_with(SystemClock::shared(), |config| config.stripe.body_bytes_max = 100).await;
    deliver(&server, &"x".repeat(101)).await.is_problem(413, "payload_too_large", None);
    assert_eq!(deliver(&server, &"x".repeat(100)).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_ours_or_not_known_is_kept_and_changes_nothing() {
    let server = Server::start_with(SystemClock::shared(), |config| {
        config.stripe = StripeEndpoint { livemode: Some(true), account: Some(String::new()), ..config.stripe.clone() };
    })
    .await;
    let live = event("evt_1", "charge.succeeded", 1, &charge(""));
    for (body, id, verdict) in [
        (live.replace("\"livemode\":true", "\"livemode\":false"), "evt_1", "other_mode"),
        (live.replace("evt_1", "evt_2").replace("\"livemode\":true", "\"livemode\":true,\"account\":\"acct_1\""), "evt_2", "other_account"),
        (live.replace("evt_1", "evt_3").replace("charge.succeeded", "customer.created"), "evt_3", "unknown_type"),
        ("no JSON".to_owned(), "-", "unreadable"),
    ] {
        let reply = deliver(&server, &body).await;
        assert_eq!((reply.status, reply.body["verdict"].as_str(), reply.body.get("task")), (200, Some(verdict), None), "{body}");
        let id = if verdict == "unreadable" { reply.body["event"].as_str().expect("an id").to_owned() } else { id.to_owned() };
        let kept = server.store.stripe_event(&id).await.expect("an answer").expect("it is kept");
        assert_eq!((&*kept.body, kept.verdict.name()), (body.as_bytes(), verdict));
        // Whoever may submit tasks can name it; that does not make it ours.
        assert!(matches!(run(&server, &json!({ "event": id }).to_string()).await, Err(NativeFailure::Invalid(_))));
    }
    assert_eq!(server.get("/v1/tasks").await.body["tasks"], json!([]));
    assert!(known(&server, Kind::Charge, "ch_1").await.is_none());
    let metrics = server.request(Method::GET, "/metrics").send().await.expect("an answer").text().await.expect("text");
    for verdict in ["other_mode", "other_account", "unknown_type", "unreadable"] {
        assert!(metrics.contains(&format!("taskwarden_stripe_events_total{{verdict=\"{verdict}\"}} 1")), "{metrics}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_late_event_fills_what_was_missing_and_says_what_to_fetch() {
    let server = Server::start().await;
    for body in [
        event("evt_2", "charge.updated", 1_800_000_009, &charge(r#","balance_transaction":"txn_1""#)),
        event("evt_1", "charge.succeeded", 1_800_000_001, &charge(r#","balance_transaction":null"#)),
    ] {
        deliver(&server, &body).await;
        process(&server).await.expect("done");
    }
    let row = known(&server, Kind::Charge, "ch_1").await.expect("a row");
    assert_eq!((row.links.balance_transaction.as_deref(), row.standing.by.as_str()), (Some("txn_1"), "evt_2"));
    let wanted = server.store.stripe_wanted(&ours(), server.clock.now(), 10).await.expect("an answer");
    assert_eq!(wanted.iter().map(|one| (one.object.as_str(), one.id.as_str())).collect::<Vec<_>>(), [("balance_transaction", "txn_1")]);
    server.store.settle_stripe_wanted(wanted, None).await.expect("settled");
    assert!(server.store.stripe_wanted(&ours(), server.clock.now(), 10).await.expect("an answer").is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_thin_event_names_what_to_fetch_unless_the_same_was_told_in_full() {
    let server = Server::start().await;
    let thin = |id: &str, snapshot: &str| {
        format!(
            r#"{{"id":"{id}","object":"v2.core.event","type":"v1.charge.updated","created":"2026-10-04T15:13:32.232083866Z","livemode":true,
                "related_object":{{"id":"ch_1","type":"charge","url":"/v1/charges/ch_1"}},"snapshot_event":"{snapshot}"}}"#
        )
    };
    deliver(&server, &event("evt_1", "charge.succeeded", 1, &charge(""))).await;
    process(&server).await.expect("done");
    deliver(&server, &thin("evt_2", "evt_1")).await;
    assert_eq!(process(&server).await.expect("done")["wanted"], 0);
    deliver(&server, &thin("evt_3", "evt_0")).await;
    assert_eq!(process(&server).await.expect("done")["wanted"], 1);
    let wanted = server.store.stripe_wanted(&ours(), server.clock.now(), 10).await.expect("an answer");
    assert_eq!((wanted.len(), wanted[0].object.as_str(), wanted[0].id.as_str()), (1, "charge", "ch_1"));
    server.stop().await;
}

#[tokio::test]
async fn money_that_is_none_fails_its_task_in_words_and_loses_nothing() {
    let server = Server::start().await;
    let object = r#"{"id":"po_1","object":"payout","status":"paid","amount":"10.00","currency":"usd"}"#;
    assert_eq!(deliver(&server, &event("evt_1", "payout.paid", 1, object)).await.status, 200);
    let Err(NativeFailure::Permanent(why)) = process(&server).await else { panic!("it cannot be processed") };
    assert!(why.contains("evt_1") && why.contains("amount of po_1 is \"10.00\""), "{why}");
    assert!(known(&server, Kind::Payout, "po_1").await.is_none());
    assert!(server.store.stripe_event("evt_1").await.expect("an answer").is_some());
    server.stop().await;
}
