//! Runs other clients' tasks on the I/O thread.

use std::future::Future;
use std::sync::Arc;

use hyper::rt::Executor;

use super::runtime::Runtime;

/// Runs another client's tasks on the I/O thread, which lives as long as they do.
pub(crate) struct IoExecutor(pub(crate) Arc<Runtime>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for IoExecutor {
    fn execute(&self, task: F) {
        self.0.handle.spawn(task);
    }
}
