//! A mistake of the core that every rank started on this thread makes, for as long as a test wants.

#[cfg(feature = "mutants")]
use std::cell::Cell;

use mds_core::Params;
#[cfg(feature = "mutants")]
use mds_core::mutant::Mutant;

#[cfg(feature = "mutants")]
thread_local! {
    static SWITCHED_ON: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Runs something with a mistake switched on.
#[cfg(feature = "mutants")]
pub fn with<T>(mutant: Mutant, run: impl FnOnce() -> T) -> T {
    SWITCHED_ON.set(Some(mutant));
    let outcome = run();
    SWITCHED_ON.set(None);
    outcome
}

/// What a rank begins with: right, unless a test wants it otherwise.
#[cfg(feature = "mutants")]
#[must_use]
pub fn perhaps(params: Params) -> Params {
    Params { mutant: SWITCHED_ON.get(), ..params }
}

/// What a rank begins with: right.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub fn perhaps(params: Params) -> Params {
    params
}

/// Whether daemons go on without the monitor's word. (They stand around the core, so its parameters do
/// not say.)
#[must_use]
pub(crate) fn ignores_leash() -> bool {
    #[cfg(feature = "mutants")]
    let ignores = SWITCHED_ON.get() == Some(Mutant::LeashIgnored);
    #[cfg(not(feature = "mutants"))]
    let ignores = false;
    ignores
}
