//! What a client is told when it cannot be served: RFC 9457 `application/problem+json` with a stable `code`.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::{Conflict, StoreError};

const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not served. Programs match on this; it never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Code {
    /// The body is not JSON.
    MalformedJson,
    /// The request is not one that HTTP allows.
    BadRequest,
    /// The body stopped before its end.
    BodyCutOff,
    /// A field, query parameter or key that does not exist.
    UnknownField,
    /// A field with a value that it cannot have.
    InvalidField,
    /// No loaded plugin takes this task type and model.
    NoPluginForTask,
    /// The body or the payload is too large.
    PayloadTooLarge,
    /// The body is neither JSON nor what else was expected.
    UnsupportedMediaType,
    /// The idempotency key was used before with another body.
    IdempotencyConflict,
    /// The task is in a state in which this cannot be done.
    WrongState,
    /// There are as many lanes as there may be.
    TooManyLanes,
    /// There are as many tenants as there may be.
    TooManyTenants,
    /// No token, or a wrong one.
    Unauthorized,
    /// The token may not do this, or the request came from a page of another origin.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The thing exists, the method does not.
    MethodNotAllowed,
    /// The body did not come in time.
    RequestTimeout,
    /// The artifact is not a plugin that this host can run.
    PluginRefused,
    /// A webhook is not signed, or not as it should be.
    InvalidSignature,
    /// No secret is configured by which a webhook could be believed.
    WebhookNotConfigured,
    /// Another plugin takes the same tasks.
    RouteTie,
    /// A built-in plugin cannot be removed.
    PluginBuiltIn,
    /// Too many requests, waits, uploads or streams at once.
    Overloaded,
    /// The database cannot be reached, or the host is starting or stopping.
    Unavailable,
    /// The disk or the database is full.
    StorageFull,
    /// The order's id was used for something else.
    OrderConflict,
    /// Stripe did not make what was ordered.
    PaymentRefused,
    /// The operator has not set up what this needs.
    NotConfigured,
    /// A bug of this host.
    Internal,
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ProblemBody {
    /// Always `about:blank`: what kind of problem it is stands in `code`.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    pub(super) kind: &'static str,
    /// The status in words.
    pub(super) title: &'static str,
    /// The HTTP status.
    pub(super) status: u16,
    /// What went wrong, for programs.
    pub(super) code: Code,
    /// What went wrong and what to do next, for people.
    pub(super) detail: String,
    /// Which field or parameter, as a path such as `tasks[17].priority`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    /// The task that has the idempotency key already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) existing_task: Option<String>,
}

/// An error on its way to the client.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    code: Code,
    detail: String,
    field: Option<String>,
    existing_task: Option<String>,
    retry_after_s: Option<u32>,
}

/// What handlers answer.
pub(super) type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem with a status of its own.
    pub(super) fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), field: None, existing_task: None, retry_after_s: None }
    }

    /// A field or parameter that does not exist.
    pub(super) fn unknown_field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::UnknownField, detail).at(field)
    }

    /// A field or parameter with a value that it cannot have.
    pub(super) fn invalid_field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::InvalidField, detail).at(field)
    }

    /// There is no such thing.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::NotFound, detail)
    }

    /// The thing exists, the method does not.
    pub(super) fn wrong_method() -> Self {
        for_status(StatusCode::METHOD_NOT_ALLOWED)
    }

    /// Too much of something at once; the same request may work soon.
    pub(super) fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, detail).retry_after(1)
    }

    /// Not now; the same request may work later.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, detail).retry_after(5)
    }

    /// A bug. The client learns nothing about it; `what` goes to the log.
    pub(super) fn internal(what: &str) -> Self {
        tracing::error!(error = what, "a request failed because of a bug or a damaged database");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, "this host failed; its log says why")
    }

    /// Names the field.
    #[must_use]
    pub(super) fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Puts the field under `prefix`, as in `tasks[17]`.
    #[must_use]
    pub(super) fn within(mut self, prefix: &str) -> Self {
        self.field = Some(match self.field {
            Some(field) => format!("{prefix}.{field}"),
            None => prefix.to_owned(),
        });
        self
    }

    /// For bodies that *are* a set of limits, rather than having one in a field.
    #[must_use]
    pub(super) fn without_limits_prefix(mut self) -> Self {
        self.field = self.field.map(|field| field.strip_prefix("limits.").map_or(field.clone(), str::to_owned));
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// What went wrong, for tests of the parts that make problems.
    #[cfg(test)]
    pub(super) fn parts(&self) -> (u16, Code, Option<&str>) {
        (self.status.as_u16(), self.code, self.field.as_deref())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) => {
                tracing::warn!(error = why, "the database is unavailable");
                Self::unavailable("the database cannot be reached at the moment; try again")
            }
            StoreError::Full(why) => {
                tracing::error!(error = why, "the database is full");
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    Code::StorageFull,
                    "the host has no room to keep this; its operator has to make some",
                )
            }
            StoreError::Broken(why) => Self::internal(&why),
            StoreError::Conflict(conflict) => conflict.into(),
        }
    }
}

impl From<Conflict> for Problem {
    fn from(conflict: Conflict) -> Self {
        let detail = conflict.to_string();
        match conflict {
            Conflict::Idempotency { index, existing } => Self {
                existing_task: Some(existing.to_string()),
                ..Self::new(StatusCode::CONFLICT, Code::IdempotencyConflict, detail).at(format!("tasks[{index}].idempotency_key"))
            },
            Conflict::TooManyLanes { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::TooManyLanes, detail).at("task_type"),
            Conflict::TooManyTenants { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::TooManyTenants, detail).at("tenant"),
            Conflict::NoSuchBlob { index, input } => Self::invalid_field(format!("tasks[{index}].inputs.{input}.blob"), detail),
            Conflict::TooManySchedules { .. } => Self::invalid_field("body", detail),
            Conflict::LeaseLost | Conflict::Money(_) => Self::internal(&detail),
        }
    }
}

impl Problem {
    /// The same problem for a client that submitted one task and knows nothing of a batch.
    #[must_use]
    pub(super) fn of_single(mut self) -> Self {
        self.field = self.field.map(|field| field.strip_prefix("tasks[0].").map_or(field.clone(), str::to_owned));
        self.detail = self.detail.replace(" of task 0 of the batch", "");
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail,
            field: self.field,
            existing_task: self.existing_task,
        };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"taskwarden\""));
        }
        response
    }
}

/// Middleware: whatever refused the request below us, also the framework itself, the client gets a problem and no text of others.
pub(super) async fn only_problems(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == MEDIA_TYPE);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut replaced = for_status(status).into_response();
    if let Some(allow) = allow {
        replaced.headers_mut().insert(header::ALLOW, allow);
    }
    replaced
}

fn for_status(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::not_found("there is nothing at this address; GET /openapi.json says what there is"),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(status, Code::MethodNotAllowed, "this method is not allowed here; the Allow header says which are")
        }
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, Code::PayloadTooLarge, "the body is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(status, Code::UnsupportedMediaType, "this media type is not accepted here"),
        StatusCode::REQUEST_TIMEOUT => Problem::new(status, Code::RequestTimeout, "the request did not come in time"),
        status if status.is_server_error() => Problem::internal("the web framework answered with a server error"),
        status => Problem::new(status, Code::BadRequest, "the request could not be understood"),
    }
}

/// A panic in a handler: a bug, told to the log by the panic hook and to the client as nothing but that.
pub(super) fn of_panic(_what: Box<dyn std::any::Any + Send>) -> Response<Body> {
    Problem::internal("a handler panicked").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskId;

    #[test]
    fn a_conflict_of_a_single_submission_does_not_speak_of_a_batch() {
        let problem = Problem::from(Conflict::Idempotency { index: 0, existing: TaskId::new() }).of_single();
        assert_eq!(problem.parts(), (409, Code::IdempotencyConflict, Some("idempotency_key")));
        assert!(!problem.detail.contains("batch"), "{}", problem.detail);
    }

    #[test]
    fn internals_do_not_leak() {
        let problem = Problem::from(StoreError::Broken("no such table: secrets".to_owned()));
        assert!(!problem.detail.contains("secrets"));
        assert_eq!(problem.parts(), (500, Code::Internal, None));
    }
}
