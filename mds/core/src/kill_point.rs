//! `KillPoint`: every moment worth dying at, named by what has just happened.

use serde::{Deserialize, Serialize};

/// Emitted as `Effect::Reached`; the simulator crashes the rank there, a daemon in a test aborts.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumIter,
    strum::IntoStaticStr,
    strum::EnumString,
)]
pub enum KillPoint {
    /// Exporter: asked the importer to find the path.
    DiscoverSent,
    /// Exporter: the region is frozen.
    Frozen,
    PrepSent,
    WarningsSent,
    ExportSent,
    /// Exporter: the commit record is submitted, not yet durable.
    ExportSubmitted,
    /// Exporter: the commit record is durable.
    ExportDurable,
    FinishSent,
    LastFinishSent,
    /// Importer: the path is known and pinned.
    DiscoverAckSent,
    CopyBegun,
    PrepAckSent,
    ImportStartSubmitted,
    ImportStartDurable,
    ExportAckSent,
    /// Importer: it serves.
    ImportFinishSubmitted,
    ImportFinishDurable,
    /// Bystander: it has answered a notice.
    NotifyAckSent,
    /// Participant of an operation of two ranks.
    PrepareDurable,
    PreparedSent,
    /// Coordinator: the decision is submitted, not yet durable.
    DecisionSubmitted,
    DecisionDurable,
    CommitSent,
    CommitApplied,
    /// Exporter: it takes everything back, and has told the bystanders it had warned.
    Unwarned,
    /// Exporter: the importer is asked to undo its half.
    CancelSent,
    /// Importer: it has undone its half.
    CancelAckSent,
    /// Importer: the exporter died undecided, bystanders are told that authority never moved.
    AbortBegun,
    /// Importer or bystander: in doubt, it has asked the exporter.
    AskSent,
    /// A new life: the store is replayed, and the monitor has granted a stage.
    ResolveBegun,
    ReconnectBegun,
    RejoinBegun,
    ActiveBegun,
}

impl KillPoint {
    /// Every one, in the order of a migration's course.
    pub fn all() -> impl Iterator<Item = Self> {
        <Self as strum::IntoEnumIterator>::iter()
    }
}
