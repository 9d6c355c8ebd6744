//! Submit, look, wait, list, cancel, retry.

use super::*;

#[tokio::test]
async fn a_submitted_task_is_there_with_everything_that_was_sent() {
    let server = Server::start().await;
    let sent = json!({
        "task_type": "echo", "ai_model": "claude-opus", "priority": "high", "payload": {"a": [1, 2.50, "x"]}, "inputs": {},
        "run_at": "2001-01-01T00:00:00+02:00", "max_attempts": 7, "tenant": "acme", "tags": ["one", "two"], "limits": {"fuel": 10},
        "idempotency_key": "k"
    });
    let made = server.post("/v1/tasks", &sent).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.body["id"].as_str().expect("an id");
    assert_eq!(made.header("location"), format!("/v1/tasks/{id}"));
    let found = server.get(&format!("/v1/tasks/{id}")).await;
    for body in [&made.body, &found.body] {
        for name in
            ["task_type", "ai_model", "priority", "payload", "inputs", "max_attempts", "tenant", "tags", "limits", "idempotency_key"]
        {
            assert_eq!(body[name], sent[name], "{name}");
        }
        assert_eq!((&body["state"], &body["attempt"]), (&json!("queued"), &json!(0)));
        assert_eq!((&body["result"], &body["receipt"], &body["started_at"]), (&Value::Null, &Value::Null, &Value::Null));
    }
    assert!(found.body["created_at"].as_str().is_some_and(|at| at.ends_with('Z')));
    server.bells.urgent.notified().await;
    server.stop().await;
}

#[tokio::test]
async fn defaults_come_from_the_task_type_and_then_from_the_host() {
    let server = Server::start_with(SystemClock::shared(), |config| {
        let low = taskwarden::task::TaskDefaults { priority: taskwarden::task::Priority::Low, max_attempts: 9 };
        config.task_defaults.own.insert("self_improvement".parse().expect("a type"), low);
    })
    .await;
    let made = server.post("/v1/tasks", &json!({"task_type": "self_improvement"})).await.body;
    assert_eq!((&made["priority"], &made["max_attempts"], &made["payload"]), (&json!("low"), &json!(9), &Value::Null));
    let made = server.post("/v1/tasks", &echo()).await.body;
    assert_eq!((&made["priority"], &made["max_attempts"]), (&json!("normal"), &json!(3)));
    let later = server.post("/v1/tasks", &json!({"task_type": "echo", "run_at": "2999-01-01T00:00:00Z"})).await.body;
    assert_eq!((&later["state"], &later["run_at"]), (&json!("scheduled"), &json!("2999-01-01T00:00:00.000Z")));
    server.stop().await;
}

#[tokio::test]
async fn a_repeated_idempotency_key_gives_the_first_task_back_or_a_conflict() {
    let server = Server::start().await;
    let first = server.post("/v1/tasks", &json!({"task_type": "echo", "payload": {"a": 1, "b": 2}, "idempotency_key": "k"})).await;
    assert_eq!(first.status, 201);
    let repeat = |body: &'static str| {
        let request = server.request(Method::POST, "/v1/tasks").header("Idempotency-Key", "k").header("Content-Type", "application/json");
        async move { Reply::of(request.body(body).send().await.expect("an answer")).await }
    };
    let same = repeat(r#" { "payload" : {"b":2, "a":1}, "task_type":"echo" } "#).await;
    assert_eq!((same.status, &same.body["id"]), (200, &first.body["id"]), "key order and white space do not matter, nor where the key is");
    let other = repeat(r#"{"task_type":"echo","payload":{"a":1,"b":3}}"#).await;
    other.is_problem(409, "idempotency_conflict", Some("idempotency_key"));
    assert_eq!(other.body["existing_task"], first.body["id"]);
    repeat(r#"{"task_type":"echo","idempotency_key":"l"}"#).await.is_problem(422, "invalid_field", Some("idempotency_key"));
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let server = Server::start().await;
    let long = "x".repeat(300);
    for (body, code, field) in [
        (json!({"task_type": "echo", "colour": 1}), "unknown_field", "colour"),
        (json!({"task_type": "echo", "priority": "urgent"}), "invalid_field", "priority"),
        (json!({"task_type": "echo", "priority": 3}), "invalid_field", "priority"),
        (json!({"payload": 3}), "invalid_field", "task_type"),
        (json!({"task_type": ""}), "invalid_field", "task_type"),
        (json!({"task_type": "echo", "ai_model": long}), "invalid_field", "ai_model"),
        (json!({"task_type": "echo", "max_attempts": 0}), "invalid_field", "max_attempts"),
        (json!({"task_type": "echo", "max_attempts": 101}), "invalid_field", "max_attempts"),
        (json!({"task_type": "echo", "run_at": "tomorrow"}), "invalid_field", "run_at"),
        (json!({"task_type": "echo", "tenant": "a b"}), "invalid_field", "tenant"),
        (json!({"task_type": "echo", "tags": ["a", ""]}), "invalid_field", "tags[1]"),
        (json!({"task_type": "echo", "limits": {"feul": 1}}), "unknown_field", "limits.feul"),
        (json!({"task_type": "echo", "limits": {"fuel": 0}}), "invalid_field", "limits.fuel"),
        (json!({"task_type": "echo", "limits": {"artifact_bytes": 9}}), "invalid_field", "limits.artifact_bytes"),
        (json!({"task_type": "echo", "inputs": {"a": {"blub": 1}}}), "unknown_field", "inputs.a.blub"),
        (json!({"task_type": "echo", "inputs": {"a": {"blob": "1"}}}), "invalid_field", "inputs.a.blob"),
        (json!({"task_type": "echo", "inputs": {"a": {"blob": "00000000-0000-7000-8000-000000000000"}}}), "invalid_field", "inputs.a.blob"),
        (json!({"task_type": "echo", "idempotency_key": ""}), "invalid_field", "idempotency_key"),
        (json!({"task_type": "nobody.takes.this"}), "no_plugin_for_task", "task_type"),
        (json!({"task_type": "strict", "ai_model": "gpt"}), "no_plugin_for_task", "task_type"),
        (json!({"task_type": "strict", "ai_model": "claude-1", "payload": {"n": "1"}}), "invalid_field", "payload.n"),
        (json!({"task_type": "strict", "ai_model": "claude-1", "payload": {}}), "invalid_field", "payload"),
    ] {
        server.post("/v1/tasks", &body).await.is_problem(422, code, Some(field));
        let batch = json!({"tasks": [echo(), body]});
        server.post("/v1/tasks/batch", &batch).await.is_problem(422, code, Some(&format!("tasks[1].{field}")));
    }
    assert_eq!(server.get("/v1/tasks").await.body["tasks"], json!([]), "a batch with one wrong task leaves nothing behind");
    let fits = json!({"task_type": "strict", "ai_model": "claude-1", "payload": {"n": 1}});
    assert_eq!(server.post("/v1/tasks", &fits).await.status, 201);
    server.stop().await;
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_repeats_are_told_apart() {
    let server = Server::start().await;
    let key = |key: &str| json!({"task_type": "echo", "idempotency_key": key});
    let first = server.post("/v1/tasks/batch", &json!({"tasks": [key("a"), echo(), key("b")]})).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let second = server.post("/v1/tasks/batch", &json!({"tasks": [key("b"), key("c"), key("a")]})).await.body;
    let id = |answer: &Value, index: usize| answer["tasks"][index]["id"].clone();
    assert_eq!((id(&second, 0), id(&second, 2)), (id(&first.body, 2), id(&first.body, 0)));
    let created: Vec<_> = (0..3).map(|index| second["tasks"][index]["created"].clone()).collect();
    assert_eq!(created, [false, true, false]);
    assert_eq!(server.post("/v1/tasks/batch", &json!({"tasks": []})).await.body, json!({"tasks": []}));
    let other = json!({"tasks": [echo(), {"task_type": "echo", "payload": 1, "idempotency_key": "a"}]});
    server.post("/v1/tasks/batch", &other).await.is_problem(409, "idempotency_conflict", Some("tasks[1].idempotency_key"));
    server.stop().await;
}

#[tokio::test]
async fn a_large_batch_is_taken_and_a_larger_one_is_not() {
    let server = Server::start().await;
    let task = json!({"task_type": "echo", "ai_model": "claude-opus", "payload": {"text": "some words that take some room"}});
    let full = server.post("/v1/tasks/batch", &json!({"tasks": vec![task.clone(); 10_000]})).await;
    assert_eq!((full.status, full.body["tasks"].as_array().map(Vec::len)), (200, Some(10_000)));
    let over = server.post("/v1/tasks/batch", &json!({"tasks": vec![task; 10_001]})).await;
    over.is_problem(413, "payload_too_large", Some("tasks"));
    let lanes = server.get("/v1/admin/lanes").await.body;
    assert_eq!((&lanes["lanes"][0]["queued"], &lanes["lanes"][0]["ai_model"]), (&json!(10_000), &json!("claude-opus")));
    server.stop().await;
}

#[tokio::test]
async fn waiting_ends_with_the_task_and_not_later() {
    let server = Arc::new(Server::start().await);
    let id = server.submit(&echo()).await;
    let waiter = tokio::spawn({
        let (server, path) = (Arc::clone(&server), format!("/v1/tasks/{id}?wait=60s"));
        async move { server.get(&path).await }
    });
    let task = server.claim().await;
    server.finish(&task, Outcome::Succeeded).await;
    let ended = waiter.await.expect("no panic");
    assert_eq!((ended.status, &ended.body["state"], &ended.body["result"]), (200, &json!("succeeded"), &json!({"n": 1})));
    assert_eq!(ended.body["receipt"]["fuel_used"], 7);
    assert_eq!(ended.body["receipt"]["limits"]["wall_ms"], 60_000);
    let again = server.get(&format!("/v1/tasks/{id}?wait=60s")).await;
    assert_eq!(again.body, ended.body, "a task that is over is answered at once");
}

#[tokio::test]
async fn waiting_for_a_task_that_does_not_end_gives_it_as_it_is() {
    let server = Server::start().await;
    let id = server.submit(&echo()).await;
    let waited = server.get(&format!("/v1/tasks/{id}?wait=1ms")).await;
    assert_eq!((waited.status, &waited.body["state"]), (200, &json!("queued")));
    server.get(&format!("/v1/tasks/{id}?wait=61s")).await.is_problem(422, "invalid_field", Some("wait"));
    server.get(&format!("/v1/tasks/{id}?await=1s")).await.is_problem(422, "unknown_field", Some("await"));
    server.get("/v1/tasks/0191d6d2-0000-7000-8000-000000000000?wait=60s").await.is_problem(404, "not_found", None);
    server.get("/v1/tasks/nonsense").await.is_problem(404, "not_found", None);
    server.stop().await;
}

#[tokio::test]
async fn pages_follow_one_another_without_gaps_while_new_tasks_come_in() {
    let server = Server::start().await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        let answer = server.post("/v1/tasks/batch", &json!({"tasks": vec![echo(); 10]})).await.body;
        expected.extend(answer["tasks"].as_array().expect("tasks").iter().map(|task| task["id"].clone()));
    }
    expected.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/v1/tasks?limit=23&task_type=echo&state=queued&cursor={cursor}")).await.body;
        let ids = page["tasks"].as_array().expect("tasks").iter().map(|task| task["id"].clone());
        seen.extend(ids);
        server.submit(&echo()).await;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, expected);
    for (query, count) in [("task_type=strict", 0), ("ai_model=m", 0), ("tenant=t", 0), ("state=failed", 0), ("limit=1", 1)] {
        let page = server.get(&format!("/v1/tasks?{query}")).await.body;
        assert_eq!(page["tasks"].as_array().map(Vec::len), Some(count), "{query}");
    }
    for (query, code, field) in [
        ("sate=queued", "unknown_field", "sate"),
        ("state=done", "invalid_field", "state"),
        ("limit=0", "invalid_field", "limit"),
        ("limit=501", "invalid_field", "limit"),
        ("cursor=17", "invalid_field", "cursor"),
        ("limit=1&limit=2", "invalid_field", "limit"),
    ] {
        server.get(&format!("/v1/tasks?{query}")).await.is_problem(422, code, Some(field));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_large_tasks_is_shorter_than_asked_for() {
    let server = Server::start().await;
    let large = json!({"task_type": "echo", "payload": "x".repeat(900_000)});
    server.post("/v1/tasks/batch", &json!({"tasks": vec![large; 25]})).await;
    let page = server.get("/v1/tasks?limit=25").await.body;
    assert_eq!(page["tasks"].as_array().map(Vec::len), Some(20));
    let cursor = page["next_cursor"].as_str().expect("there is more");
    let rest = server.get(&format!("/v1/tasks?limit=25&cursor={cursor}")).await.body;
    assert_eq!((rest["tasks"].as_array().map(Vec::len), &rest["next_cursor"]), (Some(5), &Value::Null));
    server.stop().await;
}

#[tokio::test]
async fn cancel_and_retry_say_what_they_did() {
    let server = Server::start().await;
    let id = server.submit(&echo()).await;
    let cancel = format!("/v1/tasks/{id}/cancel");
    let retry = format!("/v1/tasks/{id}/retry");
    server.post(&retry, &Value::Null).await.is_problem(409, "wrong_state", None);
    let cancelled = server.post(&cancel, &Value::Null).await;
    assert_eq!((cancelled.status, &cancelled.body["state"]), (200, &json!("cancelled")));
    server.post(&cancel, &Value::Null).await.is_problem(409, "wrong_state", None);
    let retried = server.post(&retry, &Value::Null).await;
    assert_eq!((retried.status, &retried.body["state"]), (200, &json!("queued")));
    let task = server.claim().await;
    assert_eq!(task.id.to_string(), id);
    let requested = server.post(&cancel, &Value::Null).await;
    assert_eq!((requested.status, &requested.body["state"]), (202, &json!("running")));
    server.bells.cancel.notified().await;
    server.finish(&task, Outcome::Permanent).await;
    let failed = server.get(&format!("/v1/tasks/{id}")).await.body;
    assert_eq!((&failed["state"], &failed["outcome"], &failed["error"]), (&json!("failed"), &json!("permanent"), &json!("it went wrong")));
    for verb in ["cancel", "retry"] {
        let path = format!("/v1/tasks/0191d6d2-0000-7000-8000-000000000000/{verb}");
        server.post(&path, &Value::Null).await.is_problem(404, "not_found", None);
    }
    server.stop().await;
}

#[tokio::test]
async fn logs_and_outputs_can_be_had_and_a_browser_runs_none_of_them() {
    let server = Server::start().await;
    let id = server.submit(&echo()).await;
    assert_eq!(server.get(&format!("/v1/tasks/{id}/logs")).await.body, json!({"lines": []}));
    let task = server.claim().await;
    server.finish(&task, Outcome::Succeeded).await;
    let line = server.get(&format!("/v1/tasks/{id}/logs")).await.body["lines"][0].clone();
    assert_eq!((&line["attempt"], &line["level"], &line["message"]), (&json!(1), &json!("info"), &json!("working")));
    assert_eq!(line["fields"], json!([["n", "1"]]));
    let listed = server.get(&format!("/v1/tasks/{id}/outputs")).await.body;
    assert_eq!(listed["outputs"][0], json!({"name": "page", "media_type": "text/html", "bytes": 8}));
    for (name, kind, bytes) in [("page", "application/octet-stream", "<script>"), ("table", "text/csv", "a,b\n")] {
        let path = format!("/v1/tasks/{id}/outputs/{name}");
        let response = server.request(Method::GET, &path).send().await.expect("an answer");
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().expect("text").to_owned()).unwrap_or_default();
        let headers = [header("content-type"), header("x-content-type-options"), header("content-disposition")];
        assert_eq!(headers, [kind, "nosniff", "attachment"], "{name}");
        assert_eq!(response.text().await.expect("bytes"), bytes);
    }
    server.get(&format!("/v1/tasks/{id}/outputs/other")).await.is_problem(404, "not_found", None);
    server.get("/v1/tasks/0191d6d2-0000-7000-8000-000000000000/logs").await.is_problem(404, "not_found", None);
    server.stop().await;
}
