//! Tokens and scopes.

use super::*;
use taskwarden::store::{TokenRecord, TokenScope};

const EVERY_SCOPE: [TokenScope; 3] = [TokenScope::Submit, TokenScope::Read, TokenScope::Admin];

async fn with_tokens() -> Server {
    Server::start_with(SystemClock::shared(), |config| config.auth = AuthMode::Tokens).await
}

async fn give(server: &Server, text: &str, scopes: &[TokenScope]) -> TokenRecord {
    let record = TokenRecord {
        id: taskwarden::task::TaskId::new().0,
        hash: taskwarden::token::hash(text),
        scopes: scopes.to_vec(),
        label: text.to_owned(),
        created_at: server.clock.now(),
    };
    server.store.put_token(record.clone()).await.expect("kept");
    record
}

async fn ask(server: &Server, method: Method, path: &str, token: Option<&str>) -> Reply {
    let mut request = server.request(method, path);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    Reply::of(request.send().await.expect("an answer")).await
}

/// Each operation of one scope, with a status that says it was let through.
const DOORS: [(TokenScope, &str, &str); 8] = [
    (TokenScope::Submit, "POST", "/v1/tasks"),
    (TokenScope::Submit, "POST", "/v1/tasks/batch"),
    (TokenScope::Read, "GET", "/v1/tasks"),
    (TokenScope::Read, "GET", "/v1/plugins"),
    (TokenScope::Read, "GET", "/v1/blobs/x"),
    (TokenScope::Admin, "GET", "/v1/admin/lanes"),
    (TokenScope::Admin, "DELETE", "/v1/admin/tokens/x"),
    (TokenScope::Admin, "GET", "/v1/admin/limits"),
];

#[tokio::test]
async fn each_door_opens_for_its_scope_only() {
    let server = with_tokens().await;
    for scope in EVERY_SCOPE {
        give(&server, &format!("{scope:?}"), &[scope]).await;
    }
    for scope in EVERY_SCOPE {
        let name = format!("{scope:?}");
        for (needed, method, path) in DOORS {
            let reply = ask(&server, method.parse().expect("a method"), path, Some(&name)).await;
            let refused = reply.status == 403;
            assert_eq!(refused, scope != needed, "{name} at {method} {path}: {}", reply.body);
            assert_ne!(reply.status, 401, "{name} at {method} {path}");
            if refused {
                reply.is_problem(403, "forbidden", None);
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn without_a_token_only_health_and_the_description_are_open() {
    let server = with_tokens().await;
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(ask(&server, Method::GET, path, None).await.status, 200, "{path}");
    }
    for (_, method, path) in DOORS.into_iter().chain([(TokenScope::Read, "GET", "/metrics"), (TokenScope::Read, "GET", "/v1/events")]) {
        let method: Method = method.parse().expect("a method");
        for token in [None, Some(""), Some("wrong")] {
            let reply = ask(&server, method.clone(), path, token).await;
            reply.is_problem(401, "unauthorized", None);
            assert!(reply.header("www-authenticate").starts_with("Bearer"));
        }
    }
    let basic = server.request(Method::GET, "/v1/tasks").header("Authorization", "Basic d3Jvbmc=").send().await;
    assert_eq!(basic.expect("an answer").status(), 401);
    server.stop().await;
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_one_from_another_process_is_known_soon() {
    let clock = taskwarden::clock::VirtualClock::starting_at(UnixMs(1_800_000_000_000));
    let server = Server::start_with(clock.clone(), |config| config.auth = AuthMode::Tokens).await;
    give(&server, "boss", &EVERY_SCOPE).await;
    let as_boss = server.request(Method::POST, "/v1/admin/tokens").header("Authorization", "Bearer boss");
    let made = Reply::of(as_boss.json(&json!({"scopes": ["read", "read"], "label": "for ci"})).send().await.expect("an answer")).await;
    assert_eq!((made.status, &made.body["scopes"], made.header("cache-control")), (201, &json!(["read"]), "no-store"));
    let (token, id) = (made.body["token"].as_str().expect("shown once"), made.body["id"].as_str().expect("an id"));
    let read = |token: &str| {
        let token = token.to_owned();
        let server = &server;
        async move { ask(server, Method::GET, "/v1/plugins", Some(&token)).await.status }
    };
    assert_eq!(read(token).await, 200);
    let listed = ask(&server, Method::GET, "/v1/admin/tokens", Some("boss")).await.body;
    assert!(!listed.to_string().contains(token), "a token is never shown again");
    assert!(listed["tokens"].as_array().is_some_and(|tokens| tokens.len() == 2));
    let path = format!("/v1/admin/tokens/{id}");
    assert_eq!(ask(&server, Method::DELETE, &path, Some("boss")).await.status, 204);
    assert_eq!(ask(&server, Method::DELETE, &path, Some("boss")).await.status, 404);
    assert_eq!(read(token).await, 401);

    let other = give(&server, "made elsewhere", &[TokenScope::Read]).await;
    clock.advance(Duration::from_millis(500));
    assert_eq!(read("made elsewhere").await, 200);
    server.store.remove_token(other.id).await.expect("removed");
    clock.advance(Duration::from_secs(3));
    assert_eq!(read("made elsewhere").await, 401);
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_new_token_is_named() {
    let server = Server::start().await;
    for (body, code, field) in [
        (json!({"scopes": []}), "invalid_field", "scopes"),
        (json!({}), "invalid_field", "scopes"),
        (json!({"scopes": ["root"]}), "invalid_field", "scopes[0]"),
        (json!({"scopes": ["read"], "label": "\n"}), "invalid_field", "label"),
        (json!({"scopes": ["read"], "lable": "x"}), "unknown_field", "lable"),
    ] {
        server.post("/v1/admin/tokens", &body).await.is_problem(422, code, Some(field));
    }
    server.stop().await;
}

#[tokio::test]
async fn who_names_a_table_of_the_host_must_be_one_who_may_read() {
    let server = with_tokens().await;
    give(&server, "writer", &[TokenScope::Submit]).await;
    give(&server, "both", &[TokenScope::Submit, TokenScope::Read]).await;
    let table = json!({ "task_type": "echo", "inputs": { "stripe": { "table": "stripe_balance_transactions", "from": "-35d" } } });
    for (path, body) in [("/v1/tasks", table.clone()), ("/v1/tasks/batch", json!({ "tasks": [table] }))] {
        let ask = async |token: &str| {
            let request = server.request(Method::POST, path).header("Authorization", format!("Bearer {token}")).json(&body);
            Reply::of(request.send().await.expect("an answer")).await
        };
        ask("writer").await.is_problem(403, "forbidden", Some("inputs"));
        let taken = ask("both").await;
        assert!(taken.status < 300, "{}", taken.body);
    }
    server.stop().await;
}
