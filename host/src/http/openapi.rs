//! What the API is, for programs: made from the same declarations that the routes are made from.

use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, Info, OpenApi, OpenApiBuilder, SecurityRequirement};

use super::{Routes, admin_routes, metrics, open_routes, read_routes, signed_routes, submit_routes};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The OpenAPI 3.1 document.
#[must_use]
pub fn document() -> OpenApi {
    let measured: Routes = OpenApiRouter::new().routes(routes!(metrics::metrics));
    let mut document = OpenApiBuilder::new().info(info()).components(Some(ComponentsBuilder::new().build())).build();
    for (routes, scope) in [
        (submit_routes(), Some("submit")),
        (read_routes().merge(measured), Some("read")),
        (admin_routes(), Some("admin")),
        (signed_routes(), None),
        (open_routes(), None),
    ] {
        let mut part = routes.into_openapi();
        if let Some(scope) = scope {
            for operation in part.paths.paths.values_mut().flat_map(operations) {
                operation.security = Some(vec![SecurityRequirement::new("token", [scope])]);
            }
        }
        document.merge(part);
    }
    let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().security_schemes.insert("token".to_owned(), token.into());
    document
}

fn info() -> Info {
    let mut info = Info::new("Taskwarden", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Runs background tasks in WebAssembly sandboxes. Errors are application/problem+json with a stable `code`; unknown fields and \
         parameters are errors. Any operation can also answer 401, 403, 503 and 500 in that form."
            .to_owned(),
    );
    info
}

fn operations(item: &mut utoipa::openapi::PathItem) -> impl Iterator<Item = &mut utoipa::openapi::path::Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().filter_map(Option::as_mut)
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "health", operation_id = "read_openapi", security(),
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
pub(super) async fn openapi() -> Json<OpenApi> {
    Json(document())
}
