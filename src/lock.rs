//! Locking.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. A panic in another thread does not matter: none leaves anything of ours half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
