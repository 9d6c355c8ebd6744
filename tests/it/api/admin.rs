//! What operators do.

use super::*;

const LATE: &str = "name = \"late\"\nversion = \"0.1.0\"\ntask_types = [\"late\"]\ncapabilities = [\"log\"]\n";

async fn install(server: &Server, artifact: Vec<u8>) -> Reply {
    Reply::of(server.request(Method::POST, "/v1/admin/plugins").body(artifact).send().await.expect("an answer")).await
}

#[tokio::test]
async fn a_plugin_comes_and_goes_while_the_host_runs() {
    let server = Server::start().await;
    let late = json!({"task_type": "late"});
    server.post("/v1/tasks", &late).await.is_problem(422, "no_plugin_for_task", Some("task_type"));
    let installed = install(&server, artifact(LATE)).await;
    assert_eq!(installed.status, 201, "{}", installed.body);
    for name in ["name", "version", "digest", "task_types", "ai_models", "capabilities", "limits"] {
        assert!(!installed.body[name].is_null(), "{name}");
    }
    assert_eq!((&installed.body["capabilities"], &installed.body["ai_models"]), (&json!(["log"]), &json!(["*"])));
    assert_eq!(server.post("/v1/tasks", &late).await.status, 201);
    for path in ["/v1/plugins", "/v1/admin/plugins"] {
        let names: Vec<_> =
            server.get(path).await.body["plugins"].as_array().expect("plugins").iter().map(|plugin| plugin["name"].clone()).collect();
        assert_eq!(names, ["echo", "late", "strict"], "{path}");
    }
    assert_eq!(server.send(Method::DELETE, "/v1/admin/plugins/late", &Value::Null).await.status, 204);
    server.send(Method::DELETE, "/v1/admin/plugins/late", &Value::Null).await.is_problem(404, "not_found", None);
    server.post("/v1/tasks", &late).await.is_problem(422, "no_plugin_for_task", Some("task_type"));
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_a_plugin_is_refused_with_the_reason() {
    let server = Server::start_with(SystemClock::shared(), |config| config.artifact_bytes_max = 100_000).await;
    install(&server, b"not wasm at all".to_vec()).await.is_problem(422, "plugin_refused", None);
    install(&server, Vec::new()).await.is_problem(422, "invalid_field", Some("body"));
    install(&server, vec![0; 100_001]).await.is_problem(413, "payload_too_large", None);
    let rival = LATE.replace("\"late\"\nversion", "\"rival\"\nversion").replace("[\"late\"]", "[\"echo\"]");
    let tie = install(&server, artifact(&rival)).await;
    tie.is_problem(409, "route_tie", None);
    assert!(tie.body["detail"].as_str().is_some_and(|detail| detail.contains("echo") && detail.contains("rival")));
    server.stop().await;
}

#[tokio::test]
async fn a_file_for_the_ledger_has_a_largest_size_that_the_operator_sets() {
    let server = Server::start_with(SystemClock::shared(), |config| config.import_bytes_max = 100).await;
    let import = async |bytes: usize| {
        let file = format!("{:bytes$}", "[]");
        Reply::of(server.request(Method::POST, "/v1/admin/stripe/import?kind=api&mode=test").body(file).send().await.expect("an answer"))
            .await
    };
    let fits = import(100).await;
    assert_eq!(fits.status, 200, "{}", fits.body);
    let larger = import(101).await;
    larger.is_problem(413, "payload_too_large", None);
    assert!(larger.body["detail"].as_str().is_some_and(|detail| detail.contains("http.import_bytes")), "{}", larger.body);
    server.stop().await;
}

#[tokio::test]
async fn a_lane_is_paused_capped_and_weighed() {
    let server = Server::start().await;
    server.submit(&echo()).await;
    let change = |body: Value| {
        let server = &server;
        async move { server.send(Method::PATCH, "/v1/admin/lanes", &body).await }
    };
    let paused = change(json!({"task_type": "echo", "paused": true, "concurrency_cap": 2, "weight": 5})).await;
    assert_eq!(paused.status, 200, "{}", paused.body);
    assert_eq!((&paused.body["paused"], &paused.body["concurrency_cap"], &paused.body["weight"]), (&json!(true), &json!(2), &json!(5)));
    assert_eq!(paused.body["queued"], 1);
    let resumed = change(json!({"task_type": "echo", "paused": false})).await.body;
    assert_eq!((&resumed["paused"], &resumed["concurrency_cap"], &resumed["weight"]), (&json!(false), &json!(2), &json!(5)));
    let lifted = change(json!({"task_type": "echo", "concurrency_cap": null})).await.body;
    assert_eq!(lifted["concurrency_cap"], Value::Null);
    let made = change(json!({"task_type": "new", "ai_model": "m/1", "paused": true})).await.body;
    assert_eq!((&made["ai_model"], &made["queued"]), (&json!("m/1"), &json!(0)));
    assert_eq!(server.get("/v1/admin/lanes").await.body["lanes"].as_array().map(Vec::len), Some(2));
    for (body, code, field) in [
        (json!({"paused": true}), "invalid_field", "task_type"),
        (json!({"task_type": "echo", "pause": true}), "unknown_field", "pause"),
        (json!({"task_type": "echo", "concurrency_cap": 0}), "invalid_field", "concurrency_cap"),
        (json!({"task_type": "echo", "weight": 0}), "invalid_field", "weight"),
        (json!({"task_type": "echo", "weight": 10_001}), "invalid_field", "weight"),
        (json!({"task_type": "echo", "ai_model": ""}), "invalid_field", "ai_model"),
    ] {
        change(body).await.is_problem(422, code, Some(field));
    }
    server.stop().await;
}

#[tokio::test]
async fn limits_are_set_live_kept_and_bounded_by_their_ceilings() {
    let server = Server::start().await;
    let effective = |model: &'static str| {
        let server = &server;
        async move { server.get(&format!("/v1/admin/routes?task_type=echo&ai_model={model}")).await.body["routes"][0]["limits"].clone() }
    };
    assert_eq!(effective("m").await["fuel"], 5000, "what the manifest asks for");
    for (path, limits) in [
        ("/v1/admin/limits/host", json!({"wall_ms": 900})),
        ("/v1/admin/limits/task_type/echo", json!({"fuel": 400, "log_bytes": 10})),
        ("/v1/admin/limits/ai_model/m", json!({"fuel": 300})),
        ("/v1/admin/limits/plugin/echo", json!({"memory_bytes": 70_000})),
    ] {
        let set = server.send(Method::PUT, path, &limits).await;
        assert_eq!((set.status, &set.body["limits"]), (200, &limits), "{path}: {}", set.body);
    }
    let with_retry = json!({"fuel": 400, "log_bytes": 10, "retry_limits_percent": 300});
    let set = server.send(Method::PUT, "/v1/admin/limits/task_type/echo", &with_retry).await.body;
    assert_eq!((&set["limits"], &set["retry_limits_percent"]), (&json!({"fuel": 400, "log_bytes": 10}), &json!(300)));
    let now = effective("m").await;
    assert_eq!([&now["wall_ms"], &now["fuel"], &now["log_bytes"], &now["memory_bytes"]], [900, 300, 10, 70_000]);
    assert_eq!(effective("other").await["fuel"], 400);
    let stored = server.store.limit_settings().await.expect("read");
    assert_eq!(stored.len(), 4, "they outlive the host: {stored:?}");
    assert_eq!(server.send(Method::DELETE, "/v1/admin/limits/ai_model/m", &Value::Null).await.status, 204);
    assert_eq!(server.send(Method::DELETE, "/v1/admin/limits/host", &Value::Null).await.status, 204);
    assert_eq!((&effective("m").await["fuel"], &effective("m").await["wall_ms"]), (&json!(400), &json!(60_000)));
    let read = server.get("/v1/admin/limits").await.body;
    assert_eq!(read["scopes"].as_array().map(Vec::len), Some(2));
    let fuel = read["limits"].as_array().and_then(|all| all.iter().find(|limit| limit["name"] == "fuel")).expect("fuel");
    assert!(fuel["ceiling"].as_u64() > fuel["default"].as_u64());
    for (path, body, status, code, field) in [
        ("host", json!({"fuel": u64::MAX}), 422, "invalid_field", Some("fuel")),
        ("host", json!({"feul": 1}), 422, "unknown_field", Some("feul")),
        ("task_type/echo", json!({"fuel": 0}), 422, "invalid_field", Some("fuel")),
        ("task_type/echo", json!({"retry_limits_percent": 100}), 422, "invalid_field", Some("retry_limits_percent")),
        ("task_type/echo", json!({"retry_limits_percent": 10_001}), 422, "invalid_field", Some("retry_limits_percent")),
        ("host", json!({"retry_limits_percent": 200}), 422, "invalid_field", Some("retry_limits_percent")),
        ("plugin/echo", json!({"retry_limits_percent": 200}), 422, "invalid_field", Some("retry_limits_percent")),
        ("task_type/echo", json!({"fuel": -1}), 422, "invalid_field", Some("fuel")),
        ("task_type/a%20b", json!({"fuel": 1}), 422, "invalid_field", Some("name")),
        ("tenant/echo", json!({"fuel": 1}), 404, "not_found", None),
    ] {
        server.send(Method::PUT, &format!("/v1/admin/limits/{path}"), &body).await.is_problem(status, code, field);
    }
    server.stop().await;
}

#[tokio::test]
async fn routes_say_who_takes_what() {
    let server = Server::start().await;
    let all = server.get("/v1/admin/routes").await.body;
    let of = |route: &Value| format!("{}/{} → {}", route["task_type"], route["ai_model"], route["plugin"]).replace('"', "");
    let routes: Vec<_> = all["routes"].as_array().expect("routes").iter().map(of).collect();
    assert_eq!(routes, ["echo/* → echo", "self_improvement/* → echo", "strict/claude-* → strict"]);
    let one = server.get("/v1/admin/routes?task_type=strict&ai_model=claude-1").await.body;
    assert_eq!((&one["routes"][0]["plugin"], &one["routes"][0]["plugin_version"]), (&json!("strict"), &json!("2.1.0")));
    server.get("/v1/admin/routes?task_type=strict").await.is_problem(422, "no_plugin_for_task", Some("task_type"));
    server.stop().await;
}

#[tokio::test]
async fn tenants_have_weights_and_hosts_are_listed() {
    let server = Server::start().await;
    server.submit(&json!({"task_type": "echo", "tenant": "acme"})).await;
    let change = |body: Value| {
        let server = &server;
        async move { server.send(Method::PATCH, "/v1/admin/tenants", &body).await }
    };
    let weighed = change(json!({"tenant": "acme", "weight": 300})).await;
    assert_eq!((weighed.status, &weighed.body["weight"], &weighed.body["queued"]), (200, &json!(300), &json!(1)), "{}", weighed.body);
    let nobody = change(json!({"weight": 50})).await.body;
    assert_eq!((&nobody["tenant"], &nobody["weight"]), (&Value::Null, &json!(50)));
    for wrong in [0, 10_001] {
        change(json!({"tenant": "acme", "weight": wrong})).await.is_problem(422, "invalid_field", Some("weight"));
    }
    change(json!({"tenant": "acme", "weight": 1, "wait": 1})).await.is_problem(422, "unknown_field", Some("wait"));
    let tenants = server.get("/v1/admin/tenants").await.body;
    let shown: Vec<_> = tenants["tenants"].as_array().expect("a list").iter().map(|t| (&t["tenant"], &t["weight"])).collect();
    assert_eq!(shown, [(&Value::Null, &json!(50)), (&json!("acme"), &json!(300))]);

    let now = server.clock.now();
    server.store.heartbeat("h", now, now.plus(Duration::from_secs(15))).await.expect("alive");
    let task = server.claim().await;
    let hosts = server.get("/v1/admin/hosts").await.body;
    let host = &hosts["hosts"][0];
    assert_eq!(
        (&host["name"], &host["alive"], &host["running"][0]["id"]),
        (&json!("h"), &json!(true), &json!(task.id.to_string())),
        "{hosts}"
    );
    server.stop().await;
}
