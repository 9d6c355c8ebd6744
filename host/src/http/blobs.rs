//! Byte streams, in pieces: no blob is ever in memory whole.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Api;
use super::body::BodyReader;
use super::limits::take_place;
use super::problem::{Answer, Problem, ProblemBody};
use super::submit::shown;
use super::wire::BlobView;
use crate::store::{BlobInfo, Store};
use crate::task::BlobId;

const PIECE_BYTES: usize = 256 << 10;

/// Keep a byte stream, to name it in a task's inputs.
#[utoipa::path(post, path = "/v1/blobs", tag = "blobs", operation_id = "upload_blob", request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, description = "it is on disk", body = BlobView),
        (status = 413, description = "it is too large", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn upload(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Answer<Response> {
    let _place = take_place(&api.transfers, "uploads and downloads")?;
    let mut body = BodyReader::new(body, &headers, &api.clock, api.config.body_idle_timeout, api.config.blob_bytes_max, "blob_bytes_max")?;
    let mut upload = Upload::new(&api);
    let mut pending = BytesMut::new();
    while let Some(arrived) = body.next().await? {
        let mut arrived = arrived;
        while pending.len() + arrived.len() >= PIECE_BYTES {
            pending.extend_from_slice(&arrived.split_to(PIECE_BYTES - pending.len()));
            upload.put(std::mem::take(&mut pending).freeze()).await?;
        }
        pending.extend_from_slice(&arrived);
    }
    if !pending.is_empty() {
        upload.put(pending.freeze()).await?;
    }
    let info = upload.commit().await?;
    let view = BlobView { blob: info.id.0, bytes: info.bytes, sha256: hex::encode(info.sha256) };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// A blob that is being written. One that is dropped before it was committed is forgotten: the client went away, or was refused.
struct Upload<'a> {
    api: &'a Api,
    id: BlobId,
    pieces: u32,
    bytes: u64,
    sha256: Sha256,
    committed: bool,
}

impl<'a> Upload<'a> {
    fn new(api: &'a Api) -> Self {
        Self { api, id: BlobId(Uuid::now_v7()), pieces: 0, bytes: 0, sha256: Sha256::new(), committed: false }
    }

    async fn put(&mut self, piece: Bytes) -> Answer<()> {
        self.sha256.update(&piece);
        self.bytes += piece.len() as u64;
        let index = self.pieces;
        self.pieces += 1;
        Ok(self.api.store.put_blob_piece(self.id, index, piece, self.api.clock.now()).await?)
    }

    async fn commit(mut self) -> Answer<BlobInfo> {
        let info = BlobInfo { id: self.id, bytes: self.bytes, sha256: std::mem::take(&mut self.sha256).finalize().into() };
        self.api.store.commit_blob(info.clone(), self.api.clock.now()).await?;
        self.committed = true;
        Ok(info)
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if self.committed || self.pieces == 0 {
            return;
        }
        let (store, id) = (Arc::clone(&self.api.store), self.id);
        // The request is gone, and forgetting takes a write; if the host stops first, the pieces go with the next clean-up.
        tokio::spawn(async move {
            if let Err(error) = store.abandon_blob(id).await {
                tracing::warn!(blob = %id.0, %error, "the pieces of a cut-off upload could not be deleted");
            }
        });
    }
}

/// The bytes of a blob.
#[utoipa::path(get, path = "/v1/blobs/{id}", tag = "blobs", operation_id = "download_blob", params(("id" = String, Path, description = "the blob's id")),
    responses((status = 200, description = "its bytes", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, description = "no such blob", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn download(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Answer<Response> {
    let id = Uuid::parse_str(&id).map(BlobId).map_err(|_| Problem::not_found(format!("{:?} is not a blob's id (a UUID)", shown(&id))))?;
    let info = api.store.blob(id).await?.ok_or_else(|| Problem::not_found(format!("there is no blob {}", id.0)))?;
    let place = take_place(&api.transfers, "uploads and downloads")?;
    let pieces = pieces(Arc::clone(&api.store), id).map(move |piece| {
        let _held_until_the_end = &place;
        piece
    });
    let mut headers = attachment(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(info.bytes));
    if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", hex::encode(info.sha256))) {
        headers.insert(header::ETAG, etag);
    }
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// The pieces one after the other. An error ends the connection before its declared length, so that the client notices.
fn pieces(store: Arc<dyn Store>, id: BlobId) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    stream::try_unfold((store, 0_u32), move |(store, index)| async move {
        match store.blob_piece(id, index).await {
            Ok(Some(piece)) => Ok(Some((piece, (store, index + 1)))),
            Ok(None) => Ok(None),
            Err(error) => {
                tracing::warn!(blob = %id.0, %error, "a blob could not be read to its end");
                Err(std::io::Error::other("the blob could not be read"))
            }
        }
    })
}

/// Headers for bytes that came from a client or a plugin: to be saved, never to be shown or run by a browser.
pub(super) fn attachment(media_type: HeaderValue) -> HeaderMap {
    const NO_SNIFFING: HeaderName = header::X_CONTENT_TYPE_OPTIONS;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(NO_SNIFFING, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers
}
