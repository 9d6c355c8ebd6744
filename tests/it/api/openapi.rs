//! The description against the server it describes.

use std::collections::BTreeSet;

use super::*;

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// Every operation of the document: method, path pattern, description.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in METHODS.iter().filter(|method| item[**method].is_object()) {
            all.push(((*method).to_owned(), path.clone(), item[*method].clone()));
        }
    }
    all
}

/// A JSON Schema that answers of this kind must fit, with the document's components at hand.
fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    jsonschema::options().should_validate_formats(true).build(&schema).expect("a usable schema")
}

/// That an answer is one that the document announces, and fits the schema given for it.
#[track_caller]
fn fits(document: &Value, method: &str, path: &str, reply: &Reply) {
    let operation = &document["paths"][path][method];
    let answer = &operation["responses"][reply.status.to_string()];
    assert!(answer.is_object(), "{method} {path} answers {} and does not say so: {}", reply.status, reply.body);
    let kind = reply.header("content-type");
    let Some(content) = answer["content"].as_object() else { return assert_eq!(reply.body, Value::Null, "{method} {path}") };
    let schema = content.get(kind).unwrap_or_else(|| panic!("{method} {path} answers {kind:?} and announces {:?}", content.keys()));
    let validator = validator(document, &schema["schema"]);
    let errors: Vec<String> = validator.iter_errors(&reply.body).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:?} in {}", reply.body);
}

#[tokio::test]
async fn every_operation_described_is_there_and_none_is_there_undescribed() {
    let server = Server::start().await;
    let document = server.get("/openapi.json").await.body;
    assert_eq!(document["openapi"].as_str().map(|version| version.starts_with("3.1")), Some(true));
    let described: BTreeSet<_> = operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    for path in document["paths"].as_object().expect("paths").keys() {
        let address = path.replace("{scope}", "plugin").replace("{id}", "0191d6d2-0000-7000-8000-000000000000").replace("{name}", "x");
        for method in METHODS {
            let verb: Method = method.to_uppercase().parse().expect("a method");
            let response = server.request(verb, &address).send().await.expect("an answer");
            let status = response.status().as_u16();
            let code = match status {
                200..=399 => String::new(),
                _ => response.json::<Value>().await.expect("a problem")["code"].as_str().expect("a code").to_owned(),
            };
            let is_described = described.contains(&(method.to_owned(), path.clone()));
            assert_eq!(is_described, code != "method_not_allowed", "{method} {address} answered {status} {code}");
            assert!(status < 500, "{method} {address} answered {status} {code}");
        }
    }
    // What the contract promises is described, so with the above it is there.
    for promised in [
        ("post", "/v1/tasks"),
        ("post", "/v1/tasks/batch"),
        ("get", "/v1/tasks/{id}"),
        ("get", "/v1/tasks"),
        ("post", "/v1/tasks/{id}/cancel"),
        ("post", "/v1/tasks/{id}/retry"),
        ("get", "/v1/tasks/{id}/logs"),
        ("post", "/v1/tasks/{id}/rating"),
        ("get", "/v1/tasks/{id}/outputs/{name}"),
        ("get", "/v1/events"),
        ("post", "/v1/blobs"),
        ("get", "/v1/blobs/{id}"),
        ("get", "/v1/plugins"),
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/metrics"),
        ("get", "/openapi.json"),
        ("post", "/v1/webhooks/stripe"),
        ("get", "/v1/income"),
    ] {
        assert!(described.contains(&(promised.0.to_owned(), promised.1.to_owned())), "{promised:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn operations_have_names_of_their_own_and_say_which_scope_they_need() {
    let document = serde_json::to_value(taskwarden::http::openapi_document()).expect("JSON");
    let mut names = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no name"));
        assert!(names.insert(name.to_owned()), "{name} names two operations");
        let open = ["/healthz", "/readyz", "/openapi.json", "/v1/webhooks/stripe"].contains(&path.as_str());
        assert_eq!(operation["security"][0]["token"].is_array(), !open, "{method} {path}");
    }
}

#[tokio::test]
async fn answers_are_as_described() {
    let server = Server::start().await;
    let document = server.get("/openapi.json").await.body;
    let fits = |method: &str, path: &str, reply: &Reply| fits(&document, method, path, reply);
    let post = |path: &'static str, body: Value| {
        let server = &server;
        async move { server.post(path, &body).await }
    };

    fits("post", "/v1/webhooks/stripe", &webhooks::deliver(&server, "{\"id\":\"evt_1\",\"type\":\"customer.created\"}").await);
    fits("post", "/v1/webhooks/stripe", &post("/v1/webhooks/stripe", json!({})).await);
    income::fill(&server).await;
    fits("get", "/v1/income", &server.get("/v1/income?from=2026-03-01&to=2026-03-31").await);
    fits("get", "/v1/income", &server.get("/v1/income?tz=Atlantis").await);

    let full = json!({"task_type": "echo", "ai_model": "m", "payload": [1], "tags": ["t"], "tenant": "a", "limits": {"fuel": 9}});
    fits("post", "/v1/tasks", &post("/v1/tasks", full).await);
    fits("post", "/v1/tasks", &post("/v1/tasks", json!({"task_type": "echo", "x": 1})).await);
    fits("post", "/v1/tasks", &post("/v1/tasks", json!({"task_type": "other"})).await);
    fits("post", "/v1/tasks/batch", &post("/v1/tasks/batch", json!({"tasks": [echo()]})).await);
    fits("post", "/v1/tasks/batch", &post("/v1/tasks/batch", json!({"tasks": [{}]})).await);
    for outcome in [Outcome::Succeeded, Outcome::Trap] {
        let task = server.claim().await;
        server.finish(&task, outcome).await;
        let path = format!("/v1/tasks/{}", task.id);
        fits("get", "/v1/tasks/{id}", &server.get(&path).await);
        fits("get", "/v1/tasks/{id}/logs", &server.get(&format!("{path}/logs")).await);
        fits("get", "/v1/tasks/{id}/outputs", &server.get(&format!("{path}/outputs")).await);
        fits("post", "/v1/tasks/{id}/rating", &server.post(&format!("{path}/rating"), &json!({"rating": 4})).await);
        fits("post", "/v1/tasks/{id}/rating", &server.post(&format!("{path}/rating"), &json!({"rating": 9})).await);
        fits("get", "/v1/tasks/{id}/rating", &server.get(&format!("{path}/rating")).await);
        fits("post", "/v1/tasks/{id}/cancel", &server.post(&format!("{path}/cancel"), &Value::Null).await);
        fits("post", "/v1/tasks/{id}/retry", &server.post(&format!("{path}/retry"), &Value::Null).await);
    }
    fits("get", "/v1/tasks", &server.get("/v1/tasks").await);
    fits("get", "/v1/tasks", &server.get("/v1/tasks?limit=x").await);
    let blob = Reply::of(server.request(Method::POST, "/v1/blobs").body("bytes").send().await.expect("an answer")).await;
    fits("post", "/v1/blobs", &blob);
    fits("get", "/v1/blobs/{id}", &server.get("/v1/blobs/x").await);
    let lane = json!({"task_type": "echo", "concurrency_cap": 3});
    fits("patch", "/v1/admin/lanes", &server.send(Method::PATCH, "/v1/admin/lanes", &lane).await);
    fits("get", "/v1/admin/lanes", &server.get("/v1/admin/lanes").await);
    let limits = server.send(Method::PUT, "/v1/admin/limits/host", &json!({"fuel": 9})).await;
    fits("put", "/v1/admin/limits/host", &limits);
    let limits = server.send(Method::PUT, "/v1/admin/limits/plugin/echo", &json!({"fuel": 9})).await;
    fits("put", "/v1/admin/limits/{scope}/{name}", &limits);
    fits("delete", "/v1/admin/limits/host", &server.send(Method::DELETE, "/v1/admin/limits/host", &Value::Null).await);
    fits("post", "/v1/admin/tokens", &post("/v1/admin/tokens", json!({"scopes": ["read"]})).await);
    for path in ["/v1/admin/limits", "/v1/admin/tokens", "/v1/admin/routes", "/v1/admin/plugins", "/v1/plugins", "/healthz", "/readyz"] {
        fits("get", path, &server.get(path).await);
    }
    let artifact = artifact("name = \"more\"\nversion = \"1.0.0\"\ntask_types = [\"more\"]\n[payload_schema]\ntype = \"null\"\n");
    let installed = server.request(Method::POST, "/v1/admin/plugins").body(artifact).send().await.expect("an answer");
    fits("post", "/v1/admin/plugins", &Reply::of(installed).await);
    fits("delete", "/v1/admin/plugins/{name}", &server.send(Method::DELETE, "/v1/admin/plugins/more", &Value::Null).await);
    server.stop().await;
}
