//! Accepts connections with the bounds that `axum::serve` has no setting for: a deadline for the request's head, one for the
//! whole connection, and a cap on their number. A client can waste its own connection, never another's.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower_service::Service as _;

use super::Bounds;

/// Requests here have neither a body nor many headers.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long answers in progress may take when the service stops.
const STOP_WAIT: Duration = Duration::from_secs(1);
/// Pause after the system refuses a connection, mostly for want of file descriptors.
const REFUSED_WAIT: Duration = Duration::from_millis(50);

pub(super) async fn serve(listener: std::net::TcpListener, router: Router, bounds: Bounds, mut stopped: watch::Receiver<bool>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(failure) => return tracing::error!(%failure, "the service cannot listen"),
    };
    let permits = Arc::new(Semaphore::new(bounds.connections));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Without a permit the stream is dropped, which closes it.
                    if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
                        let (router, stopped) = (router.clone(), stopped.clone());
                        connections.spawn(async move {
                            answer(stream, router, bounds, stopped).await;
                            drop(permit);
                        });
                    }
                }
                Err(failure) => {
                    tracing::warn!(%failure, "the service cannot accept a connection");
                    tokio::time::sleep(REFUSED_WAIT).await;
                }
            },
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Whoever has not finished by then is cut off when the tasks are dropped.
    tokio::time::timeout(STOP_WAIT, all).await.ok();
}

async fn answer(stream: TcpStream, router: Router, bounds: Bounds, mut stopped: watch::Receiver<bool>) {
    // A router is always ready, so that nobody has to ask it first.
    let service = hyper::service::service_fn(move |request| router.clone().call(request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head).max_buf_size(HEAD_BYTES_MAX);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::time::timeout(bounds.connection, async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().await
            }
        }
    });
    if let Ok(Err(failure)) = ended.await {
        tracing::debug!(%failure, "a connection of the service ended early");
    }
}
