//! The routes: `GET /metrics`, `GET /health/live`, `GET /health/ready`, `GET` and `PUT /log-level`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::{Admin, metrics};

/// The longest filter of the log that is taken.
const BODY_BYTES_MAX: usize = 4096;

/// Serves until the runtime ends. To be called on the control plane's runtime.
pub async fn serve(admin: Admin) -> std::io::Result<()> {
    let listener = admin.listener.try_clone()?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    axum::serve(listener, routes(Arc::new(admin))).await
}

fn routes(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/health/live", get(async || "live\n"))
        .route("/health/ready", get(ready))
        .route("/log-level", get(log_filter).put(set_log_filter))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(admin)
}

async fn show_metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let format = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (format, metrics::render(&admin.counters, admin.limits))
}

async fn ready(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    if admin.readiness.get() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or stopping\n")
    }
}

async fn log_filter(State(admin): State<Arc<Admin>>) -> String {
    format!("{}\n", admin.log.current())
}

async fn set_log_filter(State(admin): State<Arc<Admin>>, filter: String) -> impl IntoResponse {
    match admin.log.set(filter.trim()) {
        Ok(()) => {
            tracing::info!("the log's filter is {} now", filter.trim());
            (StatusCode::OK, format!("{}\n", admin.log.current()))
        }
        Err(problem) => (StatusCode::BAD_REQUEST, format!("{problem}\n")),
    }
}
