//! Rating tasks, as people and programs do it.

use super::*;

#[tokio::test]
async fn a_task_is_rated_again_and_read_back() {
    let server = Server::start().await;
    let id = server.submit(&echo()).await;
    let path = format!("/v1/tasks/{id}/rating");
    server.post(&path, &json!({"rating": 5})).await.is_problem(409, "wrong_state", None);
    server.get(&path).await.is_problem(404, "not_found", None);
    let task = server.claim().await;
    server.finish(&task, Outcome::Succeeded).await;
    for rating in [5, 5, 2] {
        let given = server.post(&path, &json!({"rating": rating})).await;
        assert_eq!((given.status, &given.body["rating"], &given.body["task"]), (200, &json!(rating), &json!(id)), "{}", given.body);
        assert_eq!(server.get(&path).await.body, given.body);
    }
    for (body, code, field) in [
        (json!({"rating": 0}), "invalid_field", "rating"),
        (json!({"rating": 6}), "invalid_field", "rating"),
        (json!({"rating": 4.5}), "invalid_field", "rating"),
        (json!({"rating": 4, "stars": 1}), "unknown_field", "stars"),
    ] {
        server.post(&path, &body).await.is_problem(422, code, Some(field));
    }
    let long = json!({"rating": 4, "x": "y".repeat(2_000)});
    assert_eq!(server.post(&path, &long).await.status, 413, "a rating is small");
    server.post("/v1/tasks/0191d6d2-0000-7000-8000-000000000000/rating", &json!({"rating": 4})).await.is_problem(404, "not_found", None);
    server.stop().await;
}
