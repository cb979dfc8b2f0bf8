//! The answers of the service, in the envelope of product.md section 3. Never waits for anything: every answer is from memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Request, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::readiness::{Readiness, State};
use crate::edge::clock;
use crate::run::telemetry::Metrics;

const CORRELATION_HEADER: &str = "x-correlation-id";
const CORRELATION_CHARS_MAX: usize = 64;

/// What the answers are made from.
pub(super) struct Shared {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    started: Instant,
    /// Tells correlation ids of two processes apart.
    process: u64,
    requests: AtomicU64,
}

impl Shared {
    pub(super) fn new(metrics: Arc<Metrics>, readiness: Arc<Readiness>) -> Self {
        Self { metrics, readiness, started: clock::now(), process: clock::wall().0.unsigned_abs(), requests: AtomicU64::new(0) }
    }

    /// The caller's id where it is harmless, else one of our own.
    fn correlation(&self, headers: &HeaderMap) -> String {
        let harmless = |id: &&str| {
            (1..=CORRELATION_CHARS_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let given = headers.get(CORRELATION_HEADER).and_then(|value| value.to_str().ok()).filter(harmless);
        given.map_or_else(|| format!("{:x}-{:x}", self.process, self.requests.fetch_add(1, Ordering::Relaxed)), str::to_owned)
    }
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(wrong_method)
        .fallback(not_found)
        .with_state(shared)
}

async fn health(Extract(shared): Extract<Arc<Shared>>, headers: HeaderMap) -> Response {
    let begun = clock::now();
    let data = json!({
        "service": "threatguard",
        "status": "healthy",
        "version": env!("CARGO_PKG_VERSION"),
        "timestamp": clock::wall().to_string(),
        "uptime": shared.started.elapsed().as_secs_f64(),
        "memory": { "residentBytes": resident_bytes() },
    });
    envelope(&shared, &headers, begun, StatusCode::OK, json!({ "success": true, "data": data }))
}

async fn ready(Extract(shared): Extract<Arc<Shared>>, headers: HeaderMap) -> Response {
    let begun = clock::now();
    let components = shared.readiness.all();
    let mut dependencies = serde_json::Map::new();
    let mut missing = vec![];
    for (name, state) in components {
        match state {
            State::Ok => dependencies.insert(name.into(), json!("ok")),
            State::Missing(reason) => {
                missing.push(json!({ "path": name, "message": reason, "code": "missing" }));
                dependencies.insert(name.into(), json!("missing"))
            }
        };
    }
    let data = json!({ "ready": missing.is_empty(), "dependencies": dependencies });
    if missing.is_empty() {
        return envelope(&shared, &headers, begun, StatusCode::OK, json!({ "success": true, "data": data }));
    }
    let names: Vec<&str> = missing.iter().filter_map(|detail| detail["path"].as_str()).collect();
    let body = json!({ "success": false, "error": format!("not ready: {}", names.join(", ")), "data": data, "details": missing });
    envelope(&shared, &headers, begun, StatusCode::SERVICE_UNAVAILABLE, body)
}

async fn metrics(Extract(shared): Extract<Arc<Shared>>, headers: HeaderMap) -> Response {
    match shared.metrics.to_text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(failure) => problem(&shared, &headers, StatusCode::INTERNAL_SERVER_ERROR, &failure.to_string()),
    }
}

async fn not_found(Extract(shared): Extract<Arc<Shared>>, request: Request) -> Response {
    problem(&shared, request.headers(), StatusCode::NOT_FOUND, "there is nothing here; try /health, /health/ready or /metrics")
}

async fn wrong_method(Extract(shared): Extract<Arc<Shared>>, request: Request) -> Response {
    problem(&shared, request.headers(), StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here")
}

fn problem(shared: &Shared, headers: &HeaderMap, status: StatusCode, error: &str) -> Response {
    envelope(shared, headers, clock::now(), status, json!({ "success": false, "error": error, "details": [] }))
}

fn envelope(shared: &Shared, headers: &HeaderMap, begun: Instant, status: StatusCode, mut body: Value) -> Response {
    let spent = Duration::as_secs_f64(&begun.elapsed()) * 1e3;
    let correlation = shared.correlation(headers);
    body["correlationId"] = json!(correlation);
    body["metadata"] = json!({ "processingTime": format!("{spent:.2}ms"), "timestamp": clock::wall().to_string() });
    (status, [(CORRELATION_HEADER, correlation)], Json(body)).into_response()
}

/// What the process holds in memory; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
