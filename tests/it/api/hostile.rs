//! Bodies and requests that nobody sends by accident.

use super::*;

async fn raw(server: &Server, body: impl Into<reqwest::Body>) -> Reply {
    let request = server.request(Method::POST, "/v1/tasks").header("Content-Type", "application/json");
    Reply::of(request.body(body).send().await.expect("an answer")).await
}

#[tokio::test]
async fn malformed_bodies_are_told_from_wrong_ones() {
    let server = Server::start().await;
    let not_utf8 = [br#"{"task_type":"echo","payload":""#.as_slice(), &[0xff, 0xfe], br#""}"#].concat();
    for body in [b"".to_vec(), b"{".to_vec(), b"nonsense".to_vec(), b"{} {}".to_vec(), b"{\"task_type\":\"echo\",}".to_vec(), not_utf8] {
        raw(&server, body).await.is_problem(400, "malformed_json", None);
    }
    raw(&server, r#"["echo"]"#).await.is_problem(422, "invalid_field", Some("body"));
    raw(&server, r#"{"task_type":"echo","task_type":"strict"}"#).await.is_problem(422, "invalid_field", Some("task_type"));
    raw(&server, r#"{"task_type":"echo","limits":{"fuel":1,"fuel":2}}"#).await.is_problem(422, "invalid_field", Some("limits"));
    raw(&server, r#"{"task_type":"echo\ud800"}"#).await.is_problem(422, "invalid_field", Some("task_type"));
    let other = server.request(Method::POST, "/v1/tasks").header("Content-Type", "text/plain").body("{}").send().await;
    Reply::of(other.expect("an answer")).await.is_problem(415, "unsupported_media_type", None);
    server.stop().await;
}

#[tokio::test]
async fn depth_and_size_are_bounded_and_answers_stay_short() {
    let server = Server::start().await;
    let nested = |depth: usize| format!(r#"{{"task_type":"echo","payload":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    raw(&server, nested(101)).await.is_problem(422, "invalid_field", Some("payload"));
    raw(&server, nested(400_000)).await.is_problem(422, "invalid_field", Some("payload"));
    assert_eq!(raw(&server, nested(100)).await.status, 201);
    let keyed = nested(100).replace(r#""payload""#, r#""idempotency_key":"deep","payload""#);
    let keyed = raw(&server, keyed).await;
    assert_eq!(keyed.status, 201, "{}", keyed.body);
    assert_eq!(server.get("/v1/tasks").await.status, 200);
    let in_payload = format!(r#"{{"task_type":"echo","payload":"{}"}}"#, "x".repeat(1 << 20));
    raw(&server, in_payload).await.is_problem(413, "payload_too_large", Some("payload"));
    raw(&server, format!(r#"{{"task_type":"{}"}}"#, "x".repeat(4 << 20))).await.is_problem(413, "payload_too_large", None);
    for field in ["task_type", "priority", "run_at", "tenant"] {
        let mut body = echo();
        body[field] = json!("é".repeat(60_000));
        let reply = server.post("/v1/tasks", &body).await;
        reply.is_problem(422, "invalid_field", Some(field));
        assert!(reply.body.to_string().len() < 2_000, "what was sent is not sent back whole");
    }
    let unknown = raw(&server, format!(r#"{{"{}":1}}"#, "k".repeat(100_000))).await;
    assert_eq!(unknown.body["code"], "unknown_field");
    assert!(unknown.body.to_string().len() < 2_000);
    server.stop().await;
}

#[tokio::test]
async fn numbers_that_others_would_round_are_kept_as_they_were_sent() {
    let server = Server::start().await;
    let made = server
        .request(Method::POST, "/v1/tasks")
        .header("Content-Type", "application/json")
        .body(r#"{"task_type":"echo","payload":{"n":123456789012345678901234567890.10}}"#)
        .send()
        .await
        .expect("an answer");
    let text = made.text().await.expect("a body");
    assert!(text.contains(r#""payload":{"n":123456789012345678901234567890.10}"#), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn addresses_and_methods_that_do_not_exist_are_problems_too() {
    let server = Server::start().await;
    server.get("/").await.is_problem(404, "not_found", None);
    server.get("/v1/nothing?x=1").await.is_problem(404, "not_found", None);
    server.get("/v1/tasks/%ff").await.is_problem(400, "bad_request", None);
    let wrong = server.send(Method::DELETE, "/v1/tasks", &Value::Null).await;
    wrong.is_problem(405, "method_not_allowed", None);
    let allowed = wrong.header("allow");
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_host_without_tokens_does_not_serve_pages_of_others() {
    let server = Server::start().await;
    let port = server.address.port();
    let with = |name: &'static str, value: String| {
        let request = server.request(Method::GET, "/v1/tasks").header(name, value);
        async move { Reply::of(request.send().await.expect("an answer")).await }
    };
    with("Host", format!("evil.example:{port}")).await.is_problem(403, "forbidden", None);
    with("Host", format!("127.0.0.1.evil.example:{port}")).await.is_problem(403, "forbidden", None);
    with("Origin", "https://evil.example".to_owned()).await.is_problem(403, "forbidden", None);
    with("Origin", "null".to_owned()).await.is_problem(403, "forbidden", None);
    assert_eq!(with("Host", format!("localhost:{port}")).await.status, 200);
    assert_eq!(with("Origin", format!("http://127.0.0.1:{port}")).await.status, 200);
    server.stop().await;
}
