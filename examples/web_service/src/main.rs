//! A web service that exports traces, metrics and logs over mutual TLS, and loses none of them when it is stopped.

mod client;
mod server;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::client::Downstream;
use crate::server::Metrics;

/// How long the requests in flight may take to end, then tasks that nobody waits for, and then what is left
/// of telemetry to leave: together less than Kubernetes waits before it kills (`terminationGracePeriodSeconds`, less `preStop`).
const DRAIN: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(1);
const FLUSH: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = otlp_mtls::init_tracing()?;
    let runtime = Runtime::new()?;
    let served = runtime.block_on(serve());
    // With it goes every request that was cut off: then all spans have ended. Just dropped, it would
    // wait for name servers as well.
    runtime.shutdown_timeout(STOP);
    served?;
    // Blocks, hence not in `serve`. What was lost is an error: its words, and exit code 1.
    Ok(telemetry.shutdown(FLUSH)?)
}

async fn serve() -> Result<(), Box<dyn Error>> {
    // Installed first: without them a signal ends the process at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let listen = std::env::var("LISTEN").unwrap_or_else(|_| "0.0.0.0:8080".to_owned());
    let listener =
        TcpListener::bind(&listen).await.map_err(|error| format!("LISTEN: {listen}: {error}"))?;
    let address = listener.local_addr()?;
    let downstream = std::env::var("DOWNSTREAM_URL")
        .unwrap_or_else(|_| format!("http://127.0.0.1:{}/stock", address.port()));
    let downstream = Downstream::new(
        downstream.parse().map_err(|error| format!("DOWNSTREAM_URL: {downstream}: {error}"))?,
    );

    let app = Router::new()
        .route("/checkout", get(checkout))
        .route("/stock", get(stock))
        .with_state(Arc::new(downstream))
        .layer(from_fn_with_state(Metrics::new(), server::observe))
        // Added after the layer, so that it does not measure probes.
        .route("/", get(async || "up\n"));

    let (drain, draining) = oneshot::channel();
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("draining");
        // Its receiver exists as long as the server.
        let _ = drain.send(());
    };
    let out_of_time = async {
        let _ = draining.await;
        sleep(DRAIN).await;
    };
    info!("listening on {address}");
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop).into_future() => served?,
        () = out_of_time => warn!("requests are cut off that took more than {DRAIN:?} to end"),
    }
    Ok(())
}

async fn checkout(State(downstream): State<Arc<Downstream>>) -> Result<String, StatusCode> {
    info!("checking out");
    match downstream.get().await {
        Ok(stock) => {
            info!(stock, "checked out");
            Ok(format!("checked out, {stock} in stock\n"))
        }
        Err(error) => {
            error!(error, "cannot ask for the stock");
            Err(StatusCode::BAD_GATEWAY)
        }
    }
}

async fn stock() -> String {
    let items = 3;
    info!(items, "counted");
    items.to_string()
}
