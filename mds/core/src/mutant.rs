//! `Mutant`: ways to be wrong, each switched on by a test to see whether the checkers notice.
//!
//! Of those that the design names two are not here: `grant_while_frozen` of a capability (of a replica it is),
//! which only comes with what is changed, and nothing is while frozen; and `lease_counted_from_import_start`.
//! `ack_passes_parked_log` is [`Mutant::RecallNotAwaited`].
//!
//! Only builds with the feature `mutants` have any; in all others [`mutated!`] is `false`, and
//! nothing of this is compiled.

/// One mistake somebody might make, at the place in the code that names it.
#[cfg(feature = "mutants")]
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::EnumIter,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum Mutant {
    /// H1: a `Cancel` or `Export` of something unknown is an assertion.
    CancelOfUnknownAsserts,
    /// H3: a rank comes back only when none of its migrations is open.
    ResolveAwaitsMigrations,
    /// H6: what is to be undone is decided by a state that was already overwritten.
    ReverseLooksAtNewState,
    /// H7: a restarted importer expects clients that were never told of it.
    ImportedSessionsExpected,
    /// H8: an `Expire` of what is not registered is an assertion.
    ExpireOfUnknownAsserts,
    /// H21: a `Discover` is accepted while an import of that base is being undone.
    DiscoverAcceptedTwice,
    /// The importer serves before the exporter's `Export` is durable.
    UnfreezeBeforeExportDurable,
    /// `ExportAck` leaves before `ImportStart` is durable.
    AckBeforeImportStartDurable,
    /// What clients have completed does not travel.
    CompletedTableForgotten,
    /// Of what clients have completed, the highest id counts for all below.
    CompletedAsWatermark,
    /// The exporter cancels although `Export` was submitted.
    UndoAfterCommit,
    /// Deletes what it once listed, whatever copy it came with since.
    SweepIgnoresHeld,
    /// What an older life has left of a fragment shows through.
    CopyWithoutDeleteRange,
    /// The exporter forgets a release before the importer knows.
    ReleasedForgottenEarly,
    /// Asked about an export whose `Export` is being written, it says that there is none.
    ClaimsWhileCommitting,
    /// A replica of a frozen directory is granted.
    GrantWhileFrozen,
    /// What clients replay is carried out client by client.
    ReplayPerClient,
    /// Pins do not travel.
    PinNotCarried,
    /// An `Expire` that comes a second time ends a newer grant.
    ExpireAppliedTwice,
    /// Who holds replicas of the region does not travel.
    RegistrationsNotCarried,
    /// A dead bystander is waited for.
    DeadBystanderAwaited,
    /// An importer in doubt whose exporter dies takes that for an abort.
    DoubtForgotten,
    /// An importer in doubt whose exporter dies takes the region.
    DoubtSeized,
    /// The importer does not freeze the region while it is in doubt.
    DoubtNotFrozen,
    /// Bystanders are not told that an export was undone.
    NotUnwarned,
    /// A rank says that it is prepared before its promise is durable.
    PreparedBeforeDurable,
    /// Asked about an operation that it has decided, the coordinator says that it has not.
    DecisionDenied,
    /// What changed while the region was copied is not sent again.
    DeltaForgotten,
    /// Whoever changes something is answered before it is known to those who have it cached.
    AnsweredBeforeHeard,
    /// Others see a change before it is known to those who have it cached.
    SeenBeforeHeard,
    /// An importer believes that nobody has anything of the region cached.
    NobodySuspected,
    /// What a client claims when it comes back is not taken note of.
    ClaimDropped,
    /// What a client claims cannot be given back.
    ClaimForGood,
    /// What a client lets go is taken back although a later answer names it.
    ForgetTakesAll,
    /// A daemon goes on although the monitor has said nothing for too long.
    LeashIgnored,
    /// What somebody else has locked is locked again.
    LockedTwice,
    /// What a client holds exclusively others see and change.
    ExclusiveIgnored,
    /// Who holds something exclusively does not travel.
    ExclusiveNotCarried,
    /// What clients say that they hold exclusively is not taken note of by a rank that begins anew.
    ExclusiveUnclaimed,
    /// Whoever holds something exclusively is told to let it go, and nobody waits for that.
    RecallNotAwaited,
}

/// Whether a mistake is switched on: `mutated!(params, UndoAfterCommit)`.
#[cfg(feature = "mutants")]
macro_rules! mutated {
    ($params:expr, $mutant:ident) => {
        $params.mutant == Some($crate::mutant::Mutant::$mutant)
    };
}

/// Nobody makes mistakes here.
#[cfg(not(feature = "mutants"))]
macro_rules! mutated {
    ($params:expr, $mutant:ident) => {{
        let _ = &$params;
        false
    }};
}

pub(crate) use mutated;
