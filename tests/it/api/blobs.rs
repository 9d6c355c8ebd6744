//! Byte streams.

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::*;

fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| u8::try_from(index.wrapping_mul(2_654_435_761) >> 13 & 0xff).expect("a byte")).collect()
}

async fn upload(server: &Server, bytes: Vec<u8>) -> Reply {
    Reply::of(server.request(Method::POST, "/v1/blobs").body(bytes).send().await.expect("an answer")).await
}

#[tokio::test]
async fn what_goes_in_comes_out_whatever_its_size() {
    let server = Server::start().await;
    const PIECE: usize = 256 << 10;
    for bytes in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17] {
        let sent = noise(bytes);
        let sha256: String = Sha256::digest(&sent).iter().map(|byte| format!("{byte:02x}")).collect();
        let made = upload(&server, sent.clone()).await;
        assert_eq!((made.status, &made.body["bytes"], &made.body["sha256"]), (201, &json!(bytes), &json!(sha256)));
        let path = format!("/v1/blobs/{}", made.body["blob"].as_str().expect("an id"));
        let response = server.request(Method::GET, &path).send().await.expect("an answer");
        assert_eq!(response.content_length(), Some(bytes as u64));
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["etag"], format!("\"{sha256}\""));
        assert!(response.bytes().await.expect("bytes") == sent, "{bytes} bytes came back changed");
    }
    server.get("/v1/blobs/0191d6d2-0000-7000-8000-000000000000").await.is_problem(404, "not_found", None);
    server.get("/v1/blobs/nonsense").await.is_problem(404, "not_found", None);
    server.stop().await;
}

#[tokio::test]
async fn a_blob_can_be_an_input() {
    let server = Server::start().await;
    let blob = upload(&server, b"t,v\n1,2\n".to_vec()).await.body["blob"].clone();
    let id = server.submit(&json!({"task_type": "echo", "inputs": {"series": {"blob": blob}}})).await;
    assert_eq!(server.get(&format!("/v1/tasks/{id}")).await.body["inputs"], json!({"series": {"blob": blob}}));
    server.stop().await;
}

#[tokio::test]
async fn one_that_is_too_large_is_refused_also_when_it_does_not_say_so() {
    let server = Server::start_with(SystemClock::shared(), |config| config.blob_bytes_max = 600_000).await;
    assert_eq!(upload(&server, noise(600_000)).await.status, 201);
    upload(&server, noise(600_001)).await.is_problem(413, "payload_too_large", None);
    let pieces = (0..7).map(|_| Ok::<_, std::io::Error>(noise(100_000)));
    let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    let sent = server.request(Method::POST, "/v1/blobs").body(body).send().await.expect("an answer");
    Reply::of(sent).await.is_problem(413, "payload_too_large", None);
    server.stop().await;
}

#[tokio::test]
async fn an_upload_that_stops_half_way_leaves_nothing_behind() {
    let server = Server::start().await;
    let mut connection = tokio::net::TcpStream::connect(server.address).await.expect("connected");
    let head = format!("POST /v1/blobs HTTP/1.1\r\nHost: {}\r\nContent-Length: 900000\r\n\r\n", server.address);
    connection.write_all(head.as_bytes()).await.expect("sent");
    connection.write_all(&noise(600_000)).await.expect("sent");
    let file = server.folder.path().join("tasks.db");
    let database = rusqlite::Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the same file");
    let pieces_become = |fits: fn(i64) -> bool| {
        let count = || database.query_row("SELECT count(*) FROM blob_pieces", [], |row| row.get(0)).expect("counted");
        let look = async move {
            while !fits(count()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), look)
    };
    pieces_become(|pieces| pieces > 0).await.expect("the first pieces are written while the rest is on its way");
    drop(connection);
    pieces_become(|pieces| pieces == 0).await.expect("they are deleted");
    server.stop().await;
}
